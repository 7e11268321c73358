package chart_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/downloader"
	"helm.sh/helm/v4/pkg/getter"

	"github.com/plumb-gitops/plumb/pkg/chart"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// write makes files below dir.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// update runs helm dependency update, and takes out what it fetched.
func update(t testing.TB, dir string, keep bool) {
	t.Helper()
	home := t.TempDir()
	m := &downloader.Manager{
		Out: io.Discard, ChartPath: dir, Getters: getter.All(cli.New()),
		RepositoryConfig: filepath.Join(home, "repositories.yaml"), RepositoryCache: home, ContentCache: home,
	}
	if err := m.Update(); err != nil {
		t.Fatal(err)
	}
	if !keep {
		if err := os.RemoveAll(filepath.Join(dir, "charts")); err != nil {
			t.Fatal(err)
		}
	}
}

const library = "apiVersion: v2\nname: library\nversion: 0.3.0\n"

// The locks are made by Helm, so that its way of digesting is the one compared with.
func TestDependenciesOfALockThatHelmMade(t *testing.T) {
	s := serve(t)
	s.add(t, "redis", "1.0.0", "1.4.0", "2.0.0")
	s.add(t, "common", "0.1.0")
	s.index(t, "", nil)
	redis := "{name: redis, version: ^1, repository: '" + s.URL + "', condition: redis.enabled, tags: [a, b], import-values: [{child: x, parent: y}, data]}"
	common := "{name: common, version: '>= 0', repository: '" + s.URL + "', alias: base}"
	v2 := "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n- "
	remote := func(name, version string) chart.Dependency {
		return chart.Dependency{Name: name, Version: version, Repo: s.URL, Mount: "apps/web/charts/" + name}
	}
	for name, c := range map[string]struct {
		files map[string]string // of apps/web, and below its parent
		keep  bool              // what was fetched stays in charts/
		after map[string]string // changed after the lock was made
		want  []chart.Dependency
		err   string
	}{
		"as locked": {
			files: map[string]string{"Chart.yaml": v2 + redis + "\n- " + common},
			want:  []chart.Dependency{remote("redis", "1.4.0"), remote("common", "0.1.0")},
		},
		"vendored as archives": {files: map[string]string{"Chart.yaml": v2 + redis + "\n- " + common}, keep: true},
		"one vendored as a directory": {
			files: map[string]string{"Chart.yaml": v2 + redis + "\n- " + common},
			after: map[string]string{"charts/our-redis/Chart.yaml": "apiVersion: v2\nname: redis\nversion: 1.0.0\n", "charts/README.md": "x", "charts/.x/Chart.yaml": "{"},
			want:  []chart.Dependency{remote("common", "0.1.0")},
		},
		"two of one name": {
			files: map[string]string{"Chart.yaml": v2 + redis + "\n- {name: redis, version: ^2, alias: cache, repository: '" + s.URL + "'}\n- {name: redis, version: ^1, alias: third, repository: '" + s.URL + "'}"},
			want:  []chart.Dependency{remote("redis", "1.4.0"), {Name: "redis", Version: "2.0.0", Repo: s.URL, Mount: "apps/web/charts/redis-2.0.0"}},
		},
		"one of the same repository": {
			files: map[string]string{"Chart.yaml": v2 + redis + "\n- {name: library, version: 0.x, repository: 'file://../library'}", "../library/Chart.yaml": library},
			want:  []chart.Dependency{remote("redis", "1.4.0"), {Name: "library", Version: "0.3.0", Local: "apps/library", Mount: "apps/web/charts/library"}},
		},
		"of a chart with apiVersion v1": {
			files: map[string]string{"Chart.yaml": "apiVersion: v1\nname: web\nversion: 1.0.0\n", "requirements.yaml": "dependencies:\n- " + redis},
			want:  []chart.Dependency{remote("redis", "1.4.0")},
		},
		"a range changed": {
			files: map[string]string{"Chart.yaml": v2 + redis},
			after: map[string]string{"Chart.yaml": v2 + strings.Replace(redis, "^1", "^2", 1)},
			err:   "apps/web/Chart.lock: digest: the lock was made of other dependencies than those of apps/web/Chart.yaml; run helm dependency update and commit the lock",
		},
		"a condition changed": {
			files: map[string]string{"Chart.yaml": v2 + redis},
			after: map[string]string{"Chart.yaml": v2 + strings.Replace(redis, "redis.enabled", "cache.enabled", 1)},
			err:   "the lock was made of other dependencies",
		},
		"one more": {
			files: map[string]string{"Chart.yaml": v2 + redis},
			after: map[string]string{"Chart.yaml": v2 + redis + "\n- " + common},
			err:   "the lock was made of other dependencies",
		},
		"vendored in another version": {
			files: map[string]string{"Chart.yaml": v2 + redis},
			after: map[string]string{"charts/redis/Chart.yaml": "apiVersion: v2\nname: redis\nversion: 2.0.0\n"},
			err:   `apps/web/charts/redis/Chart.yaml is version "2.0.0", and "^1" is wanted`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			web := filepath.Join(root, "apps/web")
			write(t, web, c.files)
			update(t, web, c.keep)
			write(t, web, c.after)
			got, err := chart.Dependencies(onDisk(t, root), "apps/web")
			if c.err != "" {
				fails(t, err, fault.Permanent, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A lock whose versions somebody changed by hand is found out by its digest.
func TestALockThatWasForged(t *testing.T) {
	s := serve(t)
	s.add(t, "redis", "1.0.0", "1.4.0")
	s.index(t, "", nil)
	root := t.TempDir()
	write(t, root, map[string]string{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: redis, version: ^1, repository: '" + s.URL + "'}]"})
	update(t, root, false)
	name := filepath.Join(root, "Chart.lock")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), "1.4.0", "1.0.0", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = chart.Dependencies(onDisk(t, root), ".")
	fails(t, err, fault.Permanent, "Chart.lock: digest")
}

func memory(t testing.TB, files map[string]string) tree.Tree {
	t.Helper()
	all := map[string]tree.File{}
	for name, text := range files {
		all[name] = tree.File{Data: []byte(text)}
	}
	m, err := tree.FromFiles(all)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDependenciesThatAreRefused(t *testing.T) {
	web := func(dependency string) map[string]string {
		return map[string]string{"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [" + dependency + "]", "library/Chart.yaml": library}
	}
	with := func(files map[string]string, name, text string) map[string]string {
		files[name] = text
		return files
	}
	const remote = "{name: redis, version: 1.0.0, repository: 'https://charts.local'}"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no lock":                          {web(remote), "web/Chart.yaml: dependencies: there is no lock that says which versions; run helm dependency update and commit the lock"},
		"an empty lock":                    {with(web(remote), "web/Chart.lock", ""), "made of other dependencies"},
		"a lock that is no YAML":           {with(web(remote), "web/Chart.lock", "{"), "web/Chart.lock: it is not the YAML"},
		"an alias of a repository":         {web("{name: a, version: 1, repository: '@stable'}"), "dependencies[0].repository: the name is one of your own Helm configuration"},
		"an alias in another spelling":     {web("{name: a, version: 1, repository: 'alias:stable'}"), "write the repository's URL"},
		"no repository":                    {web("{name: a, version: 1}"), "is not in charts/ and names no repository"},
		"another scheme":                   {web("{name: a, version: 1, repository: 's3://b'}"), "must be an https, oci or file URL"},
		"a path that leaves":               {web("{name: a, version: 1, repository: 'file://../../x'}"), "leaves the repository"},
		"a path that leaves and returns":   {web("{name: a, version: 1, repository: 'file://../../web/../library'}"), "leaves the repository"},
		"an absolute path":                 {web("{name: a, version: 1, repository: 'file:///etc'}"), "leaves the repository"},
		"a path with a backslash":          {web(`{name: a, version: 1, repository: 'file://..\x'}`), "leaves the repository"},
		"the chart itself":                 {web("{name: web, version: 1, repository: 'file://.'}"), "the chart itself or above it"},
		"a directory above":                {web("{name: web, version: 1, repository: 'file://..'}"), "the chart itself or above it"},
		"a path without a chart":           {web("{name: a, version: 1, repository: 'file://../nothing'}"), "nothing/Chart.yaml: there is no such file"},
		"a local chart of another name":    {web("{name: lib, version: 0.x, repository: 'file://../library'}"), `of "library"`},
		"a local chart of another version": {web("{name: library, version: ^1, repository: 'file://../library'}"), `"0.3.0"`},
		"a name that is a path":            {web("{name: ../../x, version: 1, repository: 'https://charts.local'}"), "not the name of a chart"},
		"a name that looks packed":         {web("{name: x.tgz, version: 1, repository: 'https://charts.local'}"), "not the name of a chart"},
		"no name":                          {web("{version: 1}"), "dependencies[0]: it has no name"},
		"null":                             {web("null"), "dependencies[0]: it has no name"},
		"a Chart.yaml that is none":        {map[string]string{"web/Chart.yaml": "[]"}, "web/Chart.yaml: it is not the YAML"},
		"a Chart.yaml that is too large":   {map[string]string{"web/Chart.yaml": strings.Repeat("#", 1<<20+1)}, "at most 1048576 bytes"},
		"a Chart.yaml that is a directory": {map[string]string{"web/Chart.yaml/x": ""}, "it is no file"},
		"two lists":                        {with(web(remote), "web/requirements.yaml", "dependencies: ["+remote+"]"), "keep them in one place"},
		"a vendored archive that is none":  {with(web(remote), "web/charts/redis-1.0.0.tgz", "x"), "read web/charts/redis-1.0.0.tgz"},
		"very many":                        {web(strings.Repeat(remote+",", 201)), "there are 201"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := chart.Dependencies(memory(t, c.files), "web")
			fails(t, err, fault.Permanent, c.want)
		})
	}
}

func TestDirectoriesWithoutDependencies(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no chart":              {"web/a.yaml": ""},
		"no such directory":     {"x": ""},
		"a chart that has none": {"web/Chart.yaml": "name: web", "web/charts/x.tgz": "broken"},
	} {
		if got, err := chart.Dependencies(memory(t, files), "web"); err != nil || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// Whatever a chart says, the places it names stay in the tree.
func FuzzDependencies(f *testing.F) {
	f.Add("dependencies: [{name: a, version: 1, repository: 'file://../b'}]", "", "name: a\nversion: 1.0.0")
	f.Add("dependencies: [{name: a, version: 1, repository: 'https://b'}]", "digest: sha256:0\ndependencies: [{name: a, version: 1.0.0, repository: 'https://b'}]", "")
	f.Add("dependencies: &a [*a]", "", "")
	f.Fuzz(func(t *testing.T, chartYAML, lock, other string) {
		got, err := chart.Dependencies(memory(t, map[string]string{"apps/web/Chart.yaml": chartYAML, "apps/web/Chart.lock": lock, "apps/b/Chart.yaml": other}), "apps/web")
		if err != nil {
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Fatal(err)
			}
			return
		}
		for _, d := range got {
			if !strings.HasPrefix(d.Mount, "apps/web/charts/") || strings.Contains(d.Mount, "..") || d.Local != "" && d.Local != "apps/b" || (d.Repo == "") == (d.Local == "") {
				t.Fatalf("%+v", d)
			}
		}
	})
}

// What Helm 2 digested was the list in Chart.yaml alone.
func TestALockOfHelm2(t *testing.T) {
	text := "dependencies:\n- {name: redis, version: ^1, repository: 'https://charts.local'}\n"
	// The SHA-256 of {"dependencies":[{"name":"redis","version":"^1","repository":"https://charts.local"}]}
	const digest = "sha256:259d54ebedb91b26e82c6eda2b9e406fbe871332156367a8bbb4728275acd5e6"
	files := map[string]string{
		"Chart.yaml": "apiVersion: v1\nname: web\nversion: 1.0.0\n", "requirements.yaml": text,
		"requirements.lock": "digest: " + digest + "\ndependencies:\n- {name: redis, version: 1.2.3, repository: 'https://charts.local'}\n",
	}
	got, err := chart.Dependencies(memory(t, files), ".")
	if diff := cmp.Diff([]chart.Dependency{{Name: "redis", Version: "1.2.3", Repo: "https://charts.local", Mount: "charts/redis"}}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	files["Chart.yaml"] = "apiVersion: v2\nname: web\nversion: 1.0.0\n"
	_, err = chart.Dependencies(memory(t, files), ".")
	fails(t, err, fault.Permanent, "requirements.lock: digest")
}
