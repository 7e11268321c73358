package pipeline

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
)

// A brief attempt writes no status before its objects. What a worker that is killed amid
// one leaves is found all the same (docs/decisions/016-brief-attempts.md).
func TestAWorkerKilledAmidABriefAttempt(t *testing.T) {
	cases := map[string]struct {
		point     failpoint.Point
		action    string
		meanwhile map[string]string // pushed before another worker starts
		want      string
	}{
		"when one of two objects is written":              {point: failpoint.ApplyObject, action: "kill:2", want: "new"},
		"when all is written but the status":              {point: failpoint.StatusLast, action: "kill", want: "new"},
		"and reverted before another worker comes":        {point: failpoint.StatusLast, action: "kill", meanwhile: pair("old"), want: "old"},
		"half of it reverted before another worker comes": {point: failpoint.ApplyObject, action: "kill:2", meanwhile: pair("old"), want: "old"},
	}
	s := stack.New(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "brief/"+ns, pair("old"))
			a := stack.Application(ns, "app", repo, "app")
			t.Cleanup(func() { s.Forget(a.Key()) })
			before := applied(t, s, a)

			victim := s.Start(t, stack.Options{Failpoint: c.point, Action: c.action})
			revision := s.Push(t, repo, pair("new"))
			s.AwaitEnd(t, victim)
			if !victim.Reached() {
				t.Fatal("the worker ended elsewhere than at the failpoint")
			}
			if got := s.Get(t, a.Key()); got.Status.LastAttempt.Number != before.Status.LastAttempt.Number {
				t.Fatalf("the attempt was not brief: %+v", got.Status.LastAttempt)
			}
			if c.meanwhile != nil {
				revision = s.Push(t, repo, c.meanwhile)
			}
			heir := s.Start(t, stack.Options{})
			defer heir.Kill()
			s.Live(t, a.Key(), revision)
			want := map[string]map[string]string{"one": {"value": c.want}, "two": {"value": c.want}}
			if diff := cmp.Diff(want, s.Owned(t, a.Key(), ns)); diff != "" {
				t.Errorf("owned (-want +got):\n%s", diff)
			}
		})
	}
}

// pair are two objects with a value.
func pair(value string) map[string]string {
	return map[string]string{"app/one.yaml": stack.ConfigMap("one", value), "app/two.yaml": stack.ConfigMap("two", value)}
}

// While a brief attempt is under way its status says nothing of it; a newer commit that
// reverts it must not be taken for one that touches nothing.
func TestARevertOvertakesABriefAttempt(t *testing.T) {
	s := stack.New(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "overtaken/"+ns, pair("old"))
	a := stack.Application(ns, "app", repo, "app")
	applied(t, s, a)

	slow := s.Start(t, stack.Options{Failpoint: failpoint.StatusLast, Action: "hold"})
	defer slow.Kill()
	s.Push(t, repo, pair("new"))
	s.AwaitReached(t, slow)
	s.Routed(t, s.Push(t, repo, pair("old")))
	slow.Release(t)
	reverted(t, s, a.Key(), ns)
}

// applied has a worker apply an Application, and waits until that is so long ago that the
// next attempt may be brief. No worker runs afterwards.
func applied(t *testing.T, s *stack.Stack, a *v1alpha1.Application) *v1alpha1.Application {
	t.Helper()
	worker := s.Start(t, stack.Options{})
	s.Create(t, a)
	live := s.Live(t, a.Key(), head(t, s, a.Key()))
	worker.Kill()
	last := live.Status.LastAttempt
	s.Eventually(t, "the attempt is a while ago", func() error {
		if ago := time.Since(last.StartedAt.Add(last.Duration.Duration)); ago < 4*time.Second {
			return fmt.Errorf("it ended %s ago", ago)
		}
		return nil
	})
	return live
}

// reverted waits until both objects have their old value again, and all is well.
func reverted(t *testing.T, s *stack.Stack, key app.Key, ns string) {
	t.Helper()
	want := map[string]map[string]string{"one": {"value": "old"}, "two": {"value": "old"}}
	s.Eventually(t, "what was applied is reverted", func() error {
		if diff := cmp.Diff(want, s.Owned(t, key, ns)); diff != "" {
			return errors.New(diff)
		}
		return stack.Ready(s.Get(t, key))
	})
}

// Without the request, and without anything that waited for the lease, what a brief
// attempt left is drift.
func TestWhatABriefAttemptLeftIsDrift(t *testing.T) {
	s := stack.New(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "left/"+ns, pair("old"))
	a := stack.Application(ns, "app", repo, "app")
	applied(t, s, a)

	victim := s.Start(t, stack.Options{Failpoint: failpoint.StatusLast, Action: "kill"})
	s.Push(t, repo, pair("new"))
	s.AwaitEnd(t, victim)
	deleteStreams(t, s)
	s.PushSilently(t, repo, pair("old"))
	heir := s.Start(t, stack.Options{})
	defer heir.Kill()
	s.Scan(t, time.Second)
	reverted(t, s, a.Key(), ns)
}
