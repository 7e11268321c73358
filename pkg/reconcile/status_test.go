package reconcile

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/source"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	owned = inventory.Inventory{}.Record(inventory.Entry{
		ID: object.ID{Kind: "ConfigMap", Namespace: "team-a", Name: "web"}, Version: "v1", UID: "u", Digest: "d", Fields: "f",
	})
	inputs = &v1alpha1.Inputs{Digest: "inputs"}
)

// words are the conditions of a status, as "<type>=<status>/<reason>".
func words(s v1alpha1.ApplicationStatus) map[string]string {
	all := map[string]string{}
	for _, c := range s.Conditions {
		all[c.Type] = string(c.Status) + "/" + c.Reason
	}
	return all
}

func TestEndedSaysWhatAnOutcomeMeans(t *testing.T) {
	all := health.Summary{Status: health.Healthy, Total: 1, Healthy: 1}
	sick := health.Summary{Status: health.Degraded, Object: object.ID{Kind: "Deployment", Name: "web"}, Total: 1, Degraded: 1}
	busy := health.Summary{Status: health.Progressing, Object: object.ID{Kind: "Deployment", Name: "web"}, Total: 1, Progressing: 1}
	render := fault.Refuse(fault.RenderFailed, fault.Place{File: "a.yaml", Line: 3}, "no")
	cases := map[string]struct {
		outcome outcome
		want    map[string]string
		applied bool // revision, inputs and history moved
	}{
		"success with everything healthy is Ready": {
			outcome: outcome{result: v1alpha1.ResultSucceeded, applied: true, health: all},
			want:    map[string]string{"Ready": "True/Succeeded", "Synced": "True/Succeeded", "Healthy": "True/Succeeded", "Drifted": "False/Succeeded", "Suspended": "False/Succeeded"},
			applied: true,
		},
		"waiting is applied, and not Ready yet": {
			outcome: outcome{result: v1alpha1.ResultWaiting, applied: true, health: busy, deadline: noon.Add(time.Minute)},
			want:    map[string]string{"Ready": "Unknown/Progressing", "Synced": "True/Succeeded", "Healthy": "Unknown/Progressing", "Drifted": "False/Succeeded", "Suspended": "False/Succeeded"},
			applied: true,
		},
		"a failed render applies nothing": {
			outcome: outcome{result: v1alpha1.ResultFailed, err: render},
			want:    map[string]string{"Ready": "False/RenderFailed", "Synced": "False/RenderFailed", "Suspended": "False/Succeeded"},
		},
		"an error without a reason failed to apply": {
			outcome: outcome{result: v1alpha1.ResultFailed, err: errors.New("boom")},
			want:    map[string]string{"Ready": "False/ApplyFailed", "Synced": "False/ApplyFailed", "Suspended": "False/Succeeded"},
		},
		"health that is lost fails an applied revision": {
			outcome: outcome{result: v1alpha1.ResultFailed, applied: true, finishing: true, health: sick, err: unhealthy(fault.HealthFailed, sick)},
			want:    map[string]string{"Ready": "False/HealthFailed", "Synced": "True/Succeeded", "Healthy": "False/HealthFailed", "Suspended": "False/Succeeded"},
			applied: true,
		},
		"superseded is neither": {
			outcome: outcome{result: v1alpha1.ResultSuperseded, err: errSuperseded},
			want:    map[string]string{"Ready": "Unknown/Progressing", "Synced": "Unknown/Progressing", "Suspended": "False/Succeeded"},
		},
		"drift that is left alone is told": {
			outcome: outcome{result: v1alpha1.ResultSucceeded, applied: true, health: all, drifted: []string{"ConfigMap team-a/web"}},
			want:    map[string]string{"Ready": "True/Succeeded", "Synced": "True/Succeeded", "Healthy": "True/Succeeded", "Drifted": "True/Succeeded", "Suspended": "False/Succeeded"},
			applied: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{}
			a.Generation, a.Status.Inventory = 4, owned.Status()
			c.outcome.revision, c.outcome.inputs, c.outcome.owned = "revision", inputs, owned
			got := begun{number: 7, reason: "push", startedAt: noon}.ended(a, c.outcome, noon.Add(time.Second))
			if diff := cmp.Diff(c.want, words(got)); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			if moved := got.Revision == "revision" && got.Inputs != nil && len(got.History) == 1; moved != c.applied {
				t.Errorf("revision %q, inputs %v, %d in the history; applied should be %v", got.Revision, got.Inputs, len(got.History), c.applied)
			}
			if len(got.Inventory.Entries) != 1 || got.LastAttempt.Number != 7 {
				t.Errorf("status: %+v", got)
			}
		})
	}
}

