package kustomize_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/kustomize"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// testcase is a tree and the lines "key: value" before it.
type testcase struct {
	tree fstest.MapFS
	says map[string]string
}

// load reads testdata/<dir>; the file names are sentences.
func load(t *testing.T, dir string) map[string]testcase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	out := map[string]testcase{}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := testcase{tree: fstest.MapFS{}, says: map[string]string{"build": "."}}
		for line := range strings.Lines(string(archive.Comment)) {
			if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
				c.says[key] = value
			}
		}
		for _, f := range archive.Files {
			c.tree[f.Name] = &fstest.MapFile{Data: f.Data}
		}
		out[strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".txtar"), "-", " ")] = c
	}
	return out
}

// upstream builds the same tree with kustomize itself.
func upstream(t *testing.T, c testcase) []any {
	t.Helper()
	disk := filesys.MakeFsInMemory()
	for name, file := range c.tree {
		if err := disk.WriteFile(path.Join("/src", name), file.Data); err != nil {
			t.Fatal(err)
		}
	}
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, path.Join("/src", c.says["build"]))
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := (&manifest.Parser{}).Parse("upstream.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	for _, o := range objects {
		out = append(out, o.Content())
	}
	return out
}

func contents(t *testing.T, rendered []manifest.Rendered) []any {
	t.Helper()
	var out []any
	for _, r := range rendered {
		o, err := r.Object()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o.Content())
	}
	return out
}

