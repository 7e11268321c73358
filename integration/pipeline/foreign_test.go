package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// The API server takes any inventory and history. One that Plumb did not write stops its
// Application, touches none of its objects, and stops no other.
func TestAnInventoryThatPlumbDidNotWrite(t *testing.T) {
	cases := map[string]string{
		"a number":                     `7`,
		"an entry whose id is no text": `{"entries":[{"id":7,"version":"v1"}]}`,
		"entries that are no list":     `{"entries":"none"}`,
	}
	s := stack.New(t)
	for name, inventory := range cases {
		t.Run(name, func(t *testing.T) {
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "foreign/"+ns, map[string]string{
				"hurt/kept.yaml": stack.ConfigMap("kept", "one"), "hurt/gone.yaml": stack.ConfigMap("gone", "one"),
				"sound/web.yaml": stack.ConfigMap("web", "one"),
			})
			hurt, sound := stack.Application(ns, "hurt", repo, "hurt"), stack.Application(ns, "sound", repo, "sound")
			stop := s.Work(t)
			for _, a := range []*v1alpha1.Application{hurt, sound} {
				s.Create(t, a)
				t.Cleanup(func() { s.Forget(a.Key()) })
				s.Live(t, a.Key(), head(t, s, a.Key()))
			}
			stop()
			patchStatus(t, s, hurt.Key(), `{"status":{"history":"none","inventory":`+inventory+`}}`)
			s.Work(t)
			sha := s.Push(t, repo, map[string]string{
				"hurt/kept.yaml": stack.ConfigMap("kept", "two"), "hurt/gone.yaml": "", "sound/web.yaml": stack.ConfigMap("web", "two"),
			})
			s.Live(t, sound.Key(), sha)
			failed := s.Failed(t, hurt.Key(), "PruneBlocked")
			if left := failed.Status.Inventory; left == nil || string(left.Foreign) != inventory {
				t.Errorf("the inventory is %+v afterwards, and was %s", left, inventory)
			}
			untouched := map[string]map[string]string{"kept": {"value": "one"}, "gone": {"value": "one"}}
			if diff := cmp.Diff(untouched, s.Owned(t, hurt.Key(), ns)); diff != "" {
				t.Errorf("owned (-want +got):\n%s", diff)
			}
			// As the message says: without it, what Git declares is adopted.
			patchStatus(t, s, hurt.Key(), `{"status":{"inventory":null}}`)
			s.Patch(t, hurt.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"mended"}}}`)
			s.Live(t, hurt.Key(), sha)
			adopted := map[string]map[string]string{"kept": {"value": "two"}, "gone": {"value": "one"}}
			if diff := cmp.Diff(adopted, s.Owned(t, hurt.Key(), ns)); diff != "" {
				t.Errorf("owned after the inventory was removed (-want +got):\n%s", diff)
			}
		})
	}
}

func patchStatus(t *testing.T, s *stack.Stack, key app.Key, patch string) {
	t.Helper()
	_, err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(key.Namespace).
		Patch(t.Context(), key.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
}
