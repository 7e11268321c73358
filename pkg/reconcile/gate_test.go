package reconcile

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/checks"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/source"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// stands is an Application at generation 2 that was applied at a revision.
func stands(result v1alpha1.Result, revision string) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Namespace, a.Name, a.Generation = "team-a", "web", 2
	a.Spec.Source.Repo = "https://example.com/acme/config"
	a.Status = v1alpha1.ApplicationStatus{
		ObservedGeneration: 2, Revision: "applied", Inputs: inputs,
		LastAttempt: &v1alpha1.LastAttempt{Number: 5, Revision: revision, Result: result},
		Conditions:  []metav1.Condition{{Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionFalse, Reason: "Succeeded", ObservedGeneration: 2}},
	}
	return a
}

func TestMendsWhatIsAppliedWhileARevisionWaits(t *testing.T) {
	soon := metav1.NewTime(noon)
	cases := map[string]struct {
		result   v1alpha1.Result
		revision string
		drift    bool
		change   func(*v1alpha1.Application)
		want     string
	}{
		"drift is healed at what is applied":             {result: v1alpha1.ResultSucceeded, revision: "applied", drift: true, want: "applied"},
		"without drift nothing is":                       {result: v1alpha1.ResultSucceeded, revision: "applied"},
		"a heal that was cut short goes on":              {result: v1alpha1.ResultSuperseded, revision: "applied", want: "applied"},
		"an attempt that was cut short comes to its end": {result: v1alpha1.ResultSuperseded, revision: "half", want: "half"},
		"also when its worker died":                      {result: v1alpha1.ResultRunning, revision: "half", want: "half"},
		"not when it is made of more than one tree":      {result: v1alpha1.ResultRunning, revision: "half", change: func(a *v1alpha1.Application) { a.Spec.Sources = []v1alpha1.NamedSource{{Name: "values"}} }},
		"a failed heal is repeated":                      {result: v1alpha1.ResultFailed, revision: "applied", change: func(a *v1alpha1.Application) { a.Status.LastAttempt.RetryAt = &soon }, want: "applied"},
		"unless that is in vain":                         {result: v1alpha1.ResultFailed, revision: "applied"},
		"by another spec nothing was applied yet":        {result: v1alpha1.ResultSucceeded, revision: "applied", drift: true, change: func(a *v1alpha1.Application) { a.Generation = 3 }},
		"nor at all": {result: v1alpha1.ResultSucceeded, revision: "applied", drift: true, change: func(a *v1alpha1.Application) { a.Status.Inputs = nil }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := stands(c.result, c.revision)
			if c.change != nil {
				c.change(a)
			}
			if got := mends(a, c.drift); got != c.want {
				t.Errorf("mends %q, want %q", got, c.want)
			}
		})
	}
}

func TestAwaitChecks(t *testing.T) {
	names := []string{"build", "test"}
	cases := map[string]struct {
		states map[string]checks.State
		err    error
		want   string // reason and status; empty: nothing waits
		text   string
	}{
		"all green":           {states: map[string]checks.State{"build": checks.Green, "test": checks.Green}},
		"one on its way":      {states: map[string]checks.State{"build": checks.Green, "test": checks.Pending}, want: "ChecksPending/Unknown", text: "01234567 waits: required checks are not green yet: test"},
		"one never reported":  {states: map[string]checks.State{"build": checks.Green}, want: "ChecksPending/Unknown", text: "01234567 waits: required checks are not green yet: test (never reported)"},
		"one that failed":     {states: map[string]checks.State{"build": checks.Failed, "test": checks.Pending}, want: "ChecksFailed/False", text: "01234567 waits: required checks failed: build; push a fix, or run them again"},
		"a host that is away": {err: errors.New("no answer"), want: "ChecksPending/Unknown", text: "01234567 waits: its required checks are not known: no answer"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := awaitChecks(names, c.states, "0123456789", c.err)
			got, text := "", ""
			if h != nil {
				got, text = h.waiting.Reason+"/"+string(h.conditions[0].Status), h.waiting.Message
			}
			if got != c.want || text != c.text {
				t.Errorf("got %s: %q, want %s: %q", got, text, c.want, c.text)
			}
		})
	}
}