func TestBuildGivesWhatKustomizeGives(t *testing.T) {
	for name, c := range load(t, "same") {
		t.Run(name, func(t *testing.T) {
			got, err := kustomize.Build(c.tree, kustomize.Params{Path: c.says["build"]})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(upstream(t, c), contents(t, got)); diff != "" {
				t.Errorf("kustomize (-) and Build (+) differ:\n%s", diff)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, c := range load(t, "refused") {
		t.Run(name, func(t *testing.T) {
			got, err := kustomize.Build(c.tree, kustomize.Params{Path: c.says["build"]})
			if err == nil {
				t.Fatalf("built %d objects, want an error", len(got))
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent || fault.ReasonOf(err) != fault.RenderFailed {
				t.Errorf("error is %s %s, want permanent RenderFailed", class, fault.ReasonOf(err))
			}
			if !strings.Contains(err.Error(), c.says["error"]) {
				t.Errorf("error is %q, want %q in it", err, c.says["error"])
			}
			if absent := c.says["absent"]; absent != "" && strings.Contains(err.Error(), absent) {
				t.Errorf("error %q quotes a secret", err)
			}
			if len(err.Error()) > 3000 {
				t.Errorf("error has %d bytes", len(err.Error()))
			}
		})
	}
}

const web = `
-- app/kustomization.yaml --
resources: [web.yaml]
sortOptions: {order: legacy}
-- app/web.yaml --
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: web, image: "localhost:5000/web:1"}]}}
---
apiVersion: v1
kind: Namespace
metadata: {name: web}
-- components/scale/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
replicas: [{name: web, count: 3}]
`

func TestSpecChangesTheKustomization(t *testing.T) {
	tree := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(web)).Files {
		tree[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	const plain = `{"a":{"name":"web","labels":null,"image":"localhost:5000/web:1","replicas":null},"first":"Namespace"}`
	cases := map[string]struct {
		spec v1alpha1.KustomizeSource
		want string
	}{
		"nothing":       {want: plain},
		"a name prefix": {spec: v1alpha1.KustomizeSource{NamePrefix: "x-"}, want: strings.Replace(plain, `"name":"web"`, `"name":"x-web"`, 1)},
		"a new tag":     {spec: v1alpha1.KustomizeSource{Images: []string{"localhost:5000/web:2"}}, want: strings.Replace(plain, "web:1", "web:2", 1)},
		"a new name": {
			spec: v1alpha1.KustomizeSource{Images: []string{"localhost:5000/web=acme/web:3"}},
			want: strings.Replace(plain, "localhost:5000/web:1", "acme/web:3", 1),
		},
		"a digest": {
			spec: v1alpha1.KustomizeSource{Images: []string{"localhost:5000/web@sha256:abc"}},
			want: strings.Replace(plain, "web:1", "web@sha256:abc", 1),
		},
		"a component beside the path": {
			spec: v1alpha1.KustomizeSource{Components: []string{"../components/scale"}},
			want: strings.Replace(plain, `"replicas":null`, `"replicas":3`, 1),
		},
		"common labels": {
			spec: v1alpha1.KustomizeSource{CommonLabels: map[string]string{"c": "d"}},
			want: strings.Replace(plain, `"labels":null`, `"labels":{"c":"d"}`, 1),
		},
		"a patch with a target": {
			spec: v1alpha1.KustomizeSource{Patches: []v1alpha1.KustomizePatch{{
				Patch:  `[{"op": "add", "path": "/spec/replicas", "value": 9}]`,
				Target: &v1alpha1.KustomizeSelector{Kind: "Deployment"},
			}}},
			want: strings.Replace(plain, `"replicas":null`, `"replicas":9`, 1),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := kustomize.Build(tree, kustomize.Params{Path: "app", Spec: c.spec})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(normal(t, c.want), normal(t, summary(t, got))); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func summary(t *testing.T, rendered []manifest.Rendered) string {
	t.Helper()
	type deployment struct {
		Kind     string
		Metadata struct {
			Name   string
			Labels map[string]string
		}
		Spec struct {
			Replicas *int
			Template struct {
				Spec struct{ Containers []struct{ Image string } }
			}
		}
	}
	var first, second deployment
	if err := errors.Join(json.Unmarshal(rendered[0].Content, &first), json.Unmarshal(rendered[1].Content, &second)); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(map[string]any{"first": first.Kind, "a": map[string]any{
		"name": second.Metadata.Name, "labels": second.Metadata.Labels,
		"image": second.Spec.Template.Spec.Containers[0].Image, "replicas": second.Spec.Replicas,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func normal(t *testing.T, s string) (out any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSpecIsRefused(t *testing.T) {
	tree := fstest.MapFS{"kustomization.yaml": {Data: []byte("namePrefix: a-\n")}}
	cases := map[string]struct {
		spec v1alpha1.KustomizeSource
		want string
	}{
		"a remote component":          {v1alpha1.KustomizeSource{Components: []string{"https://example.com/c"}}, "spec.source.kustomize.components[0]: remote"},
		"an absolute component":       {v1alpha1.KustomizeSource{Components: []string{"/etc"}}, "spec.source.kustomize.components[0]: the path is absolute"},
		"an image without a change":   {v1alpha1.KustomizeSource{Images: []string{"nginx"}}, "spec.source.kustomize.images[0]: want name="},
		"an image without a name":     {v1alpha1.KustomizeSource{Images: []string{"=nginx:1"}}, "spec.source.kustomize.images[0]: want name="},
		"a component out of the tree": {v1alpha1.KustomizeSource{NamePrefix: "a-", Components: []string{"../../../etc"}}, "does not exist in the tree"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := kustomize.Build(tree, kustomize.Params{Path: ".", Spec: c.spec})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
		})
	}
}

// linked is a tree whose links Stat resolves, as the parent's does.
type linked struct {
	fstest.MapFS
	to map[string]string
}

func (l linked) Stat(name string) (fs.FileInfo, error) {
	real := name
	for link, target := range l.to {
		if name == link || strings.HasPrefix(name, link+"/") {
			real = target + strings.TrimPrefix(name, link)
		}
	}
	info, err := l.MapFS.Stat(real)
	if err != nil {
		return nil, err
	}
	return withPath{info, real}, nil
}

type withPath struct {
	fs.FileInfo
	path string
}

func (w withPath) Sys() any { return w.path }

func TestLinkedFileOutsideTheKustomizationIsRefusedAsOnDisk(t *testing.T) {
	tree := linked{fstest.MapFS{
		"app/kustomization.yaml": {Data: []byte("resources: [a.yaml]\n")},
		"shared/a.yaml":          {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")},
	}, map[string]string{"app/a.yaml": "shared/a.yaml"}}
	_, err := kustomize.Build(tree, kustomize.Params{Path: "app"})
	if err == nil || !strings.Contains(err.Error(), "is not in or below") {
		t.Errorf("error is %v, want kustomize's own refusal", err)
	}
}
