package cluster_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestDelete(t *testing.T) {
	kube := kubetest.Start(t)
	c, _ := own(t)
	namespace := kube.Namespace(t)
	id := object.ID{Kind: "ConfigMap", Namespace: namespace, Name: "settings"}
	make := func(t *testing.T) *unstructured.Unstructured {
		return apply(t, c, in(namespace, manifests(t, configMap)[0]))
	}
	t.Run("another uid", func(t *testing.T) {
		make(t)
		if err := c.Delete(t.Context(), id, "v1", cluster.DeleteOptions{UID: "00000000-0000-0000-0000-000000000000"}); !errors.Is(err, cluster.ErrChanged) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another resourceVersion", func(t *testing.T) {
		live := make(t)
		if err := c.Delete(t.Context(), id, "v1", cluster.DeleteOptions{UID: live.GetUID(), ResourceVersion: "1"}); !errors.Is(err, cluster.ErrChanged) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("as it was read", func(t *testing.T) {
		live := make(t)
		if err := c.Delete(t.Context(), id, "v1", cluster.DeleteOptions{UID: live.GetUID(), ResourceVersion: live.GetResourceVersion()}); err != nil {
			t.Error(err)
		}
		if live, err := c.Get(t.Context(), id, "v1"); live != nil || err != nil {
			t.Errorf("after the delete: %v, %v", live, err)
		}
	})
	t.Run("absent", func(t *testing.T) {
		if err := c.Delete(t.Context(), id, "v1", cluster.DeleteOptions{UID: "x", ResourceVersion: "1"}); err != nil {
			t.Error(err)
		}
	})
	t.Run("of a kind that is gone", func(t *testing.T) {
		if err := c.Delete(t.Context(), object.ID{Group: "example.com", Kind: "Widget", Name: "a"}, "v1", cluster.DeleteOptions{UID: "x", ResourceVersion: "1"}); err != nil {
			t.Error(err)
		}
	})
}

// TestPropagation reads from the object itself how it is deleted: the API server
// adds a finalizer for the dependents.
func TestPropagation(t *testing.T) {
	kube := kubetest.Start(t)
	c, _ := own(t)
	tests := map[string]struct {
		propagation v1alpha1.Propagation
		finalizers  string
	}{
		"by default, in the background": {"", "example.com/hold"},
		"in the background":             {v1alpha1.PropagationBackground, "example.com/hold"},
		"in the foreground":             {v1alpha1.PropagationForeground, "example.com/hold foregroundDeletion"},
		"leaving dependents":            {v1alpha1.PropagationOrphan, "example.com/hold orphan"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			held := apply(t, c, in(kube.Namespace(t), manifests(t, configMap)[0]).With(func(u *unstructured.Unstructured) {
				u.SetFinalizers([]string{"example.com/hold"})
			}))
			deleted := firstDeleted(t, c, held)
			if err := c.Delete(t.Context(), object.IDOf(held), "v1", cluster.DeleteOptions{UID: held.GetUID(), Propagation: tt.propagation}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join((<-deleted).GetFinalizers(), " "); got != tt.finalizers {
				t.Errorf("finalizers %q, want %q", got, tt.finalizers)
			}
			release(t, c, held)
		})
	}
	t.Run("in a way that does not exist", func(t *testing.T) {
		err := c.Delete(t.Context(), object.ID{Kind: "ConfigMap", Namespace: "a", Name: "b"}, "v1", cluster.DeleteOptions{Propagation: "sideways"})
		if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
			t.Errorf("got %v", err)
		}
	})
}

// firstDeleted gives the object as it is the moment its deletion begins, before
// the garbage collector has done anything about it.
func firstDeleted(t *testing.T, c *cluster.Client, u *unstructured.Unstructured) <-chan *unstructured.Unstructured {
	t.Helper()
	begun, found := make(chan struct{}), make(chan *unstructured.Unstructured, 1)
	var once sync.Once
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		_ = c.Watch(ctx, cluster.Selection{GroupVersionKind: u.GroupVersionKind(), Namespace: u.GetNamespace(), Name: u.GetName()}, func(e cluster.WatchEvent) {
			switch {
			case e.Type == watch.Bookmark:
				once.Do(func() { close(begun) })
			case e.Object.GetDeletionTimestamp() != nil:
				found <- e.Object
				cancel()
			}
		})
	}()
	<-begun
	return found
}

func release(t *testing.T, c *cluster.Client, u *unstructured.Unstructured) {
	t.Helper()
	patch := map[string]any{"metadata": map[string]any{"finalizers": nil}}
	if err := c.MergePatch(t.Context(), object.IDOf(u), u.GroupVersionKind().Version, patch, nil); err != nil {
		t.Fatal(err)
	}
}

func TestGone(t *testing.T) {
	kube := kubetest.Start(t)
	c, _ := own(t)
	held := apply(t, c, in(kube.Namespace(t), manifests(t, configMap)[0]).With(func(u *unstructured.Unstructured) {
		u.SetFinalizers([]string{"example.com/hold"})
	}))
	id := object.IDOf(held)
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if err := c.Gone(soon(), id, held.GetUID()); err == nil || !strings.Contains(err.Error(), "not being deleted") {
		t.Errorf("of an object nobody deletes: %v", err)
	}
	if err := c.Gone(soon(), id, "another"); err != nil {
		t.Errorf("of an object whose name another has taken: %v", err)
	}
	if err := c.Delete(t.Context(), id, "v1", cluster.DeleteOptions{UID: held.GetUID()}); err != nil {
		t.Fatal(err)
	}
	if err := c.Gone(soon(), id, held.GetUID()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "example.com/hold") {
		t.Errorf("of an object that a finalizer holds: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- c.Gone(t.Context(), id, held.GetUID()) }()
	release(t, c, held)
	if err := <-waited; err != nil {
		t.Errorf("of an object that was let go: %v", err)
	}
	if err := c.Gone(t.Context(), object.ID{Group: "example.com", Kind: "Widget", Name: "a"}, "x"); err != nil {
		t.Errorf("of a kind that is gone: %v", err)
	}
}
