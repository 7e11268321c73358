package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// open returns a catalog that does not run yet, and a namespace.
func open(t *testing.T) (*catalog.Catalog, *cluster.Client, string) {
	t.Helper()
	kube := kubetest.Start(t)
	c, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureCRD(t.Context(), v1alpha1.CRD()); err != nil {
		t.Fatal(err)
	}
	return catalog.New(c, catalog.Options{Service: "worker"}), c.As(cluster.Identity{}), kube.Namespace(t)
}

// run runs the catalog until the test ends.
func run(t *testing.T, c *catalog.Catalog) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the catalog ended with %v", err)
		}
	})
}

// apply applies a manifest; NS in it is the namespace.
func apply(t *testing.T, client *cluster.Client, namespace, manifest string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(manifest, "NS", namespace)), &u.Object); err != nil {
		t.Fatal(err)
	}
	live, err := client.Apply(t.Context(), object.New(u, "", 0), cluster.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return live.Unstructured
}

const web = `{apiVersion: plumb.dev/v1alpha1, kind: Application, metadata: {name: web, namespace: NS}, spec: {source: {repo: "https://github.com/acme/config"}}}`

// seen is what a subscriber was told.
type seen struct {
	mu    sync.Mutex
	told  []string
	moved chan struct{}
}

func (s *seen) see(old, new *v1alpha1.Application) {
	s.mu.Lock()
	defer s.mu.Unlock()
	show := func(a *v1alpha1.Application) string {
		if a == nil {
			return "-"
		}
		if a.ManagedFields != nil {
			return "managed fields are kept"
		}
		return fmt.Sprintf("%s@%s/%s", a.Name, a.Spec.Source.Ref, a.Status.Revision)
	}
	if (old != nil && old.Name == "web") || (new != nil && new.Name == "web") {
		s.told = append(s.told, show(old)+" > "+show(new))
		close(s.moved)
		s.moved = make(chan struct{})
	}
}

func (s *seen) await(t *testing.T, want ...string) {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		s.mu.Lock()
		diff, moved := cmp.Diff(want, s.told), s.moved
		s.mu.Unlock()
		if diff == "" {
			return
		}
		select {
		case <-moved:
		case <-limit:
			t.Fatalf("the subscriber was told (-want +got):\n%s", diff)
		}
	}
}

