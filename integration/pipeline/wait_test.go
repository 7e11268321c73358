package pipeline

import (
	"fmt"
	"testing"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// The watch that shows the last status write may come before the answer to it;
// several rounds, since it does not always.
func TestTheEndOfAWaitForHealthIsToldInFull(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"web/web.yaml": deployment("web", "example.com/web:1", 1)})
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	const rounds = 12
	for i := range rounds {
		s.Live(t, a.Key(), s.Push(t, repo, map[string]string{"web/web.yaml": deployment("web", "example.com/web:1", 2+i%2)}))
	}
	s.Eventually(t, "every attempt is told", func() error {
		if n := len(s.Facts(t, a.Key(), event.SyncFinished)); n < rounds {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	started := startsOf(t, s, a.Key())
	for _, f := range s.Facts(t, a.Key(), event.SyncFinished) {
		told := f.Data.(*eventsv1.SyncFinished)
		if len(told.GetStages()) == 0 || len(told.GetObjects()) == 0 {
			t.Errorf("attempt %d is told without stages or objects: %v", told.GetAttempt(), told)
		}
		trace := telemetry.TraceID(telemetry.Continue(t.Context(), f.Trace))
		if want := started[told.GetAttempt()]; trace == "" || trace != want {
			t.Errorf("attempt %d ended in trace %q and began in %q", told.GetAttempt(), trace, want)
		}
	}
}

// startsOf are the traces in which attempts began.
func startsOf(t *testing.T, s *stack.Stack, key app.Key) map[int64]string {
	t.Helper()
	traces := map[int64]string{}
	for _, f := range s.Facts(t, key, event.SyncStarted) {
		traces[f.Data.(*eventsv1.SyncStarted).GetAttempt()] = telemetry.TraceID(telemetry.Continue(t.Context(), f.Trace))
	}
	return traces
}
