package tree_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plumb-gitops/plumb/pkg/tree"
)

func files(t *testing.T, content map[string]string) *tree.Memory {
	t.Helper()
	all := map[string]tree.File{}
	for name, data := range content {
		if target, link := strings.CutPrefix(data, "-> "); link {
			all[name] = tree.File{Link: target}
			continue
		}
		all[name] = tree.File{Data: []byte(data)}
	}
	m, err := tree.FromFiles(all)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mount(t *testing.T, base tree.Tree, at map[string]tree.Tree) tree.Tree {
	t.Helper()
	m, err := tree.Mount(base, at)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestATreeIsAFileSystem(t *testing.T) {
	base := files(t, map[string]string{"apps/web/a.yaml": "a", "base/b.yaml": "b", "link": "-> base/b.yaml"})
	values := files(t, map[string]string{"prod/values.yaml": "v"})
	for name, c := range map[string]struct {
		tree tree.Tree
		want []string
	}{
		"in memory":              {base, []string{"apps/web/a.yaml", "base/b.yaml", "link"}},
		"with one at its root":   {mount(t, base, map[string]tree.Tree{"$values": values}), []string{"apps/web/a.yaml", "$values/prod/values.yaml"}},
		"with one further below": {mount(t, base, map[string]tree.Tree{"apps/web/charts/redis": values}), []string{"apps/web/a.yaml", "apps/web/charts/redis/prod/values.yaml"}},
		"a directory of another": {tree.Sub(mount(t, base, map[string]tree.Tree{"apps/web/charts/x": values}), "apps/web"), []string{"a.yaml", "charts/x/prod/values.yaml"}},
		"with one in another": {
			mount(t, mount(t, base, map[string]tree.Tree{"$chart": values}), map[string]tree.Tree{"$chart/charts/x": values}),
			[]string{"$chart/prod/values.yaml", "$chart/charts/x/prod/values.yaml"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := fstest.TestFS(c.tree, c.want...); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatCannotBeMadeIsRefused(t *testing.T) {
	base := files(t, map[string]string{"a/b": "x"})
	for name, c := range map[string]struct {
		try  func() error
		want string
	}{
		"an absolute name":                     {func() error { _, err := tree.FromFiles(map[string]tree.File{"/a": {}}); return err }, "must be relative"},
		"a name that leaves":                   {func() error { _, err := tree.FromFiles(map[string]tree.File{"a/../../b": {}}); return err }, "must be relative"},
		"a name with a backslash":              {func() error { _, err := tree.FromFiles(map[string]tree.File{`a\b`: {}}); return err }, "backslashes"},
		"a file where a directory is":          {func() error { _, err := tree.FromFiles(map[string]tree.File{"a": {}, "a/b": {}}); return err }, "is a file and a directory"},
		"a mount at the root":                  {func() error { _, err := tree.Mount(base, map[string]tree.Tree{".": base}); return err }, "nothing can be mounted there"},
		"a mount outside":                      {func() error { _, err := tree.Mount(base, map[string]tree.Tree{"../x": base}); return err }, "nothing can be mounted there"},
		"a mount over what is there":           {func() error { _, err := tree.Mount(base, map[string]tree.Tree{"a": base}); return err }, "something of its own"},
		"a mount below a file":                 {func() error { _, err := tree.Mount(base, map[string]tree.Tree{"a/b/c": base}); return err }, "is no directory"},
		"mounts within each other in one step": {func() error { _, err := tree.Mount(base, map[string]tree.Tree{"x": base, "x/y": base}); return err }, "within another"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.try(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want it to have %q", err, c.want)
			}
		})
	}
}

func TestLinksStayInTheTree(t *testing.T) {
	m := files(t, map[string]string{"up": "-> ../x", "abs": "-> /etc/passwd", "round": "-> round", "to": "-> d", "d/f": "x"})
	for _, name := range []string{"up", "abs", "round"} {
		if _, err := m.ReadFile(name); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if data, err := m.ReadFile("to/f"); err != nil || string(data) != "x" {
		t.Errorf("through a link: %q, %v", data, err)
	}
}

// A digest moves with what it is over, and with nothing else.
func TestADigestMovesWithItsContent(t *testing.T) {
	build := func(change map[string]string) tree.Tree {
		own := map[string]string{"apps/web/a.yaml": "a", "apps/other": "o", "base/b.yaml": "b"}
		other := map[string]string{"prod.yaml": "v", "dev.yaml": "w"}
		for name, data := range change {
			if rest, is := strings.CutPrefix(name, "$values/"); is {
				other[rest] = data
			} else {
				own[name] = data
			}
		}
		return mount(t, files(t, own), map[string]tree.Tree{"$values": files(t, other)})
	}
	outside := []string{"base", "$values/prod.yaml", "missing.yaml", "$values/missing.yaml"}
	digest := func(tr tree.Tree) string {
		d, err := tr.Digest("apps/web", outside)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	before := digest(build(nil))
	for name, moves := range map[string]bool{
		"apps/web/a.yaml": true, "apps/web/new": true, "base/b.yaml": true, "$values/prod.yaml": true, "missing.yaml": true,
		"$values/missing.yaml": true, "apps/other": false, "$values/dev.yaml": false, "elsewhere": false,
	} {
		if moved := digest(build(map[string]string{name: "changed"})) != before; moved != moves {
			t.Errorf("after a change of %s the digest moved: %v, want %v", name, moved, moves)
		}
	}
	root := func(tr tree.Tree) string {
		d, err := tr.Digest(".", nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if root(build(nil)) == root(build(map[string]string{"$values/dev.yaml": "changed"})) {
		t.Error("the digest of the root does not cover what is mounted")
	}
	if _, err := build(nil).Digest("nowhere", nil); err == nil {
		t.Error("a path that is not there has a digest")
	}
}

func TestAMountTakesThePlaceOfASubmodule(t *testing.T) {
	base := fstest.MapFS{"lib": {Mode: fs.ModeIrregular}}
	m := mount(t, submodules{base}, map[string]tree.Tree{"lib": files(t, map[string]string{"f": "x"})})
	if data, err := m.ReadFile("lib/f"); err != nil || string(data) != "x" {
		t.Errorf("%q, %v", data, err)
	}
	entries, err := m.ReadDir(".")
	if err != nil || len(entries) != 1 || !entries[0].IsDir() {
		t.Errorf("%v, %v", entries, err)
	}
}

type submodules struct{ fstest.MapFS }

func (submodules) Hash(string) (string, bool)              { return "h", true }
func (submodules) Digest(string, []string) (string, error) { return "d", nil }
