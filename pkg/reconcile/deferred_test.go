package reconcile

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/source"
	"github.com/plumb-gitops/plumb/pkg/tree"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// The request that comes back for deletions that wait may be replaced by another
// one, to which nothing seems to be new: the status has to remember them.
func TestDeletionsThatWaitAreNotForgotten(t *testing.T) {
	made, err := tree.FromFiles(map[string]tree.File{"web/cm.yaml": {Data: []byte("kind: ConfigMap")}})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := made.Digest("web", nil)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		outcomes []outcome // one after the other
		idle     bool
	}{
		"nothing waits, and nothing is new": {
			outcomes: []outcome{{result: v1alpha1.ResultSucceeded, applied: true}}, idle: true,
		},
		"deletions wait": {
			outcomes: []outcome{{result: v1alpha1.ResultSucceeded, applied: true, deferred: true}},
		},
		"and still do when all is healthy": {
			outcomes: []outcome{{result: v1alpha1.ResultWaiting, applied: true, deferred: true}, {result: v1alpha1.ResultSucceeded, applied: true, finishing: true}},
		},
		"until an attempt carries them out": {
			outcomes: []outcome{{result: v1alpha1.ResultSucceeded, applied: true, deferred: true}, {result: v1alpha1.ResultSucceeded, applied: true}}, idle: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{}
			a.Spec.Source.Path = "web"
			for _, o := range c.outcomes {
				o.inputs = &v1alpha1.Inputs{Digest: digest}
				a.Status = begun{number: 1, reason: event.ReasonPush, startedAt: noon}.ended(a, o, noon.Add(time.Second))
			}
			attempt := &attempt{request: &eventsv1.SyncRequested{Reason: event.ReasonPush}}
			if got := attempt.idle(a, fetched{made: source.Assembly{Tree: made}}); got != c.idle {
				t.Errorf("idle is %v, want %v", got, c.idle)
			}
			var want *metav1.Time
			if !c.idle {
				want = &metav1.Time{Time: noon.Add(time.Second + handoverRetry)}
			}
			if got := a.Status.LastAttempt.RetryAt; !got.Equal(want) {
				t.Errorf("it is to be repeated at %v, want %v", got, want)
			}
		})
	}
}

// An attempt that only carries out deletions runs no hook anew.
func TestHooksRunOnceWhenDeletionsWait(t *testing.T) {
	made, err := tree.FromFiles(map[string]tree.File{"web/cm.yaml": {Data: []byte("kind: ConfigMap")}})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := made.Digest("web", nil)
	if err != nil {
		t.Fatal(err)
	}
	soon := &metav1.Time{Time: noon}
	cases := map[string]struct {
		last       v1alpha1.LastAttempt
		revision   string // of the last attempt
		inputs     string
		generation int64
		reason     string
		goesOn     bool
	}{
		"deletions wait":                            {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultSucceeded, RetryAt: soon}, goesOn: true},
		"and health is awaited":                     {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultWaiting, RetryAt: soon}, goesOn: true},
		"and a commit came that does not touch it":  {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultSucceeded, RetryAt: soon}, revision: "older", goesOn: true},
		"and a commit came that does":               {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultSucceeded, RetryAt: soon}, revision: "older", inputs: "others"},
		"and the spec changed":                      {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultSucceeded, RetryAt: soon}, generation: 1},
		"and a person asks":                         {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultSucceeded, RetryAt: soon}, reason: event.ReasonManual},
		"a worker ended amid it":                    {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultRunning}, goesOn: true},
		"a worker ended amid one at another commit": {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultRunning}, revision: "older"},
		"nothing waits":                             {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultSucceeded}},
		"a failure is repeated":                     {last: v1alpha1.LastAttempt{Result: v1alpha1.ResultFailed, RetryAt: soon}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{}
			a.Spec.Source.Path, a.Generation = "web", 3+c.generation
			c.last.Number, c.last.Run, c.last.Revision = 7, 6, c.revision
			a.Status.LastAttempt, a.Status.Inputs = &c.last, &v1alpha1.Inputs{Digest: digest + c.inputs}
			for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionDrifted} {
				a.Status.Conditions = append(a.Status.Conditions, metav1.Condition{Type: kind, ObservedGeneration: 3})
			}
			want := int64(8)
			if c.goesOn {
				want = 6
			}
			if got := new(attempt).run(a, begun{number: 8, reason: c.reason}, fetched{made: source.Assembly{Tree: made}}); got != want {
				t.Errorf("run %d, want %d", got, want)
			}
		})
	}
}
