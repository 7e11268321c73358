package reconcile

import (
	"context"
	"errors"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// The guard is asked last before the status is written.
func TestConcludeWritesOnlyWhatTheAttemptFound(t *testing.T) {
	asked := fault.Retry("", "the guard is asked")
	failure := outcome{result: v1alpha1.ResultFailed, err: errors.New("boom")}
	cases := map[string]struct {
		cause   error // of the end of the attempt's context; nil: it goes on
		outcome outcome
		writes  bool
	}{
		"a failure":                                    {outcome: failure, writes: true},
		"success although the worker ends":             {cause: context.Canceled, outcome: outcome{result: v1alpha1.ResultSucceeded}, writes: true},
		"not the end of the worker as a failure":       {cause: context.Canceled, outcome: failure},
		"nothing once the lease is lost":               {cause: errLeaseLost, outcome: outcome{result: v1alpha1.ResultSucceeded}},
		"that a newer request ended what it had begun": {cause: errSuperseded, outcome: failed(errSuperseded), writes: true},
		"nothing of an attempt that had nothing to do": {outcome: outcome{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if c.cause != nil {
				cancel(c.cause)
			}
			a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{LastAttempt: &v1alpha1.LastAttempt{Number: 7}}}
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
