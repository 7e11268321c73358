package pipeline

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/demo/registry"
	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

const chartTemplate = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Values.name }}}\ndata: {value: {{ .Values.value | quote }}}\n"

func chartFiles(dir, chart string, more map[string]string) map[string]string {
	files := map[string]string{
		"Chart.yaml":        "apiVersion: v2\nname: " + chart + "\nversion: 1.2.3\n",
		"values.yaml":       "name: " + chart + "\nvalue: default\n",
		"templates/cm.yaml": chartTemplate,
	}
	maps.Copy(files, more)
	out := map[string]string{}
	for file, content := range files {
		out[dir+file] = content
	}
	return out
}

func named(name string, repo *gitserver.Repo) []v1alpha1.NamedSource {
	return []v1alpha1.NamedSource{{Name: name, Repo: repo.URL(), Ref: "main"}}
}

// Value files may be in another repository than the chart, and both are followed.
func TestValuesComeFromAnotherRepository(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	charts := s.Repo(t, "acme/charts", chartFiles("web/", "web", nil))
	values := s.Repo(t, "acme/values", map[string]string{"prod/values.yaml": "value: one\n", "dev/values.yaml": "value: none\n"})
	a := stack.Application(ns, "web", charts, "web")
	a.Spec.Source.Helm = &v1alpha1.HelmSource{ValueFiles: []string{"$values/prod/values.yaml"}}
	a.Spec.Sources = named("values", values)
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
	first := s.Await(t, a.Key(), "live", stack.Ready)

	second := s.Push(t, values, map[string]string{"prod/values.yaml": "value: two\n"})
	s.Data(t, ns, "web", map[string]string{"value": "two"})
	got := s.Await(t, a.Key(), "the revision of its values", func(a *v1alpha1.Application) error {
		if a.Status.Inputs == nil || !slices.Contains(a.Status.Inputs.Sources, v1alpha1.SourceRevision{Name: "values", Revision: second}) {
			return fmt.Errorf("inputs %+v", a.Status.Inputs)
		}
		return stack.Ready(a)
	})
	if got.Status.Revision != first.Status.Revision {
		t.Errorf("revision %s, want that of the chart, %s", got.Status.Revision, first.Status.Revision)
	}

	// What it does not read does not wake it.
	other := s.Push(t, values, map[string]string{"dev/values.yaml": "value: changed\n"})
	if routed := s.Routed(t, other); len(routed.GetAffected()) != 0 || routed.GetUnaffected() != 1 {
		t.Errorf("routed: %v", routed)
	}
	// And the chart is followed as before.
	third := s.Push(t, charts, map[string]string{"web/templates/more.yaml": stack.ConfigMap("more", "m")})
	s.Live(t, a.Key(), third)
	s.Data(t, ns, "more", map[string]string{"value": "m"})
}

// An overlay of one repository over the base of another.
func TestAnOverlayComesFromAnotherRepository(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	base := s.Repo(t, "acme/base", map[string]string{
		"web/kustomization.yaml": "resources: [cm.yaml]\n", "web/cm.yaml": stack.ConfigMap("web", "base"),
	})
	overlays := s.Repo(t, "acme/overlays", map[string]string{
		"prod/kustomization.yaml": "resources: [../../web]\nnameSuffix: -prod\n",
	})
	a := stack.Application(ns, "web", base, "$overlays/prod")
	a.Spec.Sources = named("overlays", overlays)
	s.Create(t, a)
	s.Data(t, ns, "web-prod", map[string]string{"value": "base"})
	s.Push(t, base, map[string]string{"web/cm.yaml": stack.ConfigMap("web", "newer")})
	s.Data(t, ns, "web-prod", map[string]string{"value": "newer"})
	s.Push(t, overlays, map[string]string{"prod/kustomization.yaml": "resources: [../../web]\nnameSuffix: -live\n"})
	s.Data(t, ns, "web-live", map[string]string{"value": "newer"})
}

// archive is a chart as a repository holds it.
func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	z := gzip.NewWriter(&buffer)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// chartRepository serves charts, by their names, as a Helm repository.
func chartRepository(t *testing.T, charts ...string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	index := "apiVersion: v1\nentries:\n"
	for _, chart := range charts {
		data := archive(t, chartFiles(chart+"/", chart, nil))
		file := chart + "-1.2.3.tgz"
		mux.HandleFunc("GET /"+file, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
		index += fmt.Sprintf("  %s:\n  - {apiVersion: v2, name: %s, version: 1.2.3, digest: %x, urls: [%s]}\n", chart, chart, sha256.Sum256(data), file)
	}
	mux.HandleFunc("GET /index.yaml", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(index)) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// The chart of a repository, with value files of the Application's own source.
func TestAChartOfARepository(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	charts := chartRepository(t, "web")
	repo := s.Repo(t, "acme/config", map[string]string{"web/values.yaml": "value: from-git\n"})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Helm = &v1alpha1.HelmSource{Chart: "web", Repo: charts.URL, Version: "1.x", ValueFiles: []string{"values.yaml"}}
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "from-git"})
	sha := s.Push(t, repo, map[string]string{"web/values.yaml": "value: pushed\n"})
	s.Data(t, ns, "web", map[string]string{"value": "pushed"})
	s.Live(t, a.Key(), sha)
}

// A chart can be all that an Application is made of.
func TestAChartAlone(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	charts := chartRepository(t, "web")
	a := &v1alpha1.Application{}
	a.APIVersion, a.Kind, a.Namespace, a.Name = v1alpha1.Group+"/"+v1alpha1.Version, "Application", ns, "web"
	a.Spec.Source.Helm = &v1alpha1.HelmSource{Chart: "web", Repo: charts.URL, Values: &apiextensionsv1.JSON{Raw: []byte(`{"value":"own"}`)}}
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "own"})
	got := s.Await(t, a.Key(), "it is ready", stack.Ready)
	if !strings.HasPrefix(got.Status.Revision, "sha256:") || got.Status.Inputs.Sources[0].Name != "$chart" {
		t.Errorf("revision %q, sources %v", got.Status.Revision, got.Status.Inputs.Sources)
	}
}

