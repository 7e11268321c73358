package pipeline

import (
	"testing"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
)

// TestAnAttemptUnderWayOutlivesItsSurroundings holds an attempt between its
// first status write and its first apply, takes something away, and goes on.
func TestAnAttemptUnderWayOutlivesItsSurroundings(t *testing.T) {
	cases := map[string]struct {
		stop, start func(*testing.T, *stack.Stack)
	}{
		"NATS goes and comes back": {
			stop: func(_ *testing.T, s *stack.Stack) { s.NATS.Stop() },
			start: func(t *testing.T, s *stack.Stack) {
				if err := s.NATS.Restart(); err != nil {
					t.Fatal(err)
				}
			},
		},
		"the API server goes and comes back": {
			stop:  func(t *testing.T, s *stack.Stack) { s.Kube.Stop(t) },
			start: func(t *testing.T, s *stack.Stack) { s.Kube.Restart(t) },
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := stack.With(t, kubetest.Own(t))
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "inflight/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one"), "app/b.yaml": stack.ConfigMap("b", "one")})
			a := stack.Application(ns, "app", repo, "app")
			p := s.Start(t, stack.Options{Failpoint: failpoint.ApplyBefore(1), Action: "hold"})
			s.Create(t, a)
			s.AwaitReached(t, p)
			c.stop(t, s)
			p.Release(t)
			c.start(t, s)
			s.Live(t, a.Key(), head(t, s, a.Key()))
			s.Data(t, ns, "a", map[string]string{"value": "one"})
			s.Data(t, ns, "b", map[string]string{"value": "one"})
		})
	}
}
