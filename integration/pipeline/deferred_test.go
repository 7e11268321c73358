package pipeline

import (
	"fmt"
	"testing"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// Deletions wait while another Application may be about to take the objects over.
// The attempts that look whether it still may run no hook again.
func TestHooksRunOnceWhileDeletionsWait(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	hooks := job("before", "run", preSync) + job("after", "run", postSync, `plumb.dev/hook-delete: succeeded`)
	repo := s.Repo(t, "acme/config", map[string]string{
		"one/hooks.yaml": hooks, "one/cm.yaml": stack.ConfigMap("one", "o"), "one/old.yaml": stack.ConfigMap("old", "o"), "two/cm.yaml": stack.ConfigMap("two", "t"),
	})
	one, two := stack.Application(ns, "one", repo, "one"), stack.Application(ns, "two", repo, "two")
	s.Create(t, one)
	s.Create(t, two)
	s.Await(t, one.Key(), "it is ready", stack.Ready)
	s.Await(t, two.Key(), "it is ready", stack.Ready)

	sha := s.Push(t, repo, map[string]string{"one/old.yaml": "", "two/cm.yaml": "kind: ["})
	first := s.Await(t, one.Key(), "its deletions wait", func(a *v1alpha1.Application) error {
		if a.Status.Revision != sha || a.Status.LastAttempt.RetryAt == nil {
			return fmt.Errorf("they do not")
		}
		return stack.Ready(a)
	})
	uids := func() map[string]string {
		found := map[string]string{}
		for _, j := range list(t, s, jobs, ns) {
			found[j.GetName()] = string(j.GetUID())
		}
		return found
	}
	ran := uids()
	s.Await(t, one.Key(), "they are looked at again", func(a *v1alpha1.Application) error {
		if n := a.Status.LastAttempt.Number; n < first.Status.LastAttempt.Number+2 {
			return fmt.Errorf("attempt %d", n)
		}
		return stack.Ready(a)
	})
	if again := uids(); len(ran) != 2 || again["before"] != ran["before"] || again["after"] != ran["after"] {
		t.Errorf("hooks were %v and are %v", ran, again)
	}
	s.Push(t, repo, map[string]string{"two/cm.yaml": stack.ConfigMap("two", "u")})
	s.Eventually(t, "they are carried out, and the hook that succeeded goes", func() error {
		if owned, left := s.Owned(t, one.Key(), ns), uids(); len(owned) != 1 || len(left) != 1 || left["before"] != ran["before"] {
			return fmt.Errorf("owned %v, hooks %v", owned, left)
		}
		return nil
	})
}