// What a chart in Git locks is fetched; a lock that is missing is told.
func TestDependenciesOfAChart(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	charts := chartRepository(t, "redis")
	meta := fmt.Sprintf("apiVersion: v2\nname: web\nversion: 1.2.3\ndependencies:\n- {name: redis, version: ~1.2.0, repository: %s}\n", charts.URL)
	repo := s.Repo(t, "acme/config", chartFiles("web/", "web", map[string]string{"Chart.yaml": meta}))
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	failed := s.Failed(t, a.Key(), "SourceRefused")
	if message := stack.Condition(failed, "Ready").Message; !strings.Contains(message, "helm dependency update") {
		t.Errorf("message %q does not say what to do", message)
	}
	lock := fmt.Sprintf("dependencies:\n- {name: redis, repository: %s, version: 1.2.3}\ndigest: %s\ngenerated: \"2026-01-01T00:00:00Z\"\n", charts.URL, lockDigest(charts.URL))
	sha := s.Push(t, repo, map[string]string{"web/Chart.lock": lock})
	s.Live(t, a.Key(), sha)
	s.Data(t, ns, "redis", map[string]string{"value": "default"})
}

// lockDigest is what Helm writes: SHA-256 over the JSON of what is asked for and
// what was found (helm pkg/resolver, HashReq).
func lockDigest(repo string) string {
	req := fmt.Sprintf(`[[{"name":"redis","version":"~1.2.0","repository":%q}],[{"name":"redis","version":"1.2.3","repository":%q}]]`, repo, repo)
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(req)))
}

// pushArtifact puts files into a registry and returns the digest.
func pushArtifact(t *testing.T, host, tag string, files map[string]string) string {
	t.Helper()
	layer := static.NewLayer(archive(t, files), types.MediaType("application/vnd.cncf.flux.content.v1.tar+gzip"))
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.flux.config.v1+json"), layer)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host+"/acme/config:"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// An artifact of a registry is a source as a repository is; a sweep finds the next.
func TestAnArtifactOfARegistry(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	r, err := registry.Start("http://127.0.0.1:1/", "unused")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	first := pushArtifact(t, r.Host(), "v1.0.0", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "one")})
	a := &v1alpha1.Application{}
	a.APIVersion, a.Kind, a.Namespace, a.Name = v1alpha1.Group+"/"+v1alpha1.Version, "Application", ns, "web"
	a.Spec.Source = v1alpha1.Source{Repo: "oci://" + r.Host() + "/acme/config", Semver: ">=1", Path: "web"}
	a.Spec.Sync.Interval = &metav1.Duration{Duration: 1e9}
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
	s.Live(t, a.Key(), first)
	s.Scan(t, 1e9)
	second := pushArtifact(t, r.Host(), "v1.1.0", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "two")})
	s.Live(t, a.Key(), second)
	s.Data(t, ns, "web", map[string]string{"value": "two"})
}

func (variables) create(t *testing.T, s *stack.Stack, ns, kind, name string, data map[string]any) {
	t.Helper()
	resource, field := stack.ConfigMaps, "data"
	if kind == "Secret" {
		resource, field = stack.Secrets, "stringData"
	}
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": ns}, field: data}}
	if _, err := s.Objects.Resource(resource).Namespace(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

type variables struct{}

// Variables come from the cluster; a sweep sees that they changed.
func TestVariablesAreSubstituted(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	variables{}.create(t, s, ns, "ConfigMap", "vars", map[string]any{"region": "eu", "tier": "low"})
	variables{}.create(t, s, ns, "Secret", "more", map[string]any{"tier": "high"})
	repo := s.Repo(t, "acme/config", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "${region}-${tier}-${own}")})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Substitute = &v1alpha1.Substitution{Vars: map[string]string{"own": "x"}, From: []v1alpha1.SubstitutionFrom{
		{Kind: "ConfigMap", Name: "vars"}, {Kind: "Secret", Name: "more"}, {Kind: "ConfigMap", Name: "absent", Optional: true},
	}}
	a.Spec.Sync.Interval = &metav1.Duration{Duration: 1e9}
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "eu-high-x"})
	s.Scan(t, 1e9)
	s.PatchObject(t, stack.ConfigMaps, ns, "vars", `{"data":{"region":"us"}}`)
	s.Data(t, ns, "web", map[string]string{"value": "us-high-x"})

	s.Push(t, repo, map[string]string{"web/cm.yaml": stack.ConfigMap("web", "${unknown}")})
	failed := s.Failed(t, a.Key(), "RenderFailed")
	if message := stack.Condition(failed, "Ready").Message; !strings.Contains(message, "unknown") {
		t.Errorf("message %q does not name the variable", message)
	}
}

// Jsonnet with a library of the same repository, which is followed, too.
func TestJsonnetIsRendered(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{
		"lib/cm.libsonnet": "{ new(name, value):: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: name }, data: { value: value } } }",
		"web/main.jsonnet": "local cm = import 'cm.libsonnet'; function(value) [cm.new('web', value)]",
	})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Jsonnet = &v1alpha1.JsonnetSource{TLA: map[string]string{"value": "one"}, Libs: []string{"lib"}}
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
	s.Push(t, repo, map[string]string{"lib/cm.libsonnet": "{ new(name, value):: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: name }, data: { value: value + '!' } } }"})
	s.Data(t, ns, "web", map[string]string{"value": "one!"})
}
