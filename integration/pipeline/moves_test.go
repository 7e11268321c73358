package pipeline

import (
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
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

// Of two Applications that begin to render an object with the same commit, the one
// whose mark it bears is Ready, and the other says so.
func TestOneObjectIsMadeByTwo(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Scan(t, time.Hour)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"one/cm.yaml": stack.ConfigMap("one", "o"), "two/cm.yaml": stack.ConfigMap("two", "t")})
	keys := []app.Key{{Namespace: ns, Name: "one"}, {Namespace: ns, Name: "two"}}
	for _, key := range keys {
		s.Create(t, stack.Application(ns, key.Name, repo, key.Name))
		s.Await(t, key, "it is ready", stack.Ready)
	}
	for n := range 5 { // the two do not meet each time
		name := fmt.Sprintf("both%d", n)
		s.Push(t, repo, map[string]string{"one/both.yaml": stack.ConfigMap(name, "x"), "two/both.yaml": stack.ConfigMap(name, "x")})
		s.Eventually(t, name+" is of one, and the other says so", func() error {
			var wrong []error
			for _, key := range keys {
				a, owns := s.Get(t, key), s.Owned(t, key, ns)[name] != nil
				ready := stack.Condition(a, v1alpha1.ConditionReady)
				if owns != (ready.Status == metav1.ConditionTrue) || !owns && ready.Reason != "OwnershipConflict" {
					wrong = append(wrong, fmt.Errorf("%s owns it: %v; %s", key, owns, ready.Message))
				}
			}
			return errors.Join(wrong...)
		})
		s.Push(t, repo, map[string]string{"one/both.yaml": "", "two/both.yaml": ""})
		for _, key := range keys {
			s.Await(t, key, "it is ready again", stack.Ready)
		}
	}
}
