package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

const (
	// least is how many pushes are timed, alone and beside the hostile sources.
	least = 20
	// bound is by when each hostile source has ended in an error.
	bound = 75 * time.Second
	// renderLimits are those of the worker under attack: small, so that all come to
	// their ends within the test, but longer than a push may ever take beside them.
	renderLimits = "worker: {render: {cpu: 2s, timeout: 5s}}\n"
)

// TestHostileSourcesEndInErrors gives one worker some hundred hostile
// Applications at once, and pushes to a healthy one beside them all the time.
func TestHostileSourcesEndInErrors(t *testing.T) {
	start := time.Now()
	s := stack.New(t)
	h := &siege{Stack: s, ns: s.Kube.Namespace(t), attacks: map[string]attack{}}
	h.prepare(t)
	healthy := newHealthy(t, s)
	worker := s.Start(t, stack.Options{Settings: renderLimits})
	healthy.create(t)
	alone := healthy.push(t, func(n int) bool { return n >= least })

	t.Logf("prepared in %s", time.Since(start).Round(time.Second))
	watch := watchProcess(t, worker.PID())
	began := time.Now()
	h.begin(t)
	beside := healthy.push(t, func(n int) bool {
		return n >= least && len(h.open(t)) == 0 || time.Since(began) > bound
	})
	t.Logf("%d attacks took %s; a push took %s alone and %s beside them (median of %d and %d, longest %s)", len(h.attacks),
		time.Since(began).Round(time.Second), median(alone), median(beside), len(alone), len(beside), slices.Max(beside))
	if got, most := median(beside), 5*median(alone)+time.Second; got > most || len(beside) < least {
		t.Errorf("%d pushes beside took %s each, want %s at most", len(beside), got, most)
	}
	if open := h.open(t); len(open) > 0 {
		t.Errorf("without an end after %s: %s", bound, strings.Join(open, ", "))
	}
	watch.check(t)
	h.check(t)
	healthy.check(t)
}

// siege are the hostile Applications.
type siege struct {
	*stack.Stack
	ns           string
	attacks      map[string]attack // by sentence
	applications map[string]*v1alpha1.Application
}

func slug(sentence string) string {
	return strings.ToLower(strings.NewReplacer(" ", "-", "'", "", "_", "-", ".", "", ",", "").Replace(sentence))
}

// prepare makes the sources, before anything is timed.
func (h *siege) prepare(t *testing.T) {
	files := map[string]string{}
	for _, family := range []map[string]attack{manifests(), kustomizations(), charts(), programs()} {
		maps.Copy(h.attacks, family)
	}
	for sentence, a := range h.attacks {
		for name, content := range a.files {
			files[slug(sentence)+"/"+name] = content
		}
	}
	shared := h.Repo(t, "acme/hostile", files)
	h.applications = map[string]*v1alpha1.Application{}
	for sentence, a := range h.attacks {
		h.add(sentence, a, stack.Application(h.ns, slug(sentence), shared, slug(sentence)))
	}
	for sentence, source := range sources(t, h.Stack) {
		h.attacks[sentence] = source.attack
		h.add(sentence, source.attack, source.application(h.ns, slug(sentence)))
	}
}

func (h *siege) add(sentence string, a attack, application *v1alpha1.Application) {
	if a.spec != nil {
		a.spec(application)
	}
	h.applications[sentence] = application
}

func (h *siege) begin(t *testing.T) {
	variables{}.create(t, h.Stack, h.ns, "ConfigMap", "x", map[string]any{"x": "y"}) // CEL judges what is there
	for _, a := range h.applications {
		h.Create(t, a)
		t.Cleanup(func() { h.Forget(a.Key()) })
	}
}

