package pipeline

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// closed is a window that denies now and for at least eleven hours.
func closed() v1alpha1.Window {
	hour := time.Now().UTC().Add(-time.Hour).Hour()
	return v1alpha1.Window{Kind: "deny", Schedule: fmt.Sprintf("0 %d * * *", hour), Duration: metav1.Duration{Duration: 13 * time.Hour}}
}

// held waits until a revision is held back for a reason.
func held(t *testing.T, s *stack.Stack, key app.Key, reason, revision string) *v1alpha1.Application {
	t.Helper()
	return s.Await(t, key, "held back: "+reason, func(a *v1alpha1.Application) error {
		w := a.Status.Waiting
		ready := stack.Condition(a, "Ready")
		if w == nil || w.Reason != reason || w.Revision != revision || ready.Reason != reason || ready.Status == metav1.ConditionTrue {
			return fmt.Errorf("waiting %+v, ready %+v", w, ready)
		}
		return nil
	})
}

// absent fails when a ConfigMap is there.
func absent(t *testing.T, s *stack.Stack, ns, name string) {
	t.Helper()
	_, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("ConfigMap %s/%s: %v", ns, name, err)
	}
}

// data is the one key of a ConfigMap now.
func data(t *testing.T, s *stack.Stack, ns, name string) string {
	t.Helper()
	u, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	values, _ := u.Object["data"].(map[string]any)
	return fmt.Sprint(values["value"])
}

