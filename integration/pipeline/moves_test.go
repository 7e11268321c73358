package pipeline

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/stack"
)

// What left Git and stays by its annotation is made over to an Application that
// renders it later, although nothing else calls for a sync of its owner.
func TestWhatIsNotPrunedMovesLater(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	kept := annotated("kept", "one", `plumb.dev/prune: disabled`)
	repo := s.Repo(t, "acme/config", map[string]string{"one/kept.yaml": kept, "one/cm.yaml": stack.ConfigMap("one", "o"), "two/cm.yaml": stack.ConfigMap("two", "t")})
	one, two := stack.Application(ns, "one", repo, "one"), stack.Application(ns, "two", repo, "two")
	s.Create(t, one)
	s.Create(t, two)
	s.Await(t, one.Key(), "it is ready", stack.Ready)
	s.Await(t, two.Key(), "it is ready", stack.Ready)
	uid := func() string {
		u, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), "kept", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return string(u.GetUID())
	}
	before := uid()
	s.Live(t, one.Key(), s.Push(t, repo, map[string]string{"one/kept.yaml": ""}))
	s.Live(t, two.Key(), s.Push(t, repo, map[string]string{"two/kept.yaml": annotated("kept", "two", `plumb.dev/prune: disabled`)}))
	s.Data(t, ns, "kept", map[string]string{"value": "two"})
	if s.Owned(t, two.Key(), ns)["kept"] == nil || uid() != before {
		t.Error("it was not made over, but made anew")
	}
}