func TestEndedEchoesWhatItAnswers(t *testing.T) {
	type echo struct {
		Generation           int64
		Requested, Confirmed string
	}
	cases := map[string]struct {
		result    v1alpha1.Result
		finishing bool
		want      echo
	}{
		"success answers the spec and the person": {
			result: v1alpha1.ResultSucceeded, want: echo{Generation: 4, Requested: "please", Confirmed: "digest"},
		},
		"a failure does, too, so that a confirmation of another prune is not tried for ever": {
			result: v1alpha1.ResultFailed, want: echo{Generation: 4, Requested: "please", Confirmed: "digest"},
		},
		"the end of a wait answers no spec that came meanwhile": {
			result: v1alpha1.ResultSucceeded, finishing: true, want: echo{Generation: 3, Requested: "please"},
		},
		"superseded leaves both to whoever supersedes it": {
			result: v1alpha1.ResultSuperseded, want: echo{Generation: 3, Requested: "before"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{ObservedGeneration: 3, Requested: "before"}}
			a.Generation, a.Annotations = 4, map[string]string{v1alpha1.ConfirmPruneAnnotation: "digest"}
			o := outcome{result: c.result, err: errors.New("boom"), revision: "r", owned: owned, finishing: c.finishing}
			s := begun{number: 7, requested: "please", startedAt: noon}.ended(a, o, noon)
			if diff := cmp.Diff(c.want, echo{s.ObservedGeneration, s.Requested, s.Confirmed}); diff != "" {
				t.Errorf("echo (-want +got):\n%s", diff)
			}
			if ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady); c.finishing && ready.ObservedGeneration != 3 {
				t.Errorf("Ready is said of generation %d", ready.ObservedGeneration)
			}
		})
	}
}

func TestTheEndOfAWaitLeavesASuspendedOneSuspended(t *testing.T) {
	a := &v1alpha1.Application{}
	a.Generation, a.Spec.Suspend = 2, true
	heldBack(a, &eventsv1.SyncRequested{Reason: event.ReasonSpec}, noon).tell(&a.Status, a, noon)
	a.Status.ObservedGeneration = 2
	o := outcome{result: v1alpha1.ResultSucceeded, finishing: true, applied: true, inputs: inputs, health: health.Summary{Status: health.Healthy, Total: 1, Healthy: 1}}
	got := begun{number: 1, startedAt: noon}.ended(a, o, noon)
	want := map[string]string{"Ready": "False/Suspended", "Suspended": "True/Suspended", "Synced": "True/Succeeded", "Healthy": "True/Succeeded"}
	if diff := cmp.Diff(want, words(got)); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
}

func TestAnInventoryThatCannotBeReadIsLeftAsItIs(t *testing.T) {
	a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{
		Inventory: &v1alpha1.Inventory{Entries: []v1alpha1.InventoryEntry{{ID: "odd", Version: "v1"}}},
	}}
	_, o, err := (&attempt{}).sync(t.Context(), a, begun{})
	if err != nil || o.reason() != fault.PruneBlocked {
		t.Fatalf("outcome %+v, error %v", o, err)
	}
	s := begun{number: 1, startedAt: noon}.ended(a, o, noon)
	if diff := cmp.Diff(a.Status.Inventory, s.Inventory); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
}

