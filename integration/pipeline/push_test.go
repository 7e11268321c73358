package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

func TestAPushReachesTheCluster(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"apps/web/cm.yaml": stack.ConfigMap("web", "one")})
	a := stack.Application(ns, "web", repo, "apps/web")
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "one"})

	second := s.Push(t, repo, map[string]string{"apps/web/cm.yaml": stack.ConfigMap("web", "two"), "apps/web/more.yaml": stack.ConfigMap("more", "m")})
	s.Live(t, a.Key(), second)
	third := s.Push(t, repo, map[string]string{"apps/web/more.yaml": ""})
	got := s.Live(t, a.Key(), third)

	want := map[string]map[string]string{"web": {"value": "two"}}
	if diff := cmp.Diff(want, s.Owned(t, a.Key(), ns)); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if got.Status.LastAttempt.Result != v1alpha1.ResultSucceeded || len(got.Status.Inventory.Entries) != 1 || len(got.Status.History) != 3 {
		t.Errorf("status: %+v", got.Status)
	}
}
