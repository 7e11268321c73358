package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/helm"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

const kubeVersion = "v1.36.1"

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
		out[strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".txtar"), "-", " ")] = parse(archive)
	}
	return out
}

func parse(archive *txtar.Archive) testcase {
	c := testcase{tree: fstest.MapFS{}, says: map[string]string{}}
	for line := range strings.Lines(string(archive.Comment)) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			c.says[key] = value
		}
	}
	for _, f := range archive.Files {
		c.tree[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return c
}

func (c testcase) params() helm.Params {
	p := helm.Params{Path: "chart", ReleaseName: "rel", Namespace: "team", KubeVersion: kubeVersion}
	if c.says["values"] != "" {
		p.ValueFiles = []string{c.says["values"]}
	}
	if c.says["inline"] != "" {
		p.Values = json.RawMessage(c.says["inline"])
	}
	if c.says["release"] != "" {
		p.ReleaseName = c.says["release"]
	}
	return p
}

// upstream is "helm template --include-crds" on a disk.
func upstream(t *testing.T, c testcase) []any {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, c.tree); err != nil {
		t.Fatal(err)
	}
	chart, err := loader.LoadDir(filepath.Join(dir, "chart"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if file := c.says["values"]; file != "" {
		if values, err = loader.LoadValues(bytes.NewReader(c.tree["chart/"+file].Data)); err != nil {
			t.Fatal(err)
		}
	}
	install := action.NewInstall(&action.Configuration{})
	install.DryRunStrategy, install.IncludeCRDs = action.DryRunClient, true
	install.ReleaseName, install.Namespace = "rel", "team"
	if install.KubeVersion, err = common.ParseKubeVersion(kubeVersion); err != nil {
		t.Fatal(err)
	}
	result, err := install.Run(chart, values)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := (&manifest.Parser{Lenient: true}).Parse("upstream.yaml", []byte(result.(*release.Release).Manifest))
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

func TestTemplateGivesWhatHelmGives(t *testing.T) {
	for name, c := range load(t, "same") {
		t.Run(name, func(t *testing.T) {
			got, err := helm.Template(c.tree, c.params())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(upstream(t, c), contents(t, got)); diff != "" {
				t.Errorf("helm (-) and Template (+) differ:\n%s", diff)
			}
		})
	}
}

func TestTemplateRefuses(t *testing.T) {
	for name, c := range load(t, "refused") {
		t.Run(name, func(t *testing.T) {
			got, err := helm.Template(c.tree, c.params())
			if err == nil {
				t.Fatalf("rendered %d objects, want an error", len(got))
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent || fault.ReasonOf(err) != fault.RenderFailed {
				t.Errorf("error is %s %s, want permanent RenderFailed", class, fault.ReasonOf(err))
			}
			if !strings.Contains(err.Error(), c.says["error"]) {
				t.Errorf("error is %q, want %q in it", err, c.says["error"])
			}
			if absent := c.says["absent"]; absent != "" && strings.Contains(err.Error(), absent) {
				t.Errorf("error %q quotes a value", err)
			}
		})
	}
}

const small = `
-- chart/Chart.yaml --
apiVersion: v2
name: small
version: 1.0.0
-- chart/values.yaml --
a: chart
-- chart/one.yaml --
a: one
b: one
-- chart/two.yaml --
a: two
-- values/shared.yaml --
a: shared
-- chart/templates/cm.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}
data: {a: {{ .Values.a | quote }}, b: {{ .Values.b | default "none" | quote }}}
`

func TestValuesWinInOrder(t *testing.T) {
	cases := map[string]struct {
		files  []string
		inline string
		a, b   string
	}{
		"the chart's own are the default":  {a: "chart", b: "none"},
		"a later file wins":                {files: []string{"one.yaml", "two.yaml"}, a: "two", b: "one"},
		"a file beside the chart is found": {files: []string{"../values/shared.yaml"}, a: "shared", b: "none"},
		"the spec wins over files":         {files: []string{"one.yaml"}, inline: `{"a": "spec"}`, a: "spec", b: "one"},
		"an index in a key is only a name": {inline: `{"a[999999999]": 1}`, a: "chart", b: "none"},
		"null in the spec removes a value": {files: []string{"one.yaml"}, inline: `{"b": null}`, a: "one", b: "none"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := helm.Params{Path: "chart", ReleaseName: "rel", Namespace: "team", ValueFiles: c.files, Values: json.RawMessage(c.inline)}
			got, err := helm.Template(parse(txtar.Parse([]byte(small))).tree, p)
			if err != nil {
				t.Fatal(err)
			}
			want := []any{map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap",
				"metadata": map[string]any{"name": "rel", "namespace": "team"},
				"data":     map[string]any{"a": c.a, "b": c.b},
			}}
			if diff := cmp.Diff(want, contents(t, got)); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
			if got[0].File != "chart/templates/cm.yaml" {
				t.Errorf("file is %q", got[0].File)
			}
		})
	}
}

// pack makes a chart archive of files.
func pack(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for name, data := range files {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPackedSubchart(t *testing.T) {
	meta := []byte("apiVersion: v2\nname: sub\nversion: 1.0.0\n")
	template := []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sub}\n")
	cases := map[string]struct {
		files map[string][]byte
		want  string
	}{
		"is rendered":                   {map[string][]byte{"sub/Chart.yaml": meta, "sub/templates/a.yaml": template}, ""},
		"with a path out of it":         {map[string][]byte{"sub/../../etc/passwd": template}, "parent directory"},
		"with an absolute path":         {map[string][]byte{"sub//etc/passwd": template}, "absolute path"},
		"that grows beyond all measure": {map[string][]byte{"sub/Chart.yaml": meta, "sub/big": make([]byte, 33<<20)}, "larger than the maximum size"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{
				"chart/Chart.yaml":     {Data: []byte("apiVersion: v2\nname: parent\nversion: 1.0.0\n")},
				"chart/charts/sub.tgz": {Data: pack(t, c.files)},
			}
			got, err := helm.Template(tree, helm.Params{Path: "chart", ReleaseName: "rel"})
			switch {
			case c.want == "" && (err != nil || len(got) != 1):
				t.Errorf("got %d objects and error %v, want one object", len(got), err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
		})
	}
}