func TestChecksAreAskedForEverMoreSlowly(t *testing.T) {
	h := waits(metav1.ConditionUnknown, fault.ChecksPending, "r", time.Time{}, "")
	a := stands(v1alpha1.ResultSucceeded, "applied")
	now := noon
	at := &attempt{r: New(Parts{}, Options{Now: func() time.Time { return now }})}
	var waitsFor []time.Duration
	for range 7 {
		wait := at.patience(a, h)
		waitsFor = append(waitsFor, wait/time.Second)
		h.tell(&a.Status, a, now)
		now = now.Add(wait)
	}
	if diff := cmp.Diff([]time.Duration{10, 10, 20, 40, 60, 60, 60}, waitsFor); diff != "" {
		t.Errorf("seconds (-want +got):\n%s", diff)
	}
	h.waiting.Revision = "newer"
	if wait := at.patience(a, h); wait != checksSoonest {
		t.Errorf("a newer revision waits %s", wait)
	}
	if wait := at.patience(a, waits(metav1.ConditionFalse, fault.ChecksFailed, "newer", time.Time{}, "")); wait != checksLatest {
		t.Errorf("a failed one waits %s", wait)
	}
}

func TestAnOverrideIsForOneRequest(t *testing.T) {
	soon := metav1.NewTime(noon)
	cases := map[string]struct {
		sync, override, requested string
		last                      v1alpha1.LastAttempt
		want                      bool
	}{
		"the request that it names":             {sync: "x", override: "x", want: true},
		"another request":                       {sync: "x", override: "y"},
		"none":                                  {override: "x"},
		"neither":                               {},
		"one that was answered":                 {sync: "x", override: "x", requested: "x", last: v1alpha1.LastAttempt{Result: v1alpha1.ResultSucceeded, Reason: event.ReasonManual}},
		"one that failed and is to be repeated": {sync: "x", override: "x", requested: "x", last: v1alpha1.LastAttempt{Result: v1alpha1.ResultFailed, Reason: event.ReasonManual, RetryAt: &soon}, want: true},
		"one that failed for good":              {sync: "x", override: "x", requested: "x", last: v1alpha1.LastAttempt{Result: v1alpha1.ResultFailed, Reason: event.ReasonManual}},
		"a failure of something else":           {sync: "x", override: "x", requested: "x", last: v1alpha1.LastAttempt{Result: v1alpha1.ResultFailed, Reason: event.ReasonPush, RetryAt: &soon}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{Requested: c.requested, LastAttempt: &c.last}}
			a.Annotations = map[string]string{v1alpha1.SyncAnnotation: c.sync, v1alpha1.OverrideWindowsAnnotation: c.override}
			if got := overrides(a); got != c.want {
				t.Errorf("overrides = %v, want %v", got, c.want)
			}
		})
	}
}

// In mode manual a person's request outlives its message, which a push may replace.
func TestAPersonsRequestIsOwedUntilItIsCarriedOut(t *testing.T) {
	failure := outcome{result: v1alpha1.ResultFailed, revision: "r", owned: owned, err: errors.New("a hiccup")}
	refusal := outcome{result: v1alpha1.ResultFailed, revision: "r", owned: owned, err: fault.Refuse("", fault.Place{}, "no")}
	done := outcome{result: v1alpha1.ResultSucceeded, revision: "r", owned: owned, inputs: inputs, applied: true}
	cases := map[string]struct {
		reason   string
		failures int32 // before
		outcome  outcome
		held     *held
		want     bool
	}{
		"one that failed":                 {reason: event.ReasonManual, outcome: failure, want: true},
		"the last try of many":            {reason: event.ReasonManual, failures: 5, outcome: failure},
		"one that is refused":             {reason: event.ReasonManual, outcome: refusal},
		"one that succeeded":              {reason: event.ReasonManual, outcome: done},
		"a failure that nobody asked for": {reason: event.ReasonPush, outcome: failure},
		"one that waits":                  {reason: event.ReasonManual, held: waits(metav1.ConditionUnknown, fault.WindowClosed, "r", time.Time{}, ""), want: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := stands(v1alpha1.ResultFailed, "r")
			a.Spec.Sync.Mode, a.Status.LastAttempt.Failures = v1alpha1.ModeManual, c.failures
			if c.held != nil {
				c.held.tell(&a.Status, a, noon)
			} else {
				a.Status = begun{number: 6, reason: c.reason, startedAt: noon}.ended(a, c.outcome, noon)
			}
			push := &attempt{r: New(Parts{}, Options{}), request: &eventsv1.SyncRequested{Reason: event.ReasonPush}}
			if why := heldBack(a, push.request, noon); (why == nil) != c.want {
				t.Errorf("a push is held back by %v; owed should be %v", why, c.want)
			}
			if got := push.reason(a); c.want && got != event.ReasonManual {
				t.Errorf("it is carried out for %s", got)
			}
		})
	}
}

