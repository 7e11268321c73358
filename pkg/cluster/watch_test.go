package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

var configMaps = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}

// mirror is what a watch has told: the data of each object by name.
type mirror struct {
	mu    sync.Mutex
	state map[string]string
	log   []string
	moved chan struct{}
}

func newMirror() *mirror { return &mirror{state: map[string]string{}, moved: make(chan struct{})} }

func (m *mirror) see(e cluster.WatchEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.moved)
	m.moved = make(chan struct{})
	if e.Type == watch.Bookmark {
		m.log = append(m.log, "BEGUN")
		return
	}
	m.log = append(m.log, string(e.Type)+" "+e.Object.GetName())
	value, _, _ := unstructured.NestedString(e.Object.Object, "data", "a")
	m.state[e.Object.GetName()] = value
	if e.Type == watch.Deleted {
		delete(m.state, e.Object.GetName())
	}
}

// reaches waits until the mirror shows the state.
func (m *mirror) reaches(t *testing.T, want map[string]string) {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		m.mu.Lock()
		diff, moved, log := cmp.Diff(want, m.state), m.moved, m.log
		m.mu.Unlock()
		if diff == "" {
			return
		}
		select {
		case <-moved:
		case <-limit:
			t.Fatalf("the watch does not show the state (-want +got):\n%s\nit told %q", diff, log)
		}
	}
}

func (m *mirror) told() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	log := m.log
	m.log = nil
	return log
}

// watched starts a watch of a namespace's ConfigMaps that ends with the test.
func watched(t *testing.T, c *cluster.Client, namespace string) *mirror {
	t.Helper()
	m := newMirror()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, cluster.Selection{GroupVersionKind: configMaps, Namespace: namespace, Labels: "mine"}, m.see)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the watch ended with %v", err)
		}
	})
	return m
}

func put(t *testing.T, kube *kubetest.Kube, namespace, name, value string) {
	t.Helper()
	maps := kube.Clientset(t).CoreV1().ConfigMaps(namespace)
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"mine": ""}}, Data: map[string]string{"a": value}}
	if _, err := maps.Update(t.Context(), o, metav1.UpdateOptions{}); err == nil {
		return
	}
	if _, err := maps.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func drop(t *testing.T, kube *kubetest.Kube, namespace, name string) {
	t.Helper()
	if err := kube.Clientset(t).CoreV1().ConfigMaps(namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	kube := kubetest.Start(t)
	c, _ := own(t)
	namespace := kube.Namespace(t)
	put(t, kube, namespace, "old", "1")
	m := watched(t, c, namespace)
	m.reaches(t, map[string]string{"old": "1"})
	put(t, kube, namespace, "new", "1")
	m.reaches(t, map[string]string{"old": "1", "new": "1"})
	put(t, kube, namespace, "new", "2")
	m.reaches(t, map[string]string{"old": "1", "new": "2"})
	drop(t, kube, namespace, "old")
	m.reaches(t, map[string]string{"new": "2"})
	want := []string{"ADDED old", "BEGUN", "ADDED new", "MODIFIED new", "DELETED old"}
	if diff := cmp.Diff(want, m.told()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestWatchSurvivesARestartOfTheAPIServer(t *testing.T) {
	kube := kubetest.Start(t)
	g := through(t)
	throughGate := open(t, g.kubeconfig).As(cluster.Identity{})
	c, _ := own(t)
	namespace := kube.Namespace(t)
	put(t, kube, namespace, "stays", "1")
	put(t, kube, namespace, "goes", "1")
	direct, gated := watched(t, c, namespace), watched(t, throughGate, namespace)
	direct.reaches(t, map[string]string{"stays": "1", "goes": "1"})
	gated.reaches(t, map[string]string{"stays": "1", "goes": "1"})

	// One of the two must not come back before everything has happened.
	g.interfere(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
	kube.Restart(t)
	put(t, kube, namespace, "stays", "2")
	drop(t, kube, namespace, "goes")
	put(t, kube, namespace, "comes", "1")
	g.interfere(nil)

	direct.reaches(t, map[string]string{"stays": "2", "comes": "1"})
	gated.reaches(t, map[string]string{"stays": "2", "comes": "1"})
}

// TestWatchBeginsAnew: the server does not know the position any more, so that
// what was deleted meanwhile shows only by its absence.
func TestWatchBeginsAnew(t *testing.T) {
	expired := `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Expired","code":410}`
	cases := map[string]func(w http.ResponseWriter){
		"410 as an answer": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, expired)
		},
		"410 inside the stream": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"type":"ERROR","object":%s}`, expired)
		},
	}
	for sentence, refuse := range cases {
		t.Run(sentence, func(t *testing.T) {
			kube := kubetest.Start(t)
			g := through(t)
			c := open(t, g.kubeconfig).As(cluster.Identity{})
			namespace := kube.Namespace(t)
			put(t, kube, namespace, "stays", "1")
			put(t, kube, namespace, "goes", "1")

			i := interruption{cut: make(chan struct{}), changed: make(chan struct{}), refuse: refuse}
			g.interfere(i.meet)
			m := watched(t, c, namespace)
			m.reaches(t, map[string]string{"stays": "1", "goes": "1"})
			close(i.cut)
			put(t, kube, namespace, "stays", "2")
			drop(t, kube, namespace, "goes")
			close(i.changed)
			m.reaches(t, map[string]string{"stays": "2"})
			// BEGUN follows, perhaps a moment later.
			told := strings.TrimSuffix(strings.Join(m.told(), ", "), ", BEGUN")
			if !strings.HasSuffix(told, "MODIFIED stays, DELETED goes") {
				t.Errorf("told %s", told)
			}
		})
	}
}

// interruption lets a first stream pass until it is cut, holds the next ones
// back until changed, and refuses the first that asks to resume.
type interruption struct {
	cut, changed   chan struct{}
	refuse         func(http.ResponseWriter)
	passed, denied sync.Once
}

func (i *interruption) meet(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Query().Get("watch") == "" {
		return false
	}
	first := false
	i.passed.Do(func() { first = true })
	if first {
		ctx, cancel := context.WithCancel(r.Context())
		*r = *r.WithContext(ctx)
		go func() { <-i.cut; cancel() }()
		return false
	}
	<-i.changed
	refused := false
	if r.URL.Query().Get("resourceVersion") != "" {
		i.denied.Do(func() { i.refuse(w); refused = true })
	}
	return refused
}

// TestWatchWithoutStreamingList: servers that lack it refuse its parameter.
func TestWatchWithoutStreamingList(t *testing.T) {
	kube := kubetest.Start(t)
	g := through(t)
	c := open(t, g.kubeconfig).As(cluster.Identity{})
	namespace := kube.Namespace(t)
	put(t, kube, namespace, "old", "1")
	g.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("sendInitialEvents") == "" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Invalid","code":422,"message":"sendInitialEvents is forbidden"}`)
		return true
	})
	m := watched(t, c, namespace)
	m.reaches(t, map[string]string{"old": "1"})
	put(t, kube, namespace, "new", "1")
	m.reaches(t, map[string]string{"old": "1", "new": "1"})
	if diff := cmp.Diff([]string{"ADDED old", "BEGUN", "ADDED new"}, m.told()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestWatchReturnsWhatIsRefusedForGood(t *testing.T) {
	c, _ := own(t)
	kind := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Nothing"}
	err := c.Watch(t.Context(), cluster.Selection{GroupVersionKind: kind}, func(cluster.WatchEvent) {})
	if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
		t.Errorf("got %v", err)
	}
}

