package render_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/child"
)

const chart = "-- Chart.yaml --\napiVersion: v2\nname: bad\nversion: 1.0.0\n-- templates/a.yaml --\n"

// hostile are trees that would take all memory, time or stack, each with what its
// first error says. Both limits may end the last two.
var hostile = map[string]struct {
	files string
	want  []string
}{
	"a template that includes itself through tpl": {
		files: chart + "{{ tpl .Values.t . }}\n-- values.yaml --\nt: '{{ tpl .Values.t . }}'\n",
		want:  []string{"recursed too deeply", "of memory", "of CPU time", "longer than"},
	},
	"a string without end": {
		files: chart + "{{ repeat 2000000000 \"abcdefgh\" }}\n",
		want:  []string{"of memory"},
	},
	"a list without end": {
		files: chart + "{{ range until 2000000000 }}x{{ end }}\n",
		want:  []string{"of memory", "of CPU time", "longer than"},
	},
	"a loop without end": {
		files: chart + "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}\n",
		want:  []string{"of CPU time", "longer than"},
	},
	"aliases that multiply in a kustomization's resource": {
		files: "-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\napiVersion: v1\nkind: A\nmetadata: {name: a}\n" + bomb,
		want:  []string{"of memory", "of CPU time", "longer than", "alias"},
	},
	"a Jsonnet string without end": {
		files: "-- main.jsonnet --\nstd.repeat('abcdefgh', 1000000000)\n",
		want:  []string{"of memory", "of CPU time", "longer than"},
	},
	"a Jsonnet list without end": {
		files: "-- main.jsonnet --\nstd.foldl(function(a, b) a + a, std.range(1, 40), [1])\n",
		want:  []string{"of memory", "of CPU time", "longer than"},
	},
	"a Jsonnet loop without end": {
		files: "-- main.jsonnet --\nlocal f(x) = f(x + 1) tailstrict; f(1)\n",
		want:  []string{"of memory", "of CPU time", "longer than", "max stack frames", "recursed too deeply"},
	},
	"Jsonnet objects without end": {
		files: "-- main.jsonnet --\nlocal o = { a: o }; o\n",
		want:  []string{"of memory", "of CPU time", "longer than", "max stack frames", "recursed too deeply"},
	},
	"a Jsonnet library that imports itself": {
		files: "-- main.jsonnet --\nlocal l = import 'main.jsonnet'; l + l\n",
		want:  []string{"max stack frames", "of memory", "of CPU time", "longer than", "recursed too deeply"},
	},
	"aliases that multiply in values": {
		files: chart + "{{ toYaml .Values }}\n-- values.yaml --\n" + bomb,
		want:  []string{"of memory", "of CPU time", "longer than", "alias"},
	},
}

const bomb = `a0: &a0 [x, x, x, x, x, x, x, x, x, x]
a1: &a1 [*a0, *a0, *a0, *a0, *a0, *a0, *a0, *a0, *a0, *a0]
a2: &a2 [*a1, *a1, *a1, *a1, *a1, *a1, *a1, *a1, *a1, *a1]
a3: &a3 [*a2, *a2, *a2, *a2, *a2, *a2, *a2, *a2, *a2, *a2]
a4: &a4 [*a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3]
a5: &a5 [*a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4]
a6: &a6 [*a5, *a5, *a5, *a5, *a5, *a5, *a5, *a5, *a5, *a5]
a7: &a7 [*a6, *a6, *a6, *a6, *a6, *a6, *a6, *a6, *a6, *a6]
a8: &a8 [*a7, *a7, *a7, *a7, *a7, *a7, *a7, *a7, *a7, *a7]
`

func tight() child.Options {
	return child.Options{Parallel: 2, Timeout: 8 * time.Second, CPU: time.Second, Memory: 256 << 20}
}

// TestHostileSourceEndsInABoundedError renders each hostile tree while others render
// beside it, and a good one behind it.
func TestHostileSourceEndsInABoundedError(t *testing.T) {
	r := newRenderer(t, render.Options{Children: tight()})
	good := requests(big(t))
	renderAll(t, r, good) // the children are there now
	alone := renderAll(t, r, good)
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			go func() {
				_, err := r.Render(context.Background(), render.Request{Tree: treeOf(txtar.Parse([]byte(c.files)).Files), Name: "bad"})
				ended <- err
			}()
			beside := renderAll(t, r, good)
			err := <-ended
			if err == nil || !containsAny(err.Error(), c.want) {
				t.Fatalf("error is %v, want one of %q in it", err, c.want)
			}
			if len(err.Error()) > 3000 {
				t.Errorf("error has %d bytes", len(err.Error()))
			}
			if limit := 7*time.Second + 10*alone; beside > limit { // a machine may be slow
				t.Errorf("renders beside took %s, alone %s", beside, alone)
			}
			renderAll(t, r, good)
		})
	}
}

