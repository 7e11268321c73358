package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/integration/scale/model"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/render/child"
)

func TestMain(m *testing.M) {
	if child.Main() {
		return
	}
	os.Exit(kubetest.Main(m))
}

// cost is what a push costs with a real worker, Git server and API server.
type cost struct {
	Events, Requests, States uint64
	API                      map[string]int // requests to the API server
}

// The model counts what the simulation does; here it counts what Plumb does.
func TestARealPushCostsWhatTheModelSays(t *testing.T) {
	const applications, objects = 5, 4
	s := stack.New(t)
	st, err := openStreams(s.NATS.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.close)
	s.Work(t)
	repo := s.Repo(t, "scale", files(applications, objects, "first"))
	var keys []app.Key
	namespace := s.Kube.Namespace(t)
	for i := range applications {
		a := stack.Application(namespace, fmt.Sprintf("app-%d", i), repo, fmt.Sprintf("apps/%d", i))
		s.Create(t, a)
		keys = append(keys, a.Key())
	}
	sha := s.Push(t, repo, map[string]string{"apps/0/0.yaml": configMap(0, 0, "first again")})
	for _, key := range keys[:1] {
		s.Live(t, key, sha)
	}
	for _, key := range keys[1:] {
		s.Await(t, key, "ready", stack.Ready)
	}

	s.Eventually(t, "the Events of before are written", func() error { return eventsOfAll(t, s, namespace) })
	before, fetches := observeCost(t, s, st), s.Git.Fetches()
	s.Push(t, repo, files(applications, 1, "second")) // one object of each
	var got cost
	m := model.Fleet{Clusters: 1, Applications: applications}.Messages(1, applications)
	s.Eventually(t, "all facts are told", func() error {
		got = observeCost(t, s, st).less(before)
		if got.Events < uint64(m.Events) || got.States < uint64(m.States) {
			return fmt.Errorf("%d facts and %d states", got.Events, got.States)
		}
		if err := eventsOfAll(t, s, namespace); err != nil {
			return err
		}
		return st.idle(t.Context())
	})
	want := cost{
		Events: uint64(m.Events), Requests: uint64(m.Requests), States: uint64(m.States),
		API: map[string]int{
			"APPLY configmaps": applications * 1, "POST events": applications,
		},
	}
	if fetches = s.Git.Fetches() - fetches; fetches != 1 {
		t.Errorf("%d fetches, want one for all", fetches)
	}
	reads := got.API["GET applications"]
	if delete(got.API, "GET applications"); reads > applications*model.Reads {
		t.Errorf("%d reads of Applications, want at most one of each", reads)
	}
	writes := got.API["PUT applications/status"]
	if delete(got.API, "PUT applications/status"); writes < applications || writes > applications*model.StatusWrites {
		t.Errorf("%d status writes, want one or two of each", writes)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cost of a push to %d Applications (-want +got):\n%s", applications, diff)
	}
}

// eventsOfAll says whether each attempt of each Application has its Event: they are written
// when the API server has time for them.
func eventsOfAll(t *testing.T, s *stack.Stack, namespace string) error {
	t.Helper()
	applications, err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	list, err := s.Kube.Clientset(t).EventsV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	told := map[types.UID]int64{}
	for _, e := range list.Items {
		if told[e.Regarding.UID]++; e.Series != nil {
			told[e.Regarding.UID] += int64(e.Series.Count) - 1
		}
	}
	for _, a := range applications.Items {
		if attempts, _, _ := unstructured.NestedInt64(a.Object, "status", "lastAttempt", "number"); told[a.GetUID()] < attempts {
			return fmt.Errorf("%d Events of %d attempts of %s", told[a.GetUID()], attempts, a.GetName())
		}
	}
	return nil
}

func files(applications, objects int, text string) map[string]string {
	all := map[string]string{}
	for i := range applications {
		for j := range objects {
			all[fmt.Sprintf("apps/%d/%d.yaml", i, j)] = configMap(i, j, text)
		}
	}
	return all
}

func configMap(i, j int, text string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-%d-%d}\ndata: {text: %q}\n", i, j, text)
}

func observeCost(t *testing.T, s *stack.Stack, st *streams) cost {
	t.Helper()
	all, err := st.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cost{
		Events: all[events].ever, Requests: all[syncs].ever, States: all[states].ever,
		API: apiRequests(t, s),
	}
}

// countedRequests are the lines of the API server's metrics for the resources of the test.
var countedRequests = regexp.MustCompile(`(?m)^apiserver_request_total\{.*resource="(applications|configmaps|events)".*subresource="(\w*)".*verb="(\w+)".*\} (\S+)$`)

// apiRequests counts requests, other than watches, by verb and resource.
func apiRequests(t *testing.T, s *stack.Stack) map[string]int {
	t.Helper()
	client, err := kubernetes.NewForConfig(s.Kube.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	text, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, m := range countedRequests.FindAllSubmatch(text, -1) {
		name := string(m[3]) + " " + string(m[1])
		if len(m[2]) > 0 {
			name += "/" + string(m[2])
		}
		n, err := strconv.ParseFloat(string(m[4]), 64)
		if err != nil {
			t.Fatal(err)
		}
		if string(m[3]) != "WATCH" && string(m[3]) != "LIST" {
			all[name] += int(n)
		}
	}
	return all
}

func (c cost) less(before cost) cost {
	c.Events, c.Requests, c.States = c.Events-before.Events, c.Requests-before.Requests, c.States-before.States
	for name, n := range before.API {
		if c.API[name] -= n; c.API[name] == 0 {
			delete(c.API, name)
		}
	}
	return c
}
