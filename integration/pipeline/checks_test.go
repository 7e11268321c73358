package pipeline

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
)

// checkHost is a Git host in front of the Git server: it serves GitHub's API of
// commit statuses as GitHub Enterprise does, and strictly.
type checkHost struct {
	mu     sync.Mutex
	states map[string]string // by commit and context
	away   bool
	URL    string
}

const checkToken = "a-token-of-the-checks"

func newCheckHost(t *testing.T, repo *gitserver.Repo) *checkHost {
	t.Helper()
	u, err := url.Parse(repo.URL())
	if err != nil {
		t.Fatal(err)
	}
	h := &checkHost{states: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v3/repos/{owner}/{name}/commits/{sha}/{kind}", h.api)
	git := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: u.Scheme, Host: u.Host})
	}}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if h.isAway() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		git.ServeHTTP(w, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	h.URL = server.URL + u.Path
	return h
}

func (h *checkHost) api(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+checkToken {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	statuses := []map[string]string{}
	for key, state := range h.states {
		if sha, context, _ := strings.Cut(key, " "); sha == r.PathValue("sha") {
			statuses = append(statuses, map[string]string{"context": context, "state": state})
		}
	}
	answer := map[string]any{"statuses": statuses}
	if r.PathValue("kind") == "check-runs" {
		answer = map[string]any{"total_count": 0, "check_runs": []any{}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (h *checkHost) set(sha, context, state string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.states[sha+" "+context] = state
}

func (h *checkHost) setAway(away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = away
}

func (h *checkHost) isAway() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.away
}

// A revision waits for its required checks; what is applied is healed meanwhile, at
// the revision that it is; a newer revision takes over at once.
func TestARevisionWaitsForItsChecks(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Scan(t, time.Minute)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/checks-"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one"), "app/b.yaml": stack.ConfigMap("b", "one")})
	host := newCheckHost(t, repo)
	first := headOf(t, repo)
	host.set(first, "ci/build", "success")
	makeSecret(t, s, ns, "checks", map[string]string{"token": checkToken})
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Source.Repo = host.URL
	a.Spec.Sync.Checks = &v1alpha1.RequiredChecks{Required: []string{"ci/build"}, Provider: "github", SecretRef: &v1alpha1.LocalReference{Name: "checks"}}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	s.Live(t, a.Key(), first)

	second := s.PushSilently(t, repo, map[string]string{"app/a.yaml": stack.ConfigMap("a", "two")})
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"look"}}}`)
	waiting := held(t, s, a.Key(), "ChecksPending", second)
	if m := waiting.Status.Waiting.Message; !strings.Contains(m, "ci/build (never reported)") {
		t.Errorf("message %q", m)
	}
	s.PatchObject(t, stack.ConfigMaps, ns, "b", `{"data":{"value":"drifted"}}`)
	s.Data(t, ns, "b", map[string]string{"value": "one"})
	if got := data(t, s, ns, "a"); got != "one" {
		t.Fatalf("the heal applied what waits: %q", got)
	}
	still := held(t, s, a.Key(), "ChecksPending", second)
	if still.Status.Revision != first || still.Status.Waiting.Since != waiting.Status.Waiting.Since {
		t.Errorf("status %+v", still.Status)
	}
	host.set(second, "ci/build", "success")
	if live := s.Live(t, a.Key(), second); live.Status.Waiting != nil {
		t.Errorf("waiting %+v", live.Status.Waiting)
	}

	// A failed check is told, and a newer revision does not wait for it.
	third := s.PushSilently(t, repo, map[string]string{"app/a.yaml": stack.ConfigMap("a", "three")})
	host.set(third, "ci/build", "failure")
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"again"}}}`)
	held(t, s, a.Key(), "ChecksFailed", third)
	fourth := s.PushSilently(t, repo, map[string]string{"app/a.yaml": stack.ConfigMap("a", "four")})
	host.set(fourth, "ci/build", "success")
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"more"}}}`)
	s.Live(t, a.Key(), fourth)

	// A token that is refused is an error that says what to do and does not show it.
	fifth := s.PushSilently(t, repo, map[string]string{"app/a.yaml": stack.ConfigMap("a", "five")})
	s.PatchObject(t, stack.Secrets, ns, "checks", `{"stringData":{"token":"another-token"}}`)
	host.set(fifth, "ci/build", "success")
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"last"}}}`)
	failed := s.Failed(t, a.Key(), "SourceRefused")
	if m := failed.Status.LastAttempt.Message; !strings.Contains(m, "spec.sync.checks.secretRef") || strings.Contains(m, "another-token") {
		t.Errorf("message %q", m)
	}
	if got := data(t, s, ns, "a"); got != "four" {
		t.Errorf("applied %q", got)
	}
}

