package pipeline

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// The API server's cache is behind, for a worker's watches and for its first look at an
// Application alike. Nothing is decided by what is old: no request is lost.
func TestAnAPIServerWhoseCacheStandsStill(t *testing.T) {
	cases := map[string]struct {
		spec    string // to begin with
		changed string // patch that the cache does not show
		want    string // value of the ConfigMap in the end
	}{
		"it shows a spec by which nothing is to be done": {changed: `{"spec":{"source":{"path":"two"}}}`, want: "two"},
		"it shows a suspension that is over":             {spec: `{"spec":{"suspend":true,"source":{"path":"two"}}}`, changed: `{"spec":{"suspend":false}}`, want: "two"},
		"it shows a spec by which something is to be done": {
			spec: `{"spec":{"suspend":true,"source":{"path":"three"}}}`, changed: `{"spec":{"suspend":false,"source":{"path":"two"}}}`, want: "two",
		},
	}
	for sentence, c := range cases {
		t.Run(sentence, func(t *testing.T) {
			s := stack.New(t)
			server := stand(t, s)
			s.Work(t, func(c *config.Config) { c.Kubernetes.Kubeconfig = server.kubeconfig })
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "stale/"+ns, map[string]string{
				"one/cm.yaml": stack.ConfigMap("shared", "one"), "two/cm.yaml": stack.ConfigMap("shared", "two"), "three/cm.yaml": stack.ConfigMap("shared", "three"),
			})
			a := stack.Application(ns, "one", repo, "one")
			key := a.Key()
			t.Cleanup(func() { s.Forget(key) })
			s.Create(t, a)
			s.Live(t, key, head(t, s, key))
			if c.spec != "" {
				s.Patch(t, key, c.spec)
				s.Failed(t, key, "Suspended")
			}
			server.freeze(t, key)
			defer server.thaw()
			s.Patch(t, key, c.changed)
			request := &eventsv1.SyncRequested{Cluster: s.Cluster, Namespace: ns, Name: key.Name, Reason: event.ReasonPush}
			asked := event.Event{ID: "asked/" + ns, Source: "/test", Type: event.SyncRequested, Subject: event.SubjectOf(request), Time: time.Now(), Data: request}
			if _, err := s.Bus.Publish(t.Context(), asked, asked.ID); err != nil {
				t.Fatal(err)
			}
			s.Data(t, ns, "shared", map[string]string{"value": c.want})
		})
	}
}

// standing is a proxy before the API server that can show Applications as they were.
type standing struct {
	kubeconfig string
	host       string // URL of the API server
	client     *http.Client

	mu     sync.Mutex
	frozen map[string][]byte // by the path
	still  chan struct{}     // open while frozen
}

func stand(t *testing.T, s *stack.Stack) *standing {
	t.Helper()
	config := s.Kube.Config(t)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	p := &standing{host: config.Host, client: client}
	p.kubeconfig = s.Kube.Proxy(t, p.meet, p.slow)
	return p
}

// meet answers what may be answered from the cache.
func (p *standing) meet(w http.ResponseWriter, r *http.Request) bool {
	old := p.old(r)
	if old == nil {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(old) // who asked may be gone
	return true
}

// freeze has the cache show an Application as it is now.
func (p *standing) freeze(t *testing.T, key app.Key) {
	t.Helper()
	path := "/apis/plumb.dev/v1alpha1/namespaces/" + key.Namespace + "/applications/" + key.Name
	resp, err := p.client.Get(p.host + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen, p.still = map[string][]byte{path: body}, make(chan struct{})
}

func (p *standing) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen = nil; p.still != nil {
		close(p.still)
		p.still = nil
	}
}

// old is what the cache shows to a request that may be answered from it.
func (p *standing) old(r *http.Request) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Method != http.MethodGet || r.URL.Query().Get("resourceVersion") != "0" {
		return nil
	}
	return p.frozen[r.URL.Path]
}

// slow holds the watches of Applications while the cache stands still.
func (p *standing) slow(resp *http.Response) error {
	if strings.HasSuffix(resp.Request.URL.Path, "/applications") && resp.Request.URL.Query().Get("watch") != "" {
		resp.Body = &heldStream{ReadCloser: resp.Body, ctx: resp.Request.Context(), p: p}
	}
	return nil
}

// heldStream is the stream of a watch.
type heldStream struct {
	io.ReadCloser
	ctx context.Context
	p   *standing
}

func (h *heldStream) Read(b []byte) (int, error) {
	n, err := h.ReadCloser.Read(b)
	h.p.mu.Lock()
	still := h.p.still
	h.p.mu.Unlock()
	if still != nil {
		select {
		case <-still:
		case <-h.ctx.Done():
			return 0, h.ctx.Err()
		}
	}
	return n, err
}
