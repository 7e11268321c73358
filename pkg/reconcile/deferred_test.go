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
