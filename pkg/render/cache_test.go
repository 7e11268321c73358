package render_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/child"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// counting is a Renderer that tells how often it was asked.
type counting struct {
	*render.Renderer
	renders atomic.Int64
}

func (c *counting) Render(ctx context.Context, q render.Request) (render.Result, error) {
	c.renders.Add(1)
	return c.Renderer.Render(ctx, q)
}

type files map[string]string

func (f files) tree(t testing.TB) *tree.Memory {
	t.Helper()
	in := map[string]tree.File{}
	for name, text := range f {
		if len(text) > 3 && text[:3] == "-> " {
			in[name] = tree.File{Link: text[3:]}
			continue
		}
		in[name] = tree.File{Data: []byte(text)}
	}
	m, err := tree.FromFiles(in)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// with returns the files with one changed; an empty text takes it away.
func (f files) with(name, text string) files {
	out := maps.Clone(f)
	out[name] = text
	if text == "" {
		delete(out, name)
	}
	return out
}

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

// repository has a source of every renderer, each with something outside its path.
var repository = files{
	"README.md":                        "hello\n",
	"plain/a.yaml":                     configMap + "data: {v: '${v:=none}'}\n",
	"plain/link.yaml":                  "-> ../shared/b.yaml",
	"shared/b.yaml":                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
	"k/kustomization.yaml":             "resources: [../base]\n",
	"base/kustomization.yaml":          "resources: [a.yaml]\n",
	"base/a.yaml":                      configMap,
	"base/notes.txt":                   "not read\n",
	"chart/Chart.yaml":                 "apiVersion: v2\nname: c\nversion: 1.0.0\n",
	"chart/templates/a.yaml":           configMap + "data: {v: {{ .Values.v }}, k: {{ .Capabilities.KubeVersion }}}\n",
	"values/prod.yaml":                 "v: one\n",
	"j/main.jsonnet":                   "(import 'lib/a.libsonnet') + { metadata: { name: importstr '../shared/name' } }\n",
	"shared/name":                      "n",
	"vendor/lib/a.libsonnet":           "{ apiVersion: 'v1', kind: 'ConfigMap' }\n",
	"app/nested/current":               "-> ../../envs/x/a",
	"envs/x/a/kustomization.yaml":      "resources: [../common]\n",
	"envs/x/common/kustomization.yaml": "resources: [a.yaml]\n",
	"envs/x/common/a.yaml":             configMap,
	"envs/y/a/kustomization.yaml":      "resources: [../common]\n",
	"envs/y/common/kustomization.yaml": "resources: [a.yaml]\n",
	"envs/y/common/a.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-y}\n",
}

func cached(t testing.TB, o render.CacheOptions) (*render.Cache, *counting) {
	t.Helper()
	next := &counting{Renderer: newRenderer(t, render.Options{})}
	return render.Cached(next, o), next
}

func sources() map[string]v1alpha1.Source {
	return map[string]v1alpha1.Source{
		"plain":  {Path: "plain", Substitute: &v1alpha1.Substitution{}},
		"k":      {Path: "k"},
		"chart":  {Path: "chart", Helm: &v1alpha1.HelmSource{ValueFiles: []string{"../values/prod.yaml"}}},
		"j":      {Path: "j"},
		"linked": {Path: "app/nested/current"},
	}
}

// TestCacheTellsWhatChanged renders a source, changes one thing and renders again.
func TestCacheTellsWhatChanged(t *testing.T) {
	cases := map[string]struct {
		source string
		change func(t *testing.T, f files, q *render.Request) files
		hit    bool
	}{
		"the same again, plain":                      {"plain", nil, true},
		"the same again, a link":                     {"linked", nil, true},
		"the same again, k":                          {"k", nil, true},
		"the same again, a chart":                    {"chart", nil, true},
		"the same again, jsonnet":                    {"j", nil, true},
		"another commit, plain":                      {"plain", edit("README.md", "bye\n"), true},
		"another commit, k":                          {"k", edit("README.md", "bye\n"), true},
		"another commit, a chart":                    {"chart", edit("plain/a.yaml", configMap), true},
		"another commit, jsonnet":                    {"j", edit("new.txt", "new\n"), true},
		"a file in the path":                         {"plain", edit("plain/a.yaml", configMap), false},
		"a new file in the path":                     {"plain", edit("plain/new.txt", "new"), false},
		"a file behind a link":                       {"plain", edit("shared/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"), false},
		"a file of a base":                           {"k", edit("base/a.yaml", configMap+"data: {b: c}\n"), false},
		"a kustomization's base":                     {"k", edit("base/kustomization.yaml", "resources: [a.yaml]\nnamePrefix: x-\n"), false},
		"a value file":                               {"chart", edit("values/prod.yaml", "v: two\n"), false},
		"a library":                                  {"j", edit("vendor/lib/a.libsonnet", "{ apiVersion: 'v1', kind: 'Secret' }\n"), false},
		"an imported text":                           {"j", edit("shared/name", "m"), false},
		"a library where one was looked for in vain": {"j", edit("j/vendor/lib/a.libsonnet", "{ apiVersion: 'v1', kind: 'Secret' }\n"), false},
		"a base that is gone":                        {"k", edit("base/a.yaml", ""), false},
		"a link to a like place":                     {"linked", edit("app/nested/current", "-> ../../envs/y/a"), false},
		"other capabilities, plain": {"plain", func(_ *testing.T, f files, q *render.Request) files {
			q.Capabilities.KubeVersion = "v1.36.0"
			return f
		}, true},
		"other capabilities, a chart": {"chart", func(_ *testing.T, f files, q *render.Request) files {
			q.Capabilities.KubeVersion = "v1.36.0"
			return f
		}, false},
		"other variables": {"plain", func(_ *testing.T, f files, q *render.Request) files {
			q.Variables = substitute.Variables{"v": {Text: "other"}}
			return f
		}, false},
		"another secret variable": {"plain", func(_ *testing.T, f files, q *render.Request) files {
			q.Variables = substitute.Variables{"v": {Text: "two", Secret: true}}
			return f
		}, false},
		"other keys": {"plain", func(t *testing.T, f files, q *render.Request) files {
			q.Keys = readKeys(t)
			return f
		}, false},
		"another name": {"chart", func(_ *testing.T, f files, q *render.Request) files {
			q.Name = "other"
			return f
		}, false},
		"another namespace": {"chart", func(_ *testing.T, f files, q *render.Request) files {
			q.Namespace = "other"
			return f
		}, false},
		"another spec": {"chart", func(_ *testing.T, f files, q *render.Request) files {
			helm := *q.Source.Helm
			helm.ReleaseName = "other"
			q.Source.Helm = &helm
			return f
		}, false},
		"another path": {"k", func(_ *testing.T, f files, q *render.Request) files {
			q.Source.Path = "base"
			return f
		}, false},
		"another ref and credential": {"k", func(_ *testing.T, f files, q *render.Request) files {
			q.Source.Repo, q.Source.Ref, q.Source.SecretRef = "https://example.com/r", "main", &v1alpha1.LocalReference{Name: "s"}
			return f
		}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var seen []bool
			cache, next := cached(t, render.CacheOptions{Observe: func(hit bool) { seen = append(seen, hit) }})
			q := render.Request{Tree: repository.tree(t), Source: sources()[c.source], Name: "web", Namespace: "team", Variables: substitute.Variables{"v": {Text: "one", Secret: true}}}
			if _, err := cache.Render(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			changed := repository
			if c.change != nil {
				changed = c.change(t, repository, &q)
			}
			q.Tree = changed.tree(t)
			got, err := cache.Render(t.Context(), q)
			if hit := next.renders.Load() == 1; hit != c.hit {
				t.Errorf("hit is %t, want %t", hit, c.hit)
			}
			if diff := cmp.Diff([]bool{false, c.hit}, seen); diff != "" {
				t.Errorf("observed: want (-), got (+):\n%s", diff)
			}
			fresh, freshErr := next.Renderer.Render(t.Context(), q)
			if diff := cmp.Diff(told(t, fresh, freshErr), told(t, got, err)); diff != "" {
				t.Errorf("the cache gives (+) what a render does not (-):\n%s", diff)
			}
		})
	}
}

func edit(name, text string) func(*testing.T, files, *render.Request) files {
	return func(_ *testing.T, f files, _ *render.Request) files { return f.with(name, text) }
}

func told(t testing.TB, r render.Result, err error) string {
	t.Helper()
	if err != nil {
		return "error: " + err.Error()
	}
	return text(t, r, err)
}

// TestHitStartsNoChild has a child that cannot start: its pool is closed.
func TestHitStartsNoChild(t *testing.T) {
	r := render.New(render.Options{})
	cache := render.Cached(r, render.CacheOptions{})
	for name, source := range sources() {
		if _, err := cache.Render(t.Context(), render.Request{Tree: repository.tree(t), Source: source, Name: "web"}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	r.Close()
	other := repository.with("README.md", "another commit")
	for name, source := range sources() {
		if _, err := cache.Render(t.Context(), render.Request{Tree: other.tree(t), Source: source, Name: "web"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cache.Render(t.Context(), render.Request{Tree: other.tree(t), Source: v1alpha1.Source{Path: "base"}, Name: "web"}); err == nil {
		t.Error("a miss was rendered without a child")
	}
}

func TestCacheKeepsErrorsOfTheInputsOnly(t *testing.T) {
	permanent := fault.Refuse(fault.RenderFailed, fault.Place{File: "a.yaml"}, "no")
	cases := map[string]struct {
		err     error
		renders int
	}{
		"a permanent error":  {permanent, 1},
		"a transient error":  {fault.Retry(fault.RenderFailed, "away"), 3},
		"an error of no one": {errors.New("boom"), 3},
		"success":            {nil, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			renders := 0
			cache := render.Cached(renderFunc(func(context.Context, render.Request) (render.Result, error) {
				renders++
				return render.Result{Outside: []string{"shared"}}, c.err
			}), render.CacheOptions{})
			for range 3 {
				result, err := cache.Render(t.Context(), render.Request{Tree: repository.tree(t), Source: v1alpha1.Source{Path: "k"}})
				if !errors.Is(err, c.err) || len(result.Outside) != 1 {
					t.Errorf("got %v, %v", result, err)
				}
			}
			if renders != c.renders {
				t.Errorf("%d renders, want %d", renders, c.renders)
			}
			edited := repository.with("shared/name", "other").tree(t)
			if _, err := cache.Render(t.Context(), render.Request{Tree: edited, Source: v1alpha1.Source{Path: "k"}}); !errors.Is(err, c.err) || renders != c.renders+1 {
				t.Errorf("%d renders behind an edit, error is %v", renders, err)
			}
		})
	}
}

// TestCacheForgetsDeaths since memory and time are no inputs.
func TestCacheForgetsDeaths(t *testing.T) {
	next := &counting{Renderer: newRenderer(t, render.Options{Children: tight()})}
	cache := render.Cached(next, render.CacheOptions{})
	q := render.Request{Tree: files{"main.jsonnet": "std.repeat('abcdefgh', 1000000000)\n"}.tree(t), Name: "bad"}
	for range 3 {
		if _, err := cache.Render(t.Context(), q); err == nil || !child.Died(err) {
			t.Fatalf("error is %v, want a death", err)
		}
	}
	if n := next.renders.Load(); n != 3 {
		t.Errorf("%d renders, want 3", n)
	}
}

type renderFunc func(context.Context, render.Request) (render.Result, error)

func (f renderFunc) Render(ctx context.Context, q render.Request) (render.Result, error) {
	return f(ctx, q)
}

func TestCacheIsBounded(t *testing.T) {
	next := &counting{Renderer: newRenderer(t, render.Options{})}
	cache := render.Cached(next, render.CacheOptions{MaxBytes: 8 << 10})
	one := func(name string) {
		t.Helper()
		if _, err := cache.Render(t.Context(), render.Request{Tree: repository.tree(t), Source: v1alpha1.Source{Path: "plain"}, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	one("used")
	for i := range 20 {
		one(string(rune('a' + i)))
		one("used")
	}
	if n := next.renders.Load(); n != 21 {
		t.Errorf("%d renders, want 21: what is used stays", n)
	}
	one("a")
	if n := next.renders.Load(); n != 22 {
		t.Errorf("%d renders, want 22: what is not used goes", n)
	}
}

func TestRendersUnderWayAreShared(t *testing.T) {
	begun, end := make(chan struct{}, 10), make(chan struct{})
	var renders atomic.Int64
	cache := render.Cached(renderFunc(func(ctx context.Context, _ render.Request) (render.Result, error) {
		renders.Add(1)
		begun <- struct{}{}
		select {
		case <-end:
			return render.Result{Renderer: "done"}, nil
		case <-ctx.Done():
			return render.Result{}, ctx.Err()
		}
	}), render.CacheOptions{})
	q := render.Request{Tree: repository.tree(t), Source: v1alpha1.Source{Path: "k"}}
	leader, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := cache.Render(leader, q); !errors.Is(err, context.Canceled) {
			t.Errorf("the leader's error is %v", err)
		}
	})
	<-begun
	for range 8 {
		group.Go(func() {
			if r, err := cache.Render(t.Context(), q); err != nil || r.Renderer != "done" {
				t.Errorf("got %v, %v", r, err)
			}
		})
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := cache.Render(gone, q); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait gets %v", err)
	}
	cancel() // one of the others takes over
	<-begun
	close(end)
	group.Wait()
	if n := renders.Load(); n != 2 {
		t.Errorf("%d renders, want 2", n)
	}
}

func TestTreeWithoutDigestIsPassedOn(t *testing.T) {
	cache, next := cached(t, render.CacheOptions{})
	for range 2 {
		if _, err := cache.Render(t.Context(), requests(big(t))[render.Directory]); err != nil {
			t.Fatal(err)
		}
	}
	if n := next.renders.Load(); n != 2 {
		t.Errorf("%d renders, want 2", n)
	}
}

// A push to a repository whose other Applications render as before.
func BenchmarkCacheHit(b *testing.B) {
	cache := render.Cached(newRenderer(b, render.Options{}), render.CacheOptions{})
	q := render.Request{Name: "web", Namespace: "team", Source: v1alpha1.Source{Path: "app"}, Tree: files{
		"app/one.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n",
		"app/two.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\n",
	}.tree(b)}
	benchmark(b, cache, q)
}
