package reconcile

import (
	"context"
	"errors"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// The guard is asked last before the status is written.
func TestConcludeWritesOnlyWhatTheAttemptFound(t *testing.T) {
	asked := fault.Retry("", "the guard is asked")
	failure := outcome{result: v1alpha1.ResultFailed, err: errors.New("boom")}
	cases := map[string]struct {
		cause   error // of the end of the attempt's context; nil: it goes on
		unborn  bool  // the Application's first attempt, before its first write
		outcome outcome
		writes  bool
	}{
		"a failure":                                                          {outcome: failure, writes: true},
		"success although the worker ends":                                   {cause: context.Canceled, outcome: outcome{result: v1alpha1.ResultSucceeded}, writes: true},
		"not the end of the worker as a failure":                             {cause: context.Canceled, outcome: failure},
		"nothing once the lease is lost":                                     {cause: errLeaseLost, outcome: outcome{result: v1alpha1.ResultSucceeded}},
		"that a newer request ended what it had begun":                       {cause: errSuperseded, outcome: failed(errSuperseded), writes: true},
		"nothing where a newer request ended the very first before it began": {cause: errSuperseded, unborn: true, outcome: failed(errSuperseded)},
		"nothing of an attempt that had nothing to do":                       {outcome: outcome{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if c.cause != nil {
				cancel(c.cause)
			}
			a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{LastAttempt: &v1alpha1.LastAttempt{Number: 7}}}
			if c.unborn {
				a.Status.LastAttempt = nil
			}
			err := (&attempt{guard: func() error { return asked }}).conclude(ctx, a, begun{number: 7}, c.outcome)
			if wrote := errors.Is(err, asked); wrote != c.writes {
				t.Errorf("went on to write: %v, want %v; error %v", wrote, c.writes, err)
			}
			if class, _ := fault.ClassOf(err); err != nil && class == fault.Permanent {
				t.Errorf("the request ends with %v", err)
			}
		})
	}
}

func TestWhatAPersonAskedIsDoneWhenAPushReplacesTheRequest(t *testing.T) {
	for name, c := range map[string]struct {
		requested string // the annotation that was answered last
		reason    string
		heal      bool
	}{
		"a push alone leaves drift under warn": {requested: "please", reason: event.ReasonPush},
		"and with what a person asks heals it": {reason: event.ReasonManual, heal: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{
				Requested: c.requested, LastAttempt: &v1alpha1.LastAttempt{Result: v1alpha1.ResultSucceeded},
			}}
			a.Annotations = map[string]string{v1alpha1.SyncAnnotation: "please"}
			a.Spec.Sync.Drift = v1alpha1.DriftWarn
			push := &attempt{r: New(Parts{}, Options{}), request: &eventsv1.SyncRequested{Reason: event.ReasonPush}}
			if got := push.begin(t.Context(), a).reason; got != c.reason {
				t.Errorf("reason %s, want %s", got, c.reason)
			}
			if in := push.input(a, object.Set{}, inventory.Inventory{}); in.Heal != c.heal || push.fresh(a) != c.heal {
				t.Errorf("heals %v and looks at the cluster %v, want %v", in.Heal, push.fresh(a), c.heal)
			}
		})
	}
}
