package render_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/child"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
	"sigs.k8s.io/yaml"
)

func TestMain(m *testing.M) {
	if child.Main() {
		return
	}
	os.Exit(m.Run())
}

// hashed is a tree with a hash, as Git trees have one.
type hashed struct {
	fstest.MapFS
	hash string
}

func (h hashed) Hash(string) (string, bool) { return h.hash, true }

func treeOf(files []txtar.File) fstest.MapFS {
	tree := fstest.MapFS{}
	for _, f := range files {
		name, target, link := strings.Cut(f.Name, " -> ")
		if link {
			tree[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		tree[name] = &fstest.MapFile{Data: f.Data}
	}
	return tree
}

func newRenderer(t testing.TB, o render.Options) *render.Renderer {
	t.Helper()
	r := render.New(o)
	t.Cleanup(r.Close)
	return r
}

// outcome is what the test data say about a render.
type outcome struct {
	Renderer string   `json:"renderer,omitempty"`
	Objects  []string `json:"objects,omitempty"`
	Outside  []string `json:"outside,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// TestRender renders the trees of testdata. The comment before a tree is the source;
// the file want.yaml says what comes of it.
func TestRender(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	r := newRenderer(t, render.Options{Limits: render.Limits{FileBytes: 4096, TotalBytes: 8192, Files: 200, Objects: 4}})
	for _, file := range files {
		name := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".txtar"), "-", " ")
		t.Run(name, func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var source v1alpha1.Source
			if err := yaml.UnmarshalStrict(archive.Comment, &source); err != nil {
				t.Fatal(err)
			}
			tree := treeOf(archive.Files)
			var want outcome
			if err := yaml.UnmarshalStrict(tree["want.yaml"].Data, &want); err != nil {
				t.Fatal(err)
			}
			delete(tree, "want.yaml")
			q := render.Request{Tree: tree, Source: source, Name: "web", Namespace: "team"}
			if s := source.Substitute; s != nil {
				q.Variables = substitute.Merge(s.Vars)
			}
			compare(t, r, q, want)
			if want.Outside == nil && !hasLinks(tree) {
				q.Tree = struct{ render.Tree }{tree} // one that knows no symlinks
				compare(t, r, q, want)
			}
		})
	}
}

func hasLinks(tree fstest.MapFS) bool {
	for _, f := range tree {
		if f.Mode&fs.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

func compare(t *testing.T, r *render.Renderer, q render.Request, want outcome) {
	t.Helper()
	result, err := r.Render(t.Context(), q)
	if diff := cmp.Diff(want, outcomeOf(result, err, want.Error)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	class, _ := fault.ClassOf(err)
	if err != nil && (class != fault.Permanent || fault.ReasonOf(err) != fault.RenderFailed) {
		t.Errorf("error is %s %s, want permanent RenderFailed", class, fault.ReasonOf(err))
	}
}

// TestOutsideOfATreeWithoutSymlinks differs in that only whole paths are looked up.
func TestOutsideOfATreeWithoutSymlinks(t *testing.T) {
	r := newRenderer(t, render.Options{})
	tree := fstest.MapFS{"k/kustomization.yaml": {Data: []byte("resources: [../none/base]\n")}}
	q := render.Request{Tree: struct{ render.Tree }{tree}, Source: v1alpha1.Source{Path: "k"}}
	result, err := r.Render(t.Context(), q)
	if err == nil {
		t.Error("want an error")
	}
	if diff := cmp.Diff([]string{"none/base"}, result.Outside); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// outcomeOf tells of an error only as much as is wanted, when it holds that.
func outcomeOf(result render.Result, err error, want string) outcome {
	out := outcome{Renderer: result.Renderer, Outside: result.Outside}
	for _, o := range result.Objects.All() {
		out.Objects = append(out.Objects, o.Place().String())
	}
	if err != nil {
		out.Error = err.Error()
		if want != "" && strings.Contains(out.Error, want) {
			out.Error = want
		}
	}
	return out
}

// big is a tree of every renderer, with what makes order and maps matter.
func big(t testing.TB) fstest.MapFS {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/pure/all.txtar")
	if err != nil {
		t.Fatal(err)
	}
	return treeOf(archive.Files)
}

func requests(tree render.Tree) map[string]render.Request {
	return map[string]render.Request{
		render.Directory: {Tree: tree, Name: "web", Namespace: "team", Source: v1alpha1.Source{Path: "plain", Directory: &v1alpha1.DirectorySource{Recurse: true}}},
		render.Kustomize: {Tree: tree, Name: "web", Namespace: "team", Source: v1alpha1.Source{Path: "kustomize/overlay", Kustomize: &v1alpha1.KustomizeSource{
			NamePrefix: "x-", CommonLabels: map[string]string{"a": "b", "c": "d"},
		}}},
		render.Helm: {Tree: tree, Name: "web", Namespace: "team", Source: v1alpha1.Source{Path: "chart", Helm: &v1alpha1.HelmSource{
			Values: &apiextensionsv1.JSON{Raw: []byte(`{"env": {"A": "1", "B": "2", "C": "3"}}`)},
		}}, Capabilities: render.Capabilities{KubeVersion: "v1.37.2", APIVersions: []string{"v1", "apps/v1"}}},
		render.Jsonnet: {Tree: tree, Name: "web", Namespace: "team", Source: v1alpha1.Source{
			Path: "jsonnet", Substitute: &v1alpha1.Substitution{},
			Jsonnet: &v1alpha1.JsonnetSource{TLA: map[string]string{"a": "1", "b": "2"}, Ext: map[string]string{"c": "3", "d": "4"}},
		}, Variables: substitute.Variables{"n": {Text: "5"}, "m": {Text: "6"}}},
	}
}

func text(t testing.TB, r render.Result, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, o := range r.Objects.All() {
		b, err := o.JSON()
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(o.Place().String() + " " + string(b) + "\n")
	}
	b, err := json.Marshal(r.Outside)
	if err != nil {
		t.Fatal(err)
	}
	return out.String() + string(b)
}

// TestRenderIsPure renders the same 20 times, each in a new child, and once more all
// in one child that has rendered everything else before.
func TestRenderIsPure(t *testing.T) {
	fresh := newRenderer(t, render.Options{Children: child.Options{Renders: 1}})
	used := newRenderer(t, render.Options{Children: child.Options{Parallel: 1}})
	all := requests(big(t))
	for name, q := range all {
		t.Run(name, func(t *testing.T) {
			result, err := fresh.Render(t.Context(), q)
			want := text(t, result, err)
			for range 19 {
				result, err := fresh.Render(t.Context(), q)
				if diff := cmp.Diff(want, text(t, result, err)); diff != "" {
					t.Fatalf("another child renders differently:\n%s", diff)
				}
			}
			for _, other := range all {
				if _, err := used.Render(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				result, err := used.Render(t.Context(), q)
				if diff := cmp.Diff(want, text(t, result, err)); diff != "" {
					t.Fatalf("a used child renders differently:\n%s", diff)
				}
			}
		})
	}
}

func TestRenderOfADirectoryOnDisk(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret.yaml")
	object := []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
	for _, file := range []string{filepath.Join(dir, "a.yaml"), secret} {
		if err := os.WriteFile(file, object, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRenderer(t, render.Options{})
	tree := os.DirFS(dir).(render.Tree)
	if _, err := r.Render(t.Context(), render.Request{Tree: tree}); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	_, err := r.Render(t.Context(), render.Request{Tree: tree})
	if err == nil || !strings.Contains(err.Error(), "b.yaml: the symlink leaves the repository") {
		t.Errorf("error is %v, want the symlink refused", err)
	}
}

func TestSourcesThatAreRefusedByTheirFields(t *testing.T) {
	r := newRenderer(t, render.Options{})
	tree := fstest.MapFS{"a.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")}}
	cases := map[string]struct {
		source v1alpha1.Source
		want   string
	}{
		"keys not read":  {v1alpha1.Source{Decryption: &v1alpha1.Decryption{}}, "spec.source.decryption: its keys were not read"},
		"a remote chart": {v1alpha1.Source{Helm: &v1alpha1.HelmSource{Chart: "web", Repo: "https://example.com"}}, "spec.source.helm.chart: the chart was not fetched"},
		"two renderers":  {v1alpha1.Source{Helm: &v1alpha1.HelmSource{}, Directory: &v1alpha1.DirectorySource{}}, "spec.source: give one of"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := r.Render(t.Context(), render.Request{Tree: tree, Source: c.source})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestCancelledRenderEndsAtOnce(t *testing.T) {
	r := newRenderer(t, render.Options{})
	for name, q := range requests(big(t)) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := r.Render(ctx, q)
			if class, _ := fault.ClassOf(err); !errors.Is(err, context.Canceled) || class != fault.Transient {
				t.Errorf("error is %v (%s), want the context's, transient", err, class)
			}
		})
	}
}