func TestFailuresAreCountedPerRevisionAndGeneration(t *testing.T) {
	cases := map[string]struct {
		last       *v1alpha1.LastAttempt
		observed   int64
		generation int64
		want       int32
	}{
		"the first failure":            {want: 1},
		"the third at one revision":    {last: &v1alpha1.LastAttempt{Revision: "r", Failures: 2}, want: 3},
		"another revision begins anew": {last: &v1alpha1.LastAttempt{Revision: "q", Failures: 2}, want: 1},
		"another spec begins anew":     {last: &v1alpha1.LastAttempt{Revision: "r", Failures: 2}, observed: 1, generation: 2, want: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{LastAttempt: c.last, ObservedGeneration: c.observed}}
			a.Generation = c.generation
			o := outcome{result: v1alpha1.ResultFailed, revision: "r", err: errors.New("boom")}
			// The first status write stands between two attempts, and must not lose count.
			b := begun{number: 3, startedAt: noon}
			a.Status = b.starting(a, source.Assembly{Revision: "r"}, inventory.Inventory{})
			if got := b.ended(a, o, noon).LastAttempt.Failures; got != c.want {
				t.Errorf("failures = %d, want %d", got, c.want)
			}
		})
	}
}

func TestHistoryKeepsTheLastTen(t *testing.T) {
	a := &v1alpha1.Application{}
	for i := range 15 {
		o := outcome{result: v1alpha1.ResultSucceeded, applied: true, revision: fmt.Sprint(i), inputs: &v1alpha1.Inputs{Digest: fmt.Sprint(i)}}
		a.Status = begun{number: int64(i), startedAt: noon}.ended(a, o, noon)
	}
	again := outcome{result: v1alpha1.ResultSucceeded, applied: true, revision: "14", inputs: &v1alpha1.Inputs{Digest: "14"}}
	a.Status = begun{number: 16, startedAt: noon}.ended(a, again, noon)
	var got []string
	for _, h := range a.Status.History {
		got = append(got, h.Revision)
	}
	if diff := cmp.Diff([]string{"14", "13", "12", "11", "10", "9", "8", "7", "6", "5"}, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestAgainFollowsThePolicy(t *testing.T) {
	limit := int32(2)
	transient := errors.New("boom")
	cases := map[string]struct {
		failures int32
		policy   *v1alpha1.RetryPolicy
		err      error
		want     time.Duration
		repeats  bool
	}{
		"the first failure waits the base":       {failures: 1, err: transient, want: 5 * time.Second, repeats: true},
		"every failure doubles it":               {failures: 4, err: transient, want: 40 * time.Second, repeats: true},
		"up to the longest":                      {failures: 5, err: transient, policy: &v1alpha1.RetryPolicy{Max: &metav1.Duration{Duration: time.Minute}}, want: time.Minute, repeats: true},
		"after five it is over":                  {failures: 6, err: transient},
		"or after as many as the policy says":    {failures: 3, err: transient, policy: &v1alpha1.RetryPolicy{Limit: &limit}},
		"a permanent failure is not repeated":    {failures: 1, err: fault.Refuse("", fault.Place{}, "no")},
		"what the server asks for is waited for": {failures: 1, err: fault.After("", time.Minute, "busy"), want: time.Minute, repeats: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{}
			a.Spec.Sync.Retry = c.policy
			a.Status.LastAttempt = &v1alpha1.LastAttempt{Failures: c.failures}
			wait, repeats := again(a, a.Status.LastAttempt.Failures, c.err)
			if wait != c.want || repeats != c.repeats {
				t.Errorf("again = %s, %v; want %s, %v", wait, repeats, c.want, c.repeats)
			}
		})
	}
}

func TestHeldBack(t *testing.T) {
	cases := map[string]struct {
		suspend    bool
		mode       v1alpha1.Mode
		annotation string
		answered   string
		reason     string
		held       bool
	}{
		"an automatic one is synced":               {reason: event.ReasonPush},
		"a suspended one is not":                   {suspend: true, reason: event.ReasonPush, held: true},
		"not even when a person asks":              {suspend: true, reason: event.ReasonManual, held: true},
		"a manual one waits":                       {mode: v1alpha1.ModeManual, reason: event.ReasonPush, held: true},
		"until a person asks":                      {mode: v1alpha1.ModeManual, reason: event.ReasonManual},
		"also when only the annotation arrived":    {mode: v1alpha1.ModeManual, reason: event.ReasonPush, annotation: "a"},
		"and then waits for the next":              {mode: v1alpha1.ModeManual, reason: event.ReasonPush, annotation: "a", answered: "a", held: true},
		"drift of a manual one is not healed, too": {mode: v1alpha1.ModeManual, reason: event.ReasonDrift, held: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{}
			a.Spec.Suspend, a.Spec.Sync.Mode, a.Status.Requested = c.suspend, c.mode, c.answered
			a.Annotations = map[string]string{v1alpha1.SyncAnnotation: c.annotation}
			if why := heldBack(a, &eventsv1.SyncRequested{Reason: c.reason}, noon); (why != nil) != c.held {
				t.Errorf("held = %v, want %v", why, c.held)
			}
		})
	}
}

