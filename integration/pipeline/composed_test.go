package pipeline

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// attempts is the number of the last attempt once nothing is under way any more.
func attempts(t *testing.T, s *stack.Stack, a *v1alpha1.Application) int64 {
	t.Helper()
	s.Settled(t, a.Key())
	return s.Get(t, a.Key()).Status.LastAttempt.Number
}

// One push may move two of an Application's sources: that is one attempt, at both.
func TestOneRepositoryAsTwoSources(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	files := chartFiles("charts/web/", "web", map[string]string{"values.yaml": "name: web\nvalue: default\n"})
	files["prod/values.yaml"], files["dev/values.yaml"] = "value: one\n", "value: none\n"
	repo := s.Repo(t, "acme/config", files)
	a := stack.Application(ns, "web", repo, "charts/web")
	a.Spec.Source.Helm = &v1alpha1.HelmSource{ValueFiles: []string{"$values/prod/values.yaml"}}
	a.Spec.Sources = named("values", repo)
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
	before := attempts(t, s, a)

	sha := s.Push(t, repo, map[string]string{
		"prod/values.yaml": "value: two\n", "charts/web/templates/more.yaml": stack.ConfigMap("more", "m"),
	})
	live := s.Live(t, a.Key(), sha)
	s.Data(t, ns, "web", map[string]string{"value": "two"})
	s.Data(t, ns, "more", map[string]string{"value": "m"})
	if !slices.Contains(live.Status.Inputs.Sources, v1alpha1.SourceRevision{Name: "values", Revision: sha}) {
		t.Errorf("inputs %+v, want values at %s", live.Status.Inputs, sha)
	}
	if got := attempts(t, s, a); got != before+1 {
		t.Errorf("one push led to %d attempts", got-before)
	}

	other := s.Push(t, repo, map[string]string{"dev/values.yaml": "value: changed\n"})
	if routed := s.Routed(t, other); len(routed.GetAffected()) != 0 || routed.GetUnaffected() != 1 {
		t.Errorf("routed: %v", routed)
	}
	values := s.Push(t, repo, map[string]string{"prod/values.yaml": "value: three\n"})
	s.Live(t, a.Key(), values)
	s.Data(t, ns, "web", map[string]string{"value": "three"})
	if got := attempts(t, s, a); got != before+2 {
		t.Errorf("two pushes that touch it led to %d attempts", got-before)
	}
}

// A chart at the root of its repository has no part of the repository of its values but
// the files that it names.
func TestAChartAtTheRootOfItsRepository(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	charts := s.Repo(t, "acme/chart", chartFiles("", "web", nil))
	values := s.Repo(t, "acme/values", map[string]string{
		"prod.yaml": "value: one\n", "other/logo.png": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n",
	})
	a := stack.Application(ns, "web", charts, ".")
	a.Spec.Source.Helm = &v1alpha1.HelmSource{ValueFiles: []string{"$values/prod.yaml"}}
	a.Spec.Sources = named("values", values)
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
	other := s.Push(t, values, map[string]string{"other/more.yaml": "x: y\n"})
	if routed := s.Routed(t, other); len(routed.GetAffected()) != 0 || routed.GetUnaffected() != 1 {
		t.Errorf("routed: %v", routed)
	}
	s.Push(t, values, map[string]string{"prod.yaml": "value: two\n"})
	s.Data(t, ns, "web", map[string]string{"value": "two"})
}

// A newer chart in the range is found by the sweep, and no sweep without one is an attempt.
func TestANewChartInTheRangeIsFound(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	versions := map[string][]byte{}
	for _, version := range []string{"1.2.3", "1.3.0", "2.0.0"} {
		versions[version] = archive(t, chartFiles("web/", "web", map[string]string{
			"Chart.yaml": "apiVersion: v2\nname: web\nversion: " + version + "\n", "values.yaml": "name: web\nvalue: v" + version + "\n",
		}))
	}
	var released, asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if data := versions[r.URL.Path[1:]]; data != nil {
			_, _ = w.Write(data)
			return
		}
		asked.Add(1)
		index := "apiVersion: v1\nentries:\n  web:\n"
		for _, version := range []string{"1.2.3", "1.3.0", "2.0.0"}[:released.Load()+1] {
			index += fmt.Sprintf("  - {apiVersion: v2, name: web, version: %s, digest: %x, urls: [%s]}\n", version, sha256.Sum256(versions[version]), version)
		}
		_, _ = w.Write([]byte(index))
	}))
	t.Cleanup(server.Close)
	repo := s.Repo(t, "acme/config", map[string]string{"web/README.md": "x"})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Helm = &v1alpha1.HelmSource{Chart: "web", Repo: server.URL, Version: "1.x"}
	a.Spec.Sync.Interval = &metav1.Duration{Duration: time.Second}
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "v1.2.3"})
	before := attempts(t, s, a)
	s.Scan(t, time.Second)
	looks := asked.Load()
	s.Eventually(t, "two sweeps", func() error {
		if asked.Load() < looks+2 {
			return fmt.Errorf("the index was asked for %d times", asked.Load()-looks)
		}
		return nil
	})
	if got := attempts(t, s, a); got != before {
		t.Errorf("sweeps that found nothing new led to %d attempts", got-before)
	}
	released.Store(2)
	s.Data(t, ns, "web", map[string]string{"value": "v1.3.0"})
}
