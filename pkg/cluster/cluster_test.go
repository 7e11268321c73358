package cluster_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

func open(t *testing.T, kubeconfig string) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Open(cluster.Options{Kubeconfig: kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// own is the administrator's client.
func own(t *testing.T) (*cluster.Client, *cluster.Cluster) {
	t.Helper()
	c := open(t, kubetest.Start(t).Kubeconfig())
	return c.As(cluster.Identity{}), c
}

// manifests are objects of YAML documents.
func manifests(t *testing.T, text string) []object.Object {
	t.Helper()
	var out []object.Object
	for in := utilyaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(text), 4096); ; {
		u := &unstructured.Unstructured{}
		err := in.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("manifest of the test: %v", err)
		}
		if u.Object != nil {
			out = append(out, object.New(u, "a.yaml", 1))
		}
	}
}

// in puts an object into a namespace.
func in(namespace string, o object.Object) object.Object {
	return o.With(func(u *unstructured.Unstructured) { u.SetNamespace(namespace) })
}

func applyAll(t *testing.T, c *cluster.Client, text string) {
	t.Helper()
	for _, o := range manifests(t, text) {
		if _, err := c.Apply(t.Context(), o, cluster.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// gate is a proxy before the API server that a test can interfere with.
type gate struct {
	kubeconfig string

	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request) bool // true: answered
	seen   []string
}

// through opens a gate to the control plane.
func through(t *testing.T) *gate {
	t.Helper()
	g := &gate{}
	g.kubeconfig = kubetest.Start(t).Proxy(t, g.meet, nil)
	return g
}

func (g *gate) meet(w http.ResponseWriter, r *http.Request) bool {
	g.mu.Lock()
	g.seen = append(g.seen, r.Method+" "+r.URL.RequestURI())
	answer := g.answer
	g.mu.Unlock()
	return answer != nil && answer(w, r)
}

// interfere answers requests instead of the API server where answer says true.
func (g *gate) interfere(answer func(w http.ResponseWriter, r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = answer
}

// requests are those seen since the last call.
func (g *gate) requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := g.seen
	g.seen = nil
	return seen
}