func TestCatalogFollowsTheCluster(t *testing.T) {
	c, client, namespace := open(t)
	key := app.Key{Namespace: namespace, Name: "web"}
	subscriber := &seen{moved: make(chan struct{})}
	c.Subscribe(func(old, new *v1alpha1.Application) {
		if (old == nil || old.Namespace == namespace) && (new == nil || new.Namespace == namespace) {
			subscriber.see(old, new)
		}
	})
	run(t, c)
	<-c.Synced()
	if a, ok := c.Get(key); ok {
		t.Fatalf("there is %v already", a)
	}

	apply(t, client, namespace, web)
	subscriber.await(t, "- > web@/")
	apply(t, client, namespace, strings.Replace(web, `config"`, `config", ref: main`, 1))
	subscriber.await(t, "- > web@/", "web@/ > web@main/")
	a, ok := c.Get(key)
	if !ok {
		t.Fatal("it is not in the catalog")
	}
	next := a.DeepCopy()
	next.Status.Revision = "abc"
	if _, err := c.WriteStatus(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	subscriber.await(t, "- > web@/", "web@/ > web@main/", "web@main/ > web@main/abc")
	if !slices.ContainsFunc(c.All(), func(a *v1alpha1.Application) bool { return a.Key() == key }) {
		t.Error("All leaves it out")
	}

	kubetest.Start(t).Restart(t)
	if err := client.Delete(t.Context(), object.ID{Group: "plumb.dev", Kind: "Application", Namespace: namespace, Name: "web"}, "v1alpha1", cluster.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	subscriber.await(t, "- > web@/", "web@/ > web@main/", "web@main/ > web@main/abc", "web@main/abc > -")
	if _, ok := c.Get(key); ok {
		t.Error("it is still in the catalog")
	}
}

func TestCatalogWaitsForTheCRD(t *testing.T) {
	kube := kubetest.Own(t)
	cl, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	c := catalog.New(cl, catalog.Options{})
	run(t, c)
	if err := cl.EnsureCRD(t.Context(), v1alpha1.CRD()); err != nil {
		t.Fatal(err)
	}
	<-c.Synced()
}

func TestWritesThatLoseARace(t *testing.T) {
	c, client, namespace := open(t)
	key := app.Key{Namespace: namespace, Name: "web"}
	apply(t, client, namespace, web)
	read := func() *v1alpha1.Application {
		a, err := c.Read(t.Context(), key)
		if err != nil || a == nil {
			t.Fatalf("read: %v, %v", a, err)
		}
		return a
	}
	stale := read()
	if _, err := c.Annotate(t.Context(), key, v1alpha1.SyncAnnotation, "1"); err != nil {
		t.Fatal(err)
	}
	if got := read().Annotations[v1alpha1.SyncAnnotation]; got != "1" {
		t.Errorf("the annotation is %q", got)
	}
	writes := map[string]func(a *v1alpha1.Application) (*v1alpha1.Application, error){
		"status":             func(a *v1alpha1.Application) (*v1alpha1.Application, error) { return c.WriteStatus(t.Context(), a) },
		"adding a finalizer": func(a *v1alpha1.Application) (*v1alpha1.Application, error) { return c.AddFinalizer(t.Context(), a) },
		"a first claim": func(a *v1alpha1.Application) (*v1alpha1.Application, error) {
			return c.ClaimFirst(t.Context(), a, "{}")
		},
	}
	for what, write := range writes {
		t.Run(what, func(t *testing.T) {
			_, err := write(stale)
			if class, _ := fault.ClassOf(err); !errors.Is(err, catalog.ErrConflict) || class != fault.Transient {
				t.Errorf("a stale write: %v (%s)", err, class)
			}
			if a, err := write(read()); err != nil || a.ResourceVersion != read().ResourceVersion {
				t.Errorf("a fresh write: %v", err)
			}
		})
	}
	t.Run("removing a finalizer", func(t *testing.T) {
		before := read()
		if _, err := c.Annotate(t.Context(), key, v1alpha1.SyncAnnotation, "2"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.RemoveFinalizer(t.Context(), before); !errors.Is(err, catalog.ErrConflict) {
			t.Errorf("a stale write: %v", err)
		}
		a, err := c.RemoveFinalizer(t.Context(), read())
		if err != nil || len(a.Finalizers) != 0 {
			t.Errorf("a fresh write: %v, %v", a, err)
		}
	})
	t.Run("of what is gone", func(t *testing.T) {
		with, err := c.AddFinalizer(t.Context(), read())
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Delete(t.Context(), object.ID{Group: "plumb.dev", Kind: "Application", Namespace: namespace, Name: "web"}, "v1alpha1", cluster.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		going := read()
		if going.DeletionTimestamp == nil {
			t.Fatal("the finalizer does not keep it")
		}
		if _, err := c.RemoveFinalizer(t.Context(), going); err != nil {
			t.Fatal(err)
		}
		if a, err := c.Read(t.Context(), key); a != nil || err != nil {
			t.Errorf("read: %v, %v", a, err)
		}
		if a, err := c.RemoveFinalizer(t.Context(), with); a != nil || err != nil {
			t.Errorf("remove again: %v, %v", a, err)
		}
	})
}

func TestWriteStatusTouchesNothingElse(t *testing.T) {
	c, client, namespace := open(t)
	apply(t, client, namespace, web)
	a, err := c.Read(t.Context(), app.Key{Namespace: namespace, Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	changed := a.DeepCopy()
	changed.Spec.Source.Ref = "other"
	changed.Labels = map[string]string{"x": "y"}
	changed.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Succeeded", LastTransitionTime: metav1.Now()}}
	written, err := c.WriteStatus(t.Context(), changed)
	if err != nil {
		t.Fatal(err)
	}
	if written.Spec.Source.Ref != "" || written.Labels != nil || len(written.Status.Conditions) != 1 || written.Generation != a.Generation {
		t.Errorf("written: %+v", written)
	}
}

func TestEvents(t *testing.T) {
	c, client, namespace := open(t)
	run(t, c)
	apply(t, client, namespace, web)
	a, err := c.Read(t.Context(), app.Key{Namespace: namespace, Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.Record(a, corev1.EventTypeWarning, "ApplyFailed", "the same "+strings.Repeat("long ", 500))
	}
	c.Record(a, corev1.EventTypeNormal, "Succeeded", "applied abc")
	deadline := time.Now().Add(30 * time.Second)
	for {
		list, err := kubetest.Start(t).Clientset(t).EventsV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int32{}
		for _, e := range list.Items {
			if e.Regarding.UID != a.UID || e.ReportingController != "plumb.dev/worker" {
				t.Errorf("event %+v", e)
			}
			got[e.Type+" "+e.Reason] = 1
			if e.Series != nil {
				got[e.Type+" "+e.Reason] = e.Series.Count
			}
		}
		diff := cmp.Diff(map[string]int32{"Warning ApplyFailed": 3, "Normal Succeeded": 1}, got)
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("events and their counts (-want +got):\n%s", diff)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestRecordNeverWaits: nobody runs the catalog, so that nothing is written.
func TestRecordNeverWaits(t *testing.T) {
	c, _, namespace := open(t)
	a := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"}}
	for i := range 10_000 {
		c.Record(a, corev1.EventTypeNormal, "Succeeded", fmt.Sprint(i))
	}
}
