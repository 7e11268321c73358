package tree_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

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
		"with one at its root":   {mount(t, base, map[string]tree.Tree{"$values": values}), []string{"apps/web/a.yaml"}},
		"with one further below": {mount(t, base, map[string]tree.Tree{"apps/web/charts/redis": values}), []string{"apps/web/a.yaml", "apps/web/charts/redis/prod/values.yaml"}},
		"a directory of another": {tree.Sub(mount(t, base, map[string]tree.Tree{"apps/web/charts/x": values}), "apps/web"), []string{"a.yaml", "charts/x/prod/values.yaml"}},
		"with one in another": {
			mount(t, mount(t, base, map[string]tree.Tree{"$chart": values}), map[string]tree.Tree{"$chart/charts/x": values}),
			[]string{"apps/web/a.yaml"},
		},
		"one that stands beside, with one in it": {
			tree.Sub(mount(t, mount(t, base, map[string]tree.Tree{"$chart": values}), map[string]tree.Tree{"$chart/charts/x": values}), "$chart"),
			[]string{"prod/values.yaml", "charts/x/prod/values.yaml"},
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
	if _, err := build(nil).Digest("nowhere", nil); err == nil {
		t.Error("a path that is not there has a digest")
	}
}

// What stands beside the root is another repository: who renders all of the root has
// read there only what is named.
func TestWhatStandsBesideTheRootIsNoPartOfIt(t *testing.T) {
	build := func(changed string) tree.Tree {
		content := map[string]map[string]string{
			"": {"a.yaml": "a", "templates/b": "b"}, "$values": {"prod.yaml": "v", "dev.yaml": "w"}, "charts/redis": {"Chart.yaml": "r"},
		}
		trees := map[string]tree.Tree{}
		for at, own := range content {
			for name, data := range own {
				if strings.TrimPrefix(at+"/"+name, "/") == changed {
					own[name] = data + " changed"
				}
			}
			trees[at] = files(t, own)
		}
		whole := mount(t, trees[""], map[string]tree.Tree{"$values": trees["$values"]})
		return mount(t, whole, map[string]tree.Tree{"charts/redis": trees["charts/redis"]})
	}
	var listed []string
	if err := fs.WalkDir(build(""), ".", func(name string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			listed = append(listed, name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.yaml", "charts/redis/Chart.yaml", "templates/b"}, listed); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for name, c := range map[string]struct {
		path    string
		outside []string
		moves   map[string]bool
	}{
		"the root": {".", nil, map[string]bool{
			"a.yaml": true, "templates/b": true, "charts/redis/Chart.yaml": true, "$values/prod.yaml": false, "$values/dev.yaml": false}},
		"the root with a file beside it": {".", []string{"$values/prod.yaml"}, map[string]bool{
			"a.yaml": true, "charts/redis/Chart.yaml": true, "$values/prod.yaml": true, "$values/dev.yaml": false}},
		"a directory and the root": {"templates", []string{"."}, map[string]bool{
			"a.yaml": true, "templates/b": true, "charts/redis/Chart.yaml": true, "$values/dev.yaml": true}},
		"what stands beside": {"$values", []string{"a.yaml"}, map[string]bool{
			"a.yaml": true, "templates/b": false, "$values/dev.yaml": true}},
		"a directory that only a mount makes": {"charts", nil, map[string]bool{"charts/redis/Chart.yaml": true, "a.yaml": false}},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := build("").Digest(c.path, c.outside)
			if err != nil {
				t.Fatal(err)
			}
			for changed, moves := range c.moves {
				after, err := build(changed).Digest(c.path, c.outside)
				if err != nil || (after != before) != moves {
					t.Errorf("after a change of %s the digest moved: %v (%v), want %v", changed, after != before, err, moves)
				}
			}
		})
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