func containsAny(s string, wants []string) bool {
	for _, want := range wants {
		if strings.Contains(s, want) {
			return true
		}
	}
	return false
}

// renderAll renders all at a time and returns how long that took.
func renderAll(t *testing.T, r *render.Renderer, all map[string]render.Request) time.Duration {
	t.Helper()
	start := time.Now()
	var group sync.WaitGroup
	for name, q := range all {
		group.Go(func() {
			if _, err := r.Render(t.Context(), q); err != nil {
				t.Errorf("%s beside a hostile render: %v", name, err)
			}
		})
	}
	group.Wait()
	return time.Since(start)
}

func TestTreeThatKillsItsChildTwiceIsNotTriedAgain(t *testing.T) {
	r := newRenderer(t, render.Options{Children: tight()})
	files := treeOf(txtar.Parse([]byte(hostile["a string without end"].files)).Files)
	q := render.Request{Tree: hashed{files, "one"}, Name: "bad"}
	for i, want := range []struct {
		class fault.Class
		text  string
	}{
		{fault.Transient, "it is tried once more"},
		{fault.Permanent, "died 2 times"},
		{fault.Permanent, "died 2 times on this source: it needed more than 256 MiB of memory; it is not tried again before the source changes"},
	} {
		_, err := r.Render(t.Context(), q)
		if class, _ := fault.ClassOf(err); class != want.class || !strings.Contains(err.Error(), want.text) {
			t.Errorf("render %d: error is %v (%s), want %q (%s)", i+1, err, class, want.text, want.class)
		}
	}
	q.Tree = hashed{files, "two"}
	if _, err := r.Render(t.Context(), q); err == nil || !strings.Contains(err.Error(), "tried once more") {
		t.Errorf("error is %v, want a new try of a changed tree", err)
	}
	files["templates/a.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")}
	q.Tree = hashed{files, "three"}
	if _, err := r.Render(t.Context(), q); err != nil {
		t.Errorf("a repaired tree: %v", err)
	}
}

// TestOneSourceCannotChangeAnothersRender renders, in one and the same child, what
// would poison a process and then what would show it.
func TestOneSourceCannotChangeAnothersRender(t *testing.T) {
	r := newRenderer(t, render.Options{Children: child.Options{Parallel: 1}})
	all := requests(big(t))
	before := map[string]string{}
	for name, q := range all {
		result, err := r.Render(t.Context(), q)
		before[name] = text(t, result, err)
	}
	for _, files := range []string{
		"-- kustomization.yaml --\nopenapi: {path: s.json}\nresources: [a.yaml]\n-- s.json --\n{\"definitions\": {}}\n-- a.yaml --\napiVersion: v1\nkind: A\nmetadata: {name: a}\n",
		"-- kustomization.yaml --\nresources: [a.yaml]\ncrds: [c.json]\n-- c.json --\n{\"io.k8s.api.apps.v1.Deployment\": {\"Schema\": {\"properties\": {}}}}\n-- a.yaml --\napiVersion: v1\nkind: A\nmetadata: {name: a}\n",
		chart + "{{ $_ := set .Values \"env\" dict }}{{ $_ := set .Chart \"Name\" \"x\" }}apiVersion: v1\nkind: A\nmetadata: {name: a}\n",
	} {
		// Whether it is refused or not, it must leave nothing behind.
		_, _ = r.Render(t.Context(), render.Request{Tree: treeOf(txtar.Parse([]byte(files)).Files), Name: "bad"})
		for name, q := range all {
			result, err := r.Render(t.Context(), q)
			if text(t, result, err) != before[name] {
				t.Errorf("%s renders differently behind %s", name, files)
			}
		}
	}
}

func BenchmarkRender(b *testing.B) {
	r := newRenderer(b, render.Options{})
	for _, name := range []string{render.Directory, render.Kustomize, render.Helm} {
		q := requests(big(b))[name]
		b.Run(name, func(b *testing.B) { benchmark(b, r, q) })
	}
	cold := newRenderer(b, render.Options{Children: child.Options{Warm: -1}})
	b.Run("kustomize in a new child", func(b *testing.B) { benchmark(b, cold, requests(big(b))[render.Kustomize]) })
	b.Run("helm in a new child", func(b *testing.B) { benchmark(b, cold, requests(big(b))[render.Helm]) })
}

// renders is a Renderer, or a cache of one.
type renders interface {
	Render(ctx context.Context, q render.Request) (render.Result, error)
}

func benchmark(b *testing.B, r renders, q render.Request) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Render(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
}
