package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// surfaces is everything that Plumb told anybody, by where.
type surfaces struct {
	mu   sync.Mutex
	told map[string]*strings.Builder
}

func (s *surfaces) add(where, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil {
		s.told = map[string]*strings.Builder{}
	}
	if s.told[where] == nil {
		s.told[where] = &strings.Builder{}
	}
	s.told[where].WriteString(text)
	s.told[where].WriteString("\n")
}

func (s *surfaces) text(where string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[where] == nil {
		return ""
	}
	return s.told[where].String()
}

// find says where which canary stands, with what stands around it.
func (s *surfaces) find(needles []needle) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for where, text := range s.told {
		for _, n := range needles {
			if form := n.found(text.String()); form != "" {
				at := strings.Index(text.String(), form)
				around := text.String()[max(0, at-500):min(text.Len(), at+len(form)+200)]
				found = append(found, fmt.Sprintf("%s: %s as %q: …%s…", where, n.name, form, around))
			}
		}
	}
	return found
}

// serve is a stand-in for a receiver of what Plumb sends, as alerts or spans.
func (s *surfaces) serve(t *testing.T, where string) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 16<<20))
		s.add(where, fmt.Sprint(r.Header)+"\n"+string(body))
		_, _ = io.WriteString(w, "ok")
	})
}

// overhear takes every message of NATS as it passes: requests are gone once they
// are served, and answers are stored nowhere.
func (s *surfaces) overhear(t *testing.T, url string) {
	t.Helper()
	connection, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	_, err = connection.Subscribe(">", func(m *nats.Msg) {
		if !strings.HasPrefix(m.Subject, "$JS.ACK.") {
			s.add("a message of NATS", m.Subject+" "+fmt.Sprint(m.Header)+" "+string(m.Data))
		}
	})
	if err == nil {
		err = connection.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// streams reads all that streams and buckets hold, old values of keys too.
func (s *surfaces) streams(t *testing.T, url string) {
	t.Helper()
	connection, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	js, err := jetstream.New(connection)
	if err != nil {
		t.Fatal(err)
	}
	all := js.ListStreams(t.Context())
	for info := range all.Info() {
		stream, err := js.Stream(t.Context(), info.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		for seq := info.State.FirstSeq; seq > 0 && seq <= info.State.LastSeq; seq++ {
			if m, err := stream.GetMsg(t.Context(), seq); err == nil { // else it was replaced
				s.add("the stream "+info.Config.Name, m.Subject+" "+fmt.Sprint(m.Header)+" "+string(m.Data))
			}
		}
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
}

// statuses follows what Plumb writes of its own into the cluster: every status that
// an Application ever had, and every Event.
func (s *surfaces) statuses(t *testing.T, st *stack.Stack, ns string) {
	t.Helper()
	s.follow(t, st, v1alpha1.GroupVersionResource, ns, "a status", func(u *unstructured.Unstructured) any {
		return map[string]any{"status": u.Object["status"], "annotations": u.GetAnnotations()}
	})
	events := schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}
	s.follow(t, st, events, ns, "an Event", func(u *unstructured.Unstructured) any { return u.Object })
}

func (s *surfaces) follow(t *testing.T, st *stack.Stack, what schema.GroupVersionResource, ns, where string, of func(*unstructured.Unstructured) any) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w, err := st.Objects.Resource(what).Namespace(ns).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	go func() {
		for e := range w.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok {
				text, _ := json.Marshal(of(u))
				s.add(where, string(text))
			}
		}
	}()
}

var adminLine = regexp.MustCompile(`"msg":"started".*"admin":"([^"]+)"`)

// metrics reads those of the worker, whose address stands in its log.
func (s *surfaces) metrics(t *testing.T, st *stack.Stack) {
	t.Helper()
	m := adminLine.FindSubmatch(st.WholeLog(t))
	if m == nil {
		t.Fatal("the worker has not logged where its metrics are")
	}
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+string(m[1])+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		s.add("the metrics", string(body))
	}
}