// statuses are the hostile Applications as they stand, by name.
func (h *siege) statuses(t *testing.T) map[string]*v1alpha1.Application {
	t.Helper()
	list, err := h.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(h.ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*v1alpha1.Application{}
	for _, u := range list.Items {
		raw, err := json.Marshal(u.Object)
		a := &v1alpha1.Application{}
		if err != nil || json.Unmarshal(raw, a) != nil {
			t.Fatal("an Application that cannot be read")
		}
		all[a.Name] = a
	}
	return all
}

// open are the hostile Applications that have not ended in an error yet.
func (h *siege) open(t *testing.T) (open []string) {
	statuses := h.statuses(t)
	for sentence := range h.attacks {
		a := statuses[slug(sentence)]
		if a == nil || stack.Condition(a, v1alpha1.ConditionReady).Status != metav1.ConditionFalse {
			open = append(open, sentence)
		}
	}
	slices.Sort(open)
	return open
}

// check looks at how each attack ended, and that none of them reached anything.
func (h *siege) check(t *testing.T) {
	statuses := h.statuses(t)
	for sentence, a := range h.attacks {
		t.Run(sentence, func(t *testing.T) {
			got := statuses[slug(sentence)]
			if got == nil {
				t.Fatal("the Application is gone")
			}
			a.check(t, stack.Condition(got, v1alpha1.ConditionReady))
			if raw, err := json.Marshal(got.Status); err != nil || len(raw) > 16<<10 || strings.Contains(string(raw), "root:x:") {
				t.Errorf("the status has %d bytes: %.2000s", len(raw), raw)
			}
		})
	}
	if written := versions(t, h.Stack, h.ns); len(written) != 0 {
		t.Errorf("hostile sources wrote %v", written)
	}
	if strings.Contains(string(h.WholeLog(t)), "root:x:") {
		t.Error("the machine's own file stands in a log")
	}
}

func (a attack) check(t *testing.T, ready metav1.Condition) {
	t.Helper()
	want := a.reason
	if want == "" {
		want = "RenderFailed"
	}
	if ready.Reason != want {
		t.Errorf("reason %s, want %s", ready.Reason, want)
	}
	t.Log(ready.Message)
	said := func(word string) bool { return strings.Contains(ready.Message, word) }
	for _, word := range a.says {
		if !said(word) {
			t.Errorf("the message lacks %q: %s", word, ready.Message)
		}
	}
	if a.any != nil && !slices.ContainsFunc(a.any, said) {
		t.Errorf("the message has none of %q: %s", a.any, ready.Message)
	}
	if len(ready.Message) > 1024 {
		t.Errorf("the message has %d bytes", len(ready.Message))
	}
}

// healthy is one repository that three Applications render, each in its own way.
type healthy struct {
	*stack.Stack
	ns           string
	repo         *gitserver.Repo
	applications []*v1alpha1.Application
	round        int
}

func newHealthy(t *testing.T, s *stack.Stack) *healthy {
	h := &healthy{Stack: s, ns: s.Kube.Namespace(t)}
	h.repo = s.Repo(t, "acme/good", h.files())
	for _, name := range []string{"plain", "overlay", "chart"} {
		h.applications = append(h.applications, stack.Application(h.ns, name, h.repo, name))
	}
	return h
}

// files of the present round. The patch of the overlay needs a schema: containers
// are merged by name.
func (h *healthy) files() map[string]string {
	two := strings.Replace(deployment("two", "example.com/a:1", 0), "[{name: main", "[{name: side, image: \"example.com/b:1\"}, {name: main", 1)
	return map[string]string{
		"plain/cm.yaml":              stack.ConfigMap("plain", h.value()),
		"overlay/kustomization.yaml": "resources: [cm.yaml, two.yaml]\npatches: [{path: patch.yaml}]\n",
		"overlay/cm.yaml":            stack.ConfigMap("overlay", h.value()),
		"overlay/two.yaml":           two,
		"overlay/patch.yaml":         "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: two}\nspec: {template: {spec: {containers: [{name: main, image: \"example.com/a:2\"}]}}}\n",
		"chart/Chart.yaml":           "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
		"chart/values.yaml":          "value: " + h.value() + "\n",
		"chart/templates/cm.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: chart}\ndata: {value: {{ .Values.value | quote }}}\n",
	}
}

func (h *healthy) value() string { return fmt.Sprintf("round-%d", h.round) }

func (h *healthy) create(t *testing.T) {
	for _, a := range h.applications {
		h.Create(t, a)
		t.Cleanup(func() { h.Forget(a.Key()) })
	}
	for _, a := range h.applications {
		h.Live(t, a.Key(), head(t, h.Stack, a.Key()))
	}
}

// push pushes until enough says so, and tells how long each took from the webhook
// until all three were in the cluster.
func (h *healthy) push(t *testing.T, enough func(pushes int) bool) (took []time.Duration) {
	for !enough(len(took)) {
		h.round++
		sha := h.PushSilently(t, h.repo, h.files())
		began := time.Now()
		h.Announce(t, h.repo, "delivery-"+sha, sha)
		for _, a := range h.applications {
			h.Data(t, h.ns, a.Name, map[string]string{"value": h.value()})
		}
		took = append(took, time.Since(began))
	}
	return took
}

// check compares what the schema decides with what kustomize would give alone.
func (h *healthy) check(t *testing.T) {
	u, err := h.Objects.Resource(stack.Deployments).Namespace(h.ns).Get(t.Context(), "two", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(u.Object["spec"])
	for _, want := range []string{"example.com/b:1", "example.com/a:2"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the patched Deployment lacks %s: %s", want, raw)
		}
	}
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2].Round(time.Millisecond)
}