// In a closed window nothing is written: no push, no heal, no person's sync. All of it
// is told, a deletion is none of it, and when the window opens it happens.
func TestAClosedWindowHoldsAllWrites(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Scan(t, time.Minute)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "windows/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one"), "app/b.yaml": stack.ConfigMap("b", "one"), "app/c.yaml": stack.ConfigMap("c", "one")})
	a := stack.Application(ns, "web", repo, "app")
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	first := s.Live(t, a.Key(), headOf(t, repo))

	window, _ := json.Marshal([]v1alpha1.Window{closed()})
	s.Patch(t, a.Key(), `{"spec":{"sync":{"windows":`+string(window)+`}}}`)
	s.Await(t, a.Key(), "Ready while nothing has to be written", func(a *v1alpha1.Application) error {
		if a.Status.Waiting != nil {
			return fmt.Errorf("waiting %+v", a.Status.Waiting)
		}
		return stack.Ready(a)
	})

	second := s.Push(t, repo, map[string]string{"app/a.yaml": stack.ConfigMap("a", "two"), "app/b.yaml": ""})
	waiting := held(t, s, a.Key(), "WindowClosed", second)
	if until := waiting.Status.Waiting.Until; until == nil || until.Before(&metav1.Time{Time: time.Now().Add(10 * time.Hour)}) {
		t.Errorf("until %v", until)
	}
	if m := waiting.Status.Waiting.Message; !strings.Contains(m, "deny window") || !strings.Contains(m, "until 20") {
		t.Errorf("message %q", m)
	}
	if waiting.Status.Revision != first.Status.Revision || waiting.Status.LastAttempt.Number != first.Status.LastAttempt.Number+1 {
		t.Errorf("revision %s, attempt %d: an attempt was made", waiting.Status.Revision, waiting.Status.LastAttempt.Number)
	}

	// Drift is told and not healed.
	s.PatchObject(t, stack.ConfigMaps, ns, "c", `{"data":{"value":"drifted"}}`)
	s.Await(t, a.Key(), "drifted", func(a *v1alpha1.Application) error {
		if c := stack.Condition(a, "Drifted"); c.Status != metav1.ConditionTrue || c.Reason != "WindowClosed" {
			return fmt.Errorf("drifted: %+v", c)
		}
		return nil
	})
	if len(s.Facts(t, a.Key(), event.DriftFound)) == 0 || len(s.Facts(t, a.Key(), event.DriftHealed)) != 0 {
		t.Errorf("facts: %v, %v", s.Facts(t, a.Key(), event.DriftFound), s.Facts(t, a.Key(), event.DriftHealed))
	}

	// A person waits, too.
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"please"}}}`)
	s.Await(t, a.Key(), "the request is answered", func(a *v1alpha1.Application) error {
		if a.Status.Requested != "please" || a.Status.Waiting == nil {
			return fmt.Errorf("requested %q", a.Status.Requested)
		}
		return nil
	})
	if a, b, c := data(t, s, ns, "a"), data(t, s, ns, "b"), data(t, s, ns, "c"); a != "one" || b != "one" || c != "drifted" {
		t.Fatalf("in the closed window a became %q, b %q and c %q", a, b, c)
	}

	// The schedule now ends.
	s.Patch(t, a.Key(), `{"spec":{"sync":{"windows":null}}}`)
	open := s.Live(t, a.Key(), second)
	if open.Status.Waiting != nil || stack.Condition(open, "Drifted").Status != metav1.ConditionFalse {
		t.Errorf("status %+v", open.Status)
	}
	s.Data(t, ns, "a", map[string]string{"value": "two"})
	s.Data(t, ns, "c", map[string]string{"value": "one"})
	absent(t, s, ns, "b")

	// Deletion is not held.
	s.Patch(t, a.Key(), `{"spec":{"sync":{"windows":`+string(window)+`}}}`)
	deleteApplication(t, s, a.Key())
	s.Eventually(t, "the Application is gone", func() error {
		if s.Get(t, a.Key()) != nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	absent(t, s, ns, "a")
}

func deleteApplication(t *testing.T, s *stack.Stack, key app.Key) {
	t.Helper()
	if err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(key.Namespace).Delete(t.Context(), key.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A person's request writes in a closed window only when it says so, and only itself.
func TestAWindowIsOverriddenOnce(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "override/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one")})
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Sync.Windows = []v1alpha1.Window{closed()}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	first := headOf(t, repo)
	held(t, s, a.Key(), "WindowClosed", first)
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"x","plumb.dev/override-windows":"y"}}}`)
	s.Await(t, a.Key(), "a wrong override is none", func(a *v1alpha1.Application) error {
		if a.Status.Requested != "x" {
			return fmt.Errorf("requested %q", a.Status.Requested)
		}
		return nil
	})
	absent(t, s, ns, "a")
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"z","plumb.dev/override-windows":"z"}}}`)
	s.Live(t, a.Key(), first)
	s.Eventually(t, "an Event tells who", func() error {
		return eventOf(t, s, ns, "WindowOverridden", "a person asked in request z")
	})
	second := s.Push(t, repo, map[string]string{"app/a.yaml": stack.ConfigMap("a", "two")})
	held(t, s, a.Key(), "WindowClosed", second)
	if got := data(t, s, ns, "a"); got != "one" {
		t.Errorf("the override was used again: %q", got)
	}
	// As plumb sync --override-windows asks.
	ask := &eventsv1.AskSync{Namespace: ns, Name: "web", RequestedBy: "ann", OverrideWindows: true}
	answer := &eventsv1.AnswerSync{}
	if err := s.Bus.Ask(t.Context(), s.Cluster, "sync", ask, answer); err != nil || answer.GetError() != "" {
		t.Fatalf("answer %v, error %v", answer, err)
	}
	s.Live(t, a.Key(), second)
	s.Eventually(t, "an Event tells who", func() error {
		return eventOf(t, s, ns, "WindowOverridden", "as ann asked in request "+answer.GetRequestId())
	})
}

// eventOf is nil when there is a Kubernetes Event with a reason and a text.
func eventOf(t *testing.T, s *stack.Stack, ns, reason, text string) error {
	t.Helper()
	list, err := s.Objects.Resource(eventsOfKube).Namespace(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, e := range list.Items {
		if e.Object["reason"] == reason && strings.Contains(fmt.Sprint(e.Object["note"]), text) {
			return nil
		}
	}
	return fmt.Errorf("no such Event among %d", len(list.Items))
}

// A window opens by the clock, also for a worker that started while it was closed.
func TestAWindowThatOpensWakesWhatWaits(t *testing.T) {
	s := stack.New(t)
	stop := s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "opens/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one")})
	a := stack.Application(ns, "web", repo, "app")
	// The shortest duration ends some seconds after the next full minute begins: the
	// window began with this one.
	now := time.Now().UTC()
	if now.Second() > 40 { // it would be over before it was seen
		s.Eventually(t, "the next minute begins", func() error {
			if now = time.Now().UTC(); now.Second() > 40 {
				return fmt.Errorf("it is %s", now)
			}
			return nil
		})
	}
	left := time.Duration(now.Second()+15) * time.Second
	a.Spec.Sync.Windows = []v1alpha1.Window{{Kind: "deny", Schedule: fmt.Sprintf("%d %d * * *", now.Minute(), now.Hour()), Duration: metav1.Duration{Duration: left}}}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	first := headOf(t, repo)
	waiting := held(t, s, a.Key(), "WindowClosed", first)
	stop()
	s.Work(t)
	got := s.Live(t, a.Key(), first)
	if opened := waiting.Status.Waiting.Until; got.Status.LastAttempt.StartedAt.Time.Before(opened.Time) {
		t.Errorf("it began at %s, before %s", got.Status.LastAttempt.StartedAt, opened)
	}
}

// A suspension ends by itself, and says who made it and why.
func TestASuspensionEndsByItself(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "suspended/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one")})
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Suspend = true
	until := metav1.NewTime(time.Now().Add(8 * time.Second).Truncate(time.Second))
	a.Spec.Suspension = &v1alpha1.Suspension{By: "ann", Reason: "a migration", Until: &until}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	got := held(t, s, a.Key(), "Suspended", "")
	if m := stack.Condition(got, "Suspended").Message; !strings.Contains(m, "by ann until ") || !strings.Contains(m, "a migration") {
		t.Errorf("message %q", m)
	}
	live := s.Live(t, a.Key(), headOf(t, repo))
	if live.Status.LastAttempt.StartedAt.Time.Before(until.Time) || live.Status.Waiting != nil || stack.Condition(live, "Suspended").Status != metav1.ConditionFalse {
		t.Errorf("status %+v", live.Status)
	}
	// As plumb suspend and plumb resume ask; for good, and a deletion goes through.
	suspend := &eventsv1.AskSuspend{Namespace: ns, Name: "web", Suspend: true, By: "bob", Reason: "a look"}
	if answer := askSuspend(t, s, suspend); answer.GetError() != "" {
		t.Fatal(answer)
	}
	if m := held(t, s, a.Key(), "Suspended", "").Status.Waiting.Message; !strings.Contains(m, "by bob until spec.suspend is false: a look") {
		t.Errorf("message %q", m)
	}
	if answer := askSuspend(t, s, &eventsv1.AskSuspend{Namespace: ns, Name: "web"}); answer.GetError() != "" {
		t.Fatal(answer)
	}
	if resumed := s.Live(t, a.Key(), headOf(t, repo)); resumed.Spec.Suspension != nil {
		t.Errorf("suspension %+v", resumed.Spec.Suspension)
	}
	over := &eventsv1.AskSuspend{Namespace: ns, Name: "web", Suspend: true, Until: timestamppb.New(time.Now().Add(-time.Hour))}
	if answer := askSuspend(t, s, over); answer.GetErrorCode() != "Invalid" {
		t.Errorf("an end that is over: %v", answer)
	}
	if answer := askSuspend(t, s, &eventsv1.AskSuspend{Namespace: ns, Name: "none", Suspend: true}); answer.GetErrorCode() != "NotFound" {
		t.Errorf("one that is not there: %v", answer)
	}
	askSuspend(t, s, suspend)
	held(t, s, a.Key(), "Suspended", "")
	deleteApplication(t, s, a.Key())
	s.Eventually(t, "the Application is gone", func() error {
		if s.Get(t, a.Key()) != nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	absent(t, s, ns, "a")
}

func askSuspend(t *testing.T, s *stack.Stack, ask *eventsv1.AskSuspend) *eventsv1.AnswerSuspend {
	t.Helper()
	answer := &eventsv1.AnswerSuspend{}
	if err := s.Bus.Ask(t.Context(), s.Cluster, "suspend", ask, answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

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

// chain makes n Applications of one repository, each depending on the one before.
func chain(t *testing.T, s *stack.Stack, repo *gitserver.Repo, ns string, n int) []app.Key {
	t.Helper()
	var keys []app.Key
	for i := range n {
		a := stack.Application(ns, fmt.Sprintf("app-%d", i), repo, fmt.Sprintf("app-%d", i))
		if i > 0 {
			a.Spec.DependsOn = []v1alpha1.Dependency{{Name: fmt.Sprintf("app-%d", i-1)}}
		}
		t.Cleanup(func() { s.Forget(a.Key()) })
		keys = append(keys, a.Key())
		s.Create(t, a)
	}
	return keys
}

func chainFiles(n int, value string) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("app-%d/cm.yaml", i)] = stack.ConfigMap(fmt.Sprintf("cm-%d", i), value)
	}
	return files
}

// One push of a chain is applied in its order, each when the one before is healthy at
// the same revision, and much sooner than anything is asked for again.
func TestAChainOfTenSettles(t *testing.T) {
	const n = 10
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "chain/"+ns, chainFiles(n, "one"))
	keys := chain(t, s, repo, ns, n)
	for _, key := range keys {
		s.Live(t, key, headOf(t, repo))
	}
	for _, key := range keys {
		s.Settled(t, key)
	}
	began := time.Now()
	second := s.Push(t, repo, chainFiles(n, "two"))
	var starts []time.Time
	for _, key := range keys {
		a := s.Live(t, key, second)
		starts = append(starts, a.Status.LastAttempt.StartedAt.Time)
		if got := a.Status.LastAttempt.Reason; key != keys[0] && got != event.ReasonDependency {
			t.Errorf("%s was woken by %s", key, got)
		}
	}
	if !slices.IsSortedFunc(starts, time.Time.Compare) {
		t.Errorf("starts: %v", starts)
	}
	if took := time.Since(began); took > 20*time.Second { // repair looks every 30 s
		t.Errorf("it took %s", took)
	}
}

// A dependency that is healthy at an old revision does not count: its inputs at the
// dependent's revision must be those that it applied.
func TestADependencyAtAnOldRevisionDoesNotCount(t *testing.T) {
	s := stack.New(t)
	stop := s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "old/"+ns, chainFiles(2, "one"))
	keys := chain(t, s, repo, ns, 2)
	s.Live(t, keys[1], headOf(t, repo))
	// In manual mode the dependency stays where it is, and is Ready there.
	s.Patch(t, keys[0], `{"spec":{"sync":{"mode":"manual"}},"metadata":{"annotations":{"plumb.dev/sync":"as-it-is"}}}`)
	s.Await(t, keys[0], "ready in manual mode", func(a *v1alpha1.Application) error {
		if a.Status.Requested != "as-it-is" {
			return fmt.Errorf("requested %q", a.Status.Requested)
		}
		return stack.Ready(a)
	})
	s.Settled(t, keys[1])
	second := s.Push(t, repo, chainFiles(2, "two"))
	waiting := held(t, s, keys[1], "DependencyNotReady", second)
	if m := waiting.Status.Waiting.Message; !strings.Contains(m, keys[0].String()) || !strings.Contains(m, fmt.Sprintf("%.8s changes it", second)) {
		t.Errorf("message %q", m)
	}
	if got := data(t, s, ns, "cm-1"); got != "one" {
		t.Errorf("the dependent went ahead: %q", got)
	}
	// A worker that starts anew wakes it as well.
	stop()
	s.Patch(t, keys[0], `{"metadata":{"annotations":{"plumb.dev/sync":"now"}}}`)
	s.Work(t)
	s.Live(t, keys[0], second)
	s.Live(t, keys[1], second)

	// What does not touch the dependency does not wait for it.
	third := s.Push(t, repo, map[string]string{"app-1/cm.yaml": stack.ConfigMap("cm-1", "three")})
	s.Live(t, keys[1], third)
}

// A dependent waits for the health of what it depends on, and is woken when that
// comes, by whichever worker there is then.
func TestADependentWaitsForHealthOverARestart(t *testing.T) {
	s := stack.New(t)
	stop := s.Work(t)
	ns := s.Kube.Namespace(t)
	late := strings.Replace(deployment("db", "example.com/db:1", 1), "    spec:\n", "    spec:\n      schedulingGates: [{name: example.com/wait}]\n", 1)
	late = strings.Replace(late, "  progressDeadlineSeconds: 5\n", "", 1)
	repo := s.Repo(t, "restart/"+ns, map[string]string{"app-0/d.yaml": late, "app-1/cm.yaml": stack.ConfigMap("cm-1", "one")})
	keys := chain(t, s, repo, ns, 2)
	first := headOf(t, repo)
	held(t, s, keys[1], "DependencyNotReady", first)
	s.Await(t, keys[0], "waiting for health", func(a *v1alpha1.Application) error {
		if a.Status.LastAttempt == nil || a.Status.LastAttempt.Result != v1alpha1.ResultWaiting {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	absent(t, s, ns, "cm-1")
	stop()
	ungate(t, s, ns)
	s.Work(t)
	s.Live(t, keys[0], first)
	s.Live(t, keys[1], first)
}

// A circle is told with its path, and nothing of it is applied until it is broken,
// by whichever of its members.
func TestACircleOfDependencies(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "circle/"+ns, chainFiles(3, "one"))
	keys := chain(t, s, repo, ns, 3)
	s.Live(t, keys[2], headOf(t, repo))
	s.Patch(t, keys[0], `{"spec":{"dependsOn":[{"name":"app-2"}]}}`)
	got := s.Failed(t, keys[0], "DependencyNotReady")
	want := fmt.Sprintf("%[1]s/app-0 -> %[1]s/app-2 -> %[1]s/app-1 -> %[1]s/app-0", ns)
	if m := stack.Condition(got, "Ready").Message; !strings.Contains(m, want) {
		t.Errorf("message %q, want the path %s", m, want)
	}
	s.Patch(t, keys[1], `{"spec":{"dependsOn":null}}`)
	s.Live(t, keys[0], headOf(t, repo))

	// One that is not there is waited for, in another namespace, too.
	other := s.Kube.Namespace(t)
	s.Patch(t, keys[1], fmt.Sprintf(`{"spec":{"dependsOn":[{"name":"later","namespace":%q}]}}`, other))
	missing := held(t, s, keys[1], "DependencyNotReady", headOf(t, repo))
	if m := missing.Status.Waiting.Message; !strings.Contains(m, "Application "+other+"/later: it does not exist") {
		t.Errorf("message %q", m)
	}
	later := stack.Application(other, "later", repo, "app-2")
	t.Cleanup(func() { s.Forget(later.Key()) })
	s.Create(t, later)
	s.Live(t, keys[1], headOf(t, repo))
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

var eventsOfKube = schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}

// headOf is the newest commit of main.
func headOf(t *testing.T, repo *gitserver.Repo) string {
	t.Helper()
	out, err := repo.Server(t.Context(), "", "rev-parse", "refs/heads/main")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
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