// The end of a wait for health says nothing about a newer revision that waits.
func TestTheEndOfAWaitLeavesWhatWaits(t *testing.T) {
	a := stands(v1alpha1.ResultWaiting, "applied")
	waits(metav1.ConditionUnknown, fault.WindowClosed, "newer", noon.Add(time.Hour), "closed").tell(&a.Status, a, noon)
	o := outcome{result: v1alpha1.ResultSucceeded, revision: "applied", finishing: true, applied: true, inputs: inputs, health: health.Summary{Status: health.Healthy, Total: 1, Healthy: 1}}
	got := begun{number: 5, startedAt: noon}.ended(a, o, noon)
	want := map[string]string{"Ready": "Unknown/WindowClosed", "Synced": "Unknown/WindowClosed", "Healthy": "True/Succeeded", "Drifted": "False/Succeeded", "Suspended": "False/Succeeded"}
	if diff := cmp.Diff(want, words(got)); diff != "" || got.Waiting == nil || got.Waiting.Revision != "newer" {
		t.Errorf("waiting %+v, conditions (-want +got):\n%s", got.Waiting, diff)
	}
}

// A wait is told once, and since when; what is healed meanwhile does not end it.
func TestWhatWaitsIsTold(t *testing.T) {
	a := stands(v1alpha1.ResultSucceeded, "applied")
	h := waits(metav1.ConditionUnknown, fault.ChecksPending, "newer", time.Time{}, "checks")
	h.tell(&a.Status, a, noon)
	b := begun{number: 6, startedAt: noon.Add(time.Minute), held: h}
	for _, s := range []v1alpha1.ApplicationStatus{
		b.starting(a, source.Assembly{Revision: "applied"}, owned),
		b.ended(a, outcome{result: v1alpha1.ResultSucceeded, revision: "applied", applied: true, inputs: inputs, owned: owned, held: h}, noon.Add(time.Hour)),
	} {
		if s.Waiting == nil || s.Waiting.Revision != "newer" || !s.Waiting.Since.Time.Equal(noon) || words(s)["Ready"] != "Unknown/ChecksPending" {
			t.Errorf("waiting %+v, Ready %s", s.Waiting, words(s)["Ready"])
		}
	}
	b.held = nil
	if s := b.starting(a, source.Assembly{Revision: "newer"}, owned); s.Waiting != nil {
		t.Errorf("it waits while it is applied: %+v", s.Waiting)
	}
}

// A request waits itself for an end that is close: clocks differ.
func TestARequestWaitsForAnEndThatIsClose(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{time.Hour: 0, 5 * time.Second: 6 * time.Second, -time.Second: time.Second} {
		h := waits(metav1.ConditionUnknown, fault.WindowClosed, "r", noon.Add(left), "closed")
		h.hasten(noon)
		if h.again != want {
			t.Errorf("with %s left it comes back after %s, want %s", left, h.again, want)
		}
	}
	at := &attempt{guard: func() error { return nil }}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errSuperseded)
	if err := at.hold(ended, stands(v1alpha1.ResultSucceeded, "r"), begun{}, &held{}); !errors.Is(err, errSuperseded) {
		t.Errorf("superseded, it ends with %v", err)
	}
}