func TestVerdictOfAWait(t *testing.T) {
	web := object.ID{Kind: "Deployment", Namespace: "team-a", Name: "web"}
	cases := map[string]struct {
		summary health.Summary
		err     error
		result  v1alpha1.Result
		reason  fault.Reason
	}{
		"all healthy":                  {summary: health.Summary{Status: health.Healthy, Total: 1, Healthy: 1}, result: v1alpha1.ResultSucceeded, reason: fault.Succeeded},
		"nothing is owned":             {result: v1alpha1.ResultSucceeded, reason: fault.Succeeded},
		"one is degraded":              {summary: health.Summary{Status: health.Degraded, Object: web, Total: 1}, result: v1alpha1.ResultFailed, reason: fault.HealthFailed},
		"the time is over":             {summary: health.Summary{Status: health.Progressing, Object: web, Total: 1}, result: v1alpha1.ResultFailed, reason: fault.HealthTimeout},
		"one is missing":               {summary: health.Summary{Status: health.Missing, Object: web, Total: 1}, result: v1alpha1.ResultFailed, reason: fault.HealthTimeout},
		"the account may not watch it": {err: fault.Refuse("", fault.Place{}, "forbidden"), result: v1alpha1.ResultFailed, reason: fault.HealthFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{LastAttempt: &v1alpha1.LastAttempt{Revision: "r"}, Inputs: inputs}}
			o := verdict(a, c.summary, c.err)
			if o.result != c.result || o.reason() != c.reason {
				t.Errorf("%s, %s: %v; want %s, %s", o.result, o.reason(), o.err, c.result, c.reason)
			}
		})
	}
}

func TestHealsByPolicyOrWhenAsked(t *testing.T) {
	cases := map[string]struct {
		policy v1alpha1.DriftPolicy
		reason string
		want   bool
	}{
		"the default heals":             {reason: event.ReasonDrift, want: true},
		"heal heals":                    {policy: v1alpha1.DriftHeal, reason: event.ReasonDrift, want: true},
		"warn leaves drift":             {policy: v1alpha1.DriftWarn, reason: event.ReasonDrift},
		"off leaves drift, too":         {policy: v1alpha1.DriftOff, reason: event.ReasonRetry},
		"what a person asks for is all": {policy: v1alpha1.DriftOff, reason: event.ReasonManual, want: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{}
			a.Spec.Sync.Drift = c.policy
			if got := heals(a, c.reason); got != c.want {
				t.Errorf("heals = %v, want %v", got, c.want)
			}
		})
	}
}

func TestAManualApplicationThatChangedIsNotReady(t *testing.T) {
	for generation, want := range map[int64]string{1: "", 2: "Unknown/Suspended"} {
		a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{ObservedGeneration: 1}}
		a.Generation, a.Spec.Sync.Mode = generation, v1alpha1.ModeManual
		heldBack(a, &eventsv1.SyncRequested{Reason: event.ReasonSpec}, noon).tell(&a.Status, a, noon)
		if got := words(a.Status)["Ready"]; got != want {
			t.Errorf("generation %d: Ready is %q, want %q", generation, got, want)
		}
	}
}

func TestNobodyWaitsForWhatIsPruned(t *testing.T) {
	going := inventory.Entry{ID: object.ID{Kind: "ConfigMap", Namespace: "team-a", Name: "old"}, Version: "v1", UID: "o", Digest: "d"}
	_, open := awaited(owned.Record(going), nil, health.Of)
	if _, waits := open[going.ID]; waits || len(open) != 1 {
		t.Errorf("waited for: %v", open)
	}
}
