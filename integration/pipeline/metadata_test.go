package pipeline

import (
	"testing"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
)

// An annotation is no rival: the attempt under way comes to its own end.
func TestAnAnnotationDoesNotEndAnAttempt(t *testing.T) {
	s := stack.New(t)
	for name, point := range map[string]failpoint.Point{
		"before its first status write": failpoint.Plan, "before its last one": failpoint.StatusLast,
	} {
		t.Run(name, func(t *testing.T) {
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "metadata/"+ns, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "one")})
			a := stack.Application(ns, "web", repo, "app")
			t.Cleanup(func() { s.Forget(a.Key()) })
			p := s.Start(t, stack.Options{Failpoint: point, Action: "hold"})
			defer p.Kill()
			s.Create(t, a)
			s.AwaitReached(t, p)
			s.Patch(t, a.Key(), `{"metadata":{"annotations":{"example.com/note":"read me"}}}`)
			p.Release(t)
			got := s.Live(t, a.Key(), head(t, s, a.Key()))
			if n := got.Status.LastAttempt.Number; n != 1 {
				t.Errorf("it took %d attempts", n)
			}
		})
	}
}