func TestUntil(t *testing.T) {
	kube := kubetest.Start(t)
	c, _ := own(t)
	namespace := kube.Namespace(t)
	id := func(name string) object.ID {
		return object.ID{Kind: "ConfigMap", Namespace: namespace, Name: name}
	}
	is := func(want string) cluster.Condition {
		return func(_ object.ID, u *unstructured.Unstructured) (bool, error) {
			if u == nil {
				return false, nil
			}
			got, _, _ := unstructured.NestedString(u.Object, "data", "a")
			return got == want, nil
		}
	}
	t.Run("all of several, one of which comes later", func(t *testing.T) {
		put(t, kube, namespace, "a", "ready")
		put(t, kube, namespace, "b", "no")
		asked := make(chan struct{}, 10)
		ended := make(chan error)
		go func() {
			ended <- c.Until(t.Context(), []object.ID{id("a"), id("b"), {Kind: "Namespace", Name: namespace}},
				func(o object.ID, u *unstructured.Unstructured) (bool, error) {
					asked <- struct{}{}
					if o.Kind == "Namespace" {
						return true, nil
					}
					return is("ready")(o, u)
				})
		}()
		for range 3 {
			<-asked
		}
		put(t, kube, namespace, "b", "ready")
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("absence is a state", func(t *testing.T) {
		err := c.Until(t.Context(), []object.ID{id("never")}, func(_ object.ID, u *unstructured.Unstructured) (bool, error) {
			return u == nil, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("an end names what is awaited", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err := c.Until(ctx, []object.ID{id("never"), id("a")}, is("ready"))
		if want := "wait for ConfigMap " + namespace + "/never: context deadline exceeded"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
	t.Run("an error of the condition ends the wait", func(t *testing.T) {
		err := c.Until(t.Context(), []object.ID{id("a")}, func(object.ID, *unstructured.Unstructured) (bool, error) {
			return false, fmt.Errorf("enough")
		})
		if err == nil || err.Error() != "enough" {
			t.Errorf("got %v", err)
		}
	})
}