// What a person asked for in mode manual is repeated when it failed for a while, also
// when another request has replaced theirs on the queue.
func TestAPersonsRequestIsRepeatedWhateverReplacesIt(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "manual/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one")})
	host := newCheckHost(t, repo)
	host.setAway(true)
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Source.Repo, a.Spec.Sync.Mode = host.URL, v1alpha1.ModeManual
	a.Spec.Sync.Retry = &v1alpha1.RetryPolicy{Base: &metav1.Duration{Duration: time.Second}, Max: &metav1.Duration{Duration: time.Second}}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"go"}}}`)
	failed := s.Failed(t, a.Key(), "FetchFailed")
	if failed.Status.LastAttempt.RetryAt == nil {
		t.Errorf("the status does not tell when it is repeated: %+v", failed.Status.LastAttempt)
	}
	s.Patch(t, a.Key(), `{"spec":{"sync":{"interval":"1h"}}}`)
	s.Await(t, a.Key(), "the newer request is seen", func(a *v1alpha1.Application) error {
		if a.Status.ObservedGeneration != a.Generation {
			return fmt.Errorf("generation %d of %d", a.Status.ObservedGeneration, a.Generation)
		}
		return nil
	})
	host.setAway(false)
	live := s.Live(t, a.Key(), headOf(t, repo))
	if got := live.Status.LastAttempt; got.Reason != event.ReasonManual || got.RetryAt != nil {
		t.Errorf("last attempt %+v", got)
	}
}

// A retry that is far away gives way to a newer revision at once.
func TestARetryGivesWayToANewerRevision(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "retry/"+ns, map[string]string{"one/a.yaml": stack.ConfigMap("a", "one"), "two/a.yaml": stack.ConfigMap("a", "two")})
	one, two := stack.Application(ns, "one", repo, "one"), stack.Application(ns, "two", repo, "two")
	two.Spec.Sync.Retry = &v1alpha1.RetryPolicy{Base: &metav1.Duration{Duration: time.Hour}, Max: &metav1.Duration{Duration: time.Hour}}
	for _, a := range []*v1alpha1.Application{one, two} {
		t.Cleanup(func() { s.Forget(a.Key()) })
	}
	s.Create(t, one)
	s.Live(t, one.Key(), headOf(t, repo))
	s.Create(t, two)
	failed := s.Failed(t, two.Key(), "OwnershipConflict")
	if at := failed.Status.LastAttempt.RetryAt; at == nil || time.Until(at.Time) < 50*time.Minute {
		t.Errorf("it is repeated at %v", at)
	}
	second := s.Push(t, repo, map[string]string{"two/a.yaml": stack.ConfigMap("b", "two")})
	if live := s.Live(t, two.Key(), second); live.Status.LastAttempt.RetryAt != nil || live.Status.LastAttempt.Failures != 0 {
		t.Errorf("last attempt %+v", live.Status.LastAttempt)
	}
}

func makeSecret(t *testing.T, s *stack.Stack, ns, name string, data map[string]string) {
	t.Helper()
	values := map[string]any{}
	for key, value := range data {
		values[key] = value
	}
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name}, "stringData": values,
	}}
	if _, err := s.Objects.Resource(stack.Secrets).Namespace(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
