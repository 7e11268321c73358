package render_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

func memory(t *testing.T, text string) tree.Tree {
	t.Helper()
	files := map[string]tree.File{}
	for _, f := range txtar.Parse([]byte(text)).Files {
		files[f.Name] = tree.File{Data: f.Data}
	}
	m, err := tree.FromFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mounted is a source with values, a chart that was fetched, a chart that it depends
// on, and a second source.
func mounted(t *testing.T) tree.Tree {
	t.Helper()
	dependency := memory(t, "-- Chart.yaml --\n{apiVersion: v2, name: db, version: 1.0.0}\n-- templates/s.yaml --\n{apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {password: {{ randAlphaNum 20 | quote }}}}\n")
	chart, err := tree.Mount(memory(t, "-- Chart.yaml --\n{apiVersion: v2, name: web, version: 2.0.0, dependencies: [{name: db, version: 1.x, repository: \"https://charts.example.com\"}]}\n-- templates/cm.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: {{ .Values.name }}}}\n"),
		map[string]tree.Tree{"charts/db": dependency})
	if err != nil {
		t.Fatal(err)
	}
	all, err := tree.Mount(memory(t, "-- apps/web/values.yaml --\nname: git\n-- other.yaml --\na: b\n"),
		map[string]tree.Tree{"$chart": chart, "$env": memory(t, "-- eu.yaml --\nname: eu\n")})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestChartOfARepository(t *testing.T) {
	r, other := newRenderer(t, render.Options{}), newRenderer(t, render.Options{})
	q := render.Request{
		Tree: mounted(t), Name: "web", Namespace: "team", ChartPath: "$chart",
		Source: v1alpha1.Source{Path: "apps/web", Helm: &v1alpha1.HelmSource{
			Chart: "web", Repo: "https://charts.example.com", ValueFiles: []string{"values.yaml", "$env/eu.yaml"},
		}},
	}
	result, err := r.Render(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	got := outcomeOf(result, err, "")
	want := outcome{
		Renderer: render.Helm,
		Objects:  []string{"$chart/charts/db/templates/s.yaml: Secret db", "$chart/templates/cm.yaml: ConfigMap eu"},
		Outside:  []string{"$chart", "$env/eu.yaml"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	checkSameDigest(t, r, other, q)
	q.Variables = substitute.Variables{"name": {Text: "b"}}
	q.Source.Substitute = &v1alpha1.Substitution{}
	checkSameDigest(t, r, other, q)
}

// checkSameDigest renders twice what draws a password: the passwords differ and the
// digests do not.
func checkSameDigest(t *testing.T, one, other *render.Renderer, q render.Request) {
	t.Helper()
	var contents, digests [2]string
	for i, r := range []*render.Renderer{one, other} {
		result, err := r.Render(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		content, err := result.Objects.All()[0].JSON()
		if err != nil {
			t.Fatal(err)
		}
		contents[i] = string(content)
		if digests[i], err = result.Objects.All()[0].Digest(); err != nil {
			t.Fatal(err)
		}
	}
	if contents[0] == contents[1] || digests[0] != digests[1] {
		t.Errorf("two renders have equal contents: %t, equal digests: %t; want other contents of the same digest", contents[0] == contents[1], digests[0] == digests[1])
	}
}

func TestChartThatWasNotFetchedIsRefused(t *testing.T) {
	r := newRenderer(t, render.Options{})
	_, err := r.Render(t.Context(), render.Request{
		Tree:   mounted(t),
		Source: v1alpha1.Source{Path: "apps/web", Helm: &v1alpha1.HelmSource{Chart: "web", Repo: "https://charts.example.com"}},
	})
	if err == nil || !strings.Contains(err.Error(), "spec.source.helm.chart: the chart was not fetched") {
		t.Errorf("error is %v, want the chart refused", err)
	}
}

// A source whose path is the root of its repository does not take the other sources
// for a part of it: neither what they hold nor how much it is.
func TestTheRootHoldsNoOtherSources(t *testing.T) {
	r := newRenderer(t, render.Options{Limits: render.Limits{FileBytes: 1 << 10}})
	other := memory(t, "-- eu.yaml --\nname: eu\n-- big.bin --\n"+strings.Repeat("x", 2<<10)+"\n-- templates/no.yaml --\nno: object\n")
	for name, c := range map[string]struct {
		files  string
		source v1alpha1.Source
		want   outcome
	}{
		"a chart": {
			"-- Chart.yaml --\n{apiVersion: v2, name: web, version: 2.0.0}\n-- templates/cm.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: {{ .Values.name }}}}\n",
			v1alpha1.Source{Path: ".", Helm: &v1alpha1.HelmSource{ValueFiles: []string{"$env/eu.yaml"}}},
			outcome{Renderer: render.Helm, Objects: []string{"templates/cm.yaml: ConfigMap eu"}, Outside: []string{"$env/eu.yaml"}},
		},
		"manifests": {
			"-- apps/cm.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n",
			v1alpha1.Source{Path: ".", Directory: &v1alpha1.DirectorySource{Recurse: true}},
			outcome{Renderer: render.Directory, Objects: []string{"apps/cm.yaml:1: ConfigMap a"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := tree.Mount(memory(t, c.files), map[string]tree.Tree{"$env": other})
			if err != nil {
				t.Fatal(err)
			}
			result, err := r.Render(t.Context(), render.Request{Tree: all, Name: "web", Namespace: "team", Source: c.source})
			if diff := cmp.Diff(c.want, outcomeOf(result, err, "")); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}
