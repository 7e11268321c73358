package cluster_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

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
	config := kubetest.Start(t).Config(t)
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // what is cut on purpose
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	g := &gate{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.meet(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	write := clientcmdapi.NewConfig()
	write.Clusters["gate"] = &clientcmdapi.Cluster{Server: server.URL}
	write.Contexts["gate"] = &clientcmdapi.Context{Cluster: "gate"}
	write.CurrentContext = "gate"
	if err := clientcmd.WriteToFile(*write, g.kubeconfig); err != nil {
		t.Fatal(err)
	}
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
