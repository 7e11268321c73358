package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// tree writes the files of a txtar archive to a directory.
func tree(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const application = `
apiVersion: plumb.dev/v1alpha1
kind: Application
metadata: {name: web, namespace: team-a}
spec:
  source: {repo: "https://github.com/acme/config", path: apps/web}
  destination: {namespace: live}
`

const plain = `
-- apps/web/role.yaml --
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
-- apps/web/web.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {a: "1"}
---
apiVersion: example.org/v1
kind: Widget
metadata: {name: w}
`

func TestRenderPrintsWhatWouldBeApplied(t *testing.T) {
	code, out, errs := plumb(t, nil, application, "render", "-f", "-", "--dir", tree(t, plain))
	if code != 0 {
		t.Fatal(errs)
	}
	const marks = `  annotations:
    plumb.dev/application: team-a/web
  labels:
    plumb.dev/owner: a6d6889313c23313
`
	want := `---
# apps/web/role.yaml:1: ClusterRole reader
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
` + marks + `  name: reader
---
# apps/web/web.yaml:1: ConfigMap live/web
apiVersion: v1
data:
  a: "1"
kind: ConfigMap
metadata:
` + marks + `  name: web
  namespace: live
---
# apps/web/web.yaml:6: Widget live/w
apiVersion: example.org/v1
kind: Widget
metadata:
` + marks + `  name: w
  namespace: live
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("plumb: Widget of example.org is not known here and taken as namespaced\n", errs); diff != "" {
		t.Error(diff)
	}
}

func TestRenderRunsKustomizeInAChild(t *testing.T) {
	code, out, errs := plumb(t, nil, application, "render", "-f", "-", "--dir", tree(t, `
-- apps/web/kustomization.yaml --
namePrefix: my-
configMapGenerator:
- name: web
  literals: [a=1]
  options: {disableNameSuffixHash: true}
`))
	if code != 0 || !strings.Contains(out, "name: my-web\n  namespace: live\n") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestRenderNamesThePlaceOfWhatIsWrong(t *testing.T) {
	for sentence, c := range map[string]struct{ application, files, want string }{
		"an unknown field":       {strings.Replace(application, "path:", "paht:", 1), plain, `unknown field "spec.source.paht"`},
		"another kind":           {"apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", plain, "want apiVersion plumb.dev/v1alpha1, kind Application"},
		"another kind with data": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\n", plain, "want apiVersion plumb.dev/v1alpha1, kind Application"},
		"no object":              {"just a text\n", plain, "want apiVersion plumb.dev/v1alpha1, kind Application"},
		"a second document":      {application + "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", plain, "want one YAML document"},
		"no name":                {"apiVersion: plumb.dev/v1alpha1\nkind: Application\n", plain, "want apiVersion plumb.dev/v1alpha1, kind Application and a metadata.name"},
		"a path that is missing": {application, "-- x --\n", "apps/web"},
		"broken YAML":            {application, "-- apps/web/x.yaml --\na: b\n\tc: d\n", "apps/web/x.yaml:2"},
		"an object twice":        {application, plain + "-- apps/web/z.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n", "apps/web/z.yaml:1: ConfigMap"},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, out, errs := plumb(t, nil, c.application, "render", "-f", "-", "--dir", tree(t, c.files))
			if code != 1 || !strings.Contains(errs, c.want) || out != "" {
				t.Errorf("exit code %d, %q is not in:\n%s%s", code, c.want, out, errs)
			}
		})
	}
}

func TestRenderFollowsNoLinkOutOfTheDirectory(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(outside, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stolen}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := tree(t, plain)
	if err := os.Symlink(outside, filepath.Join(dir, "apps/web/link.yaml")); err != nil {
		t.Fatal(err)
	}
	code, out, errs := plumb(t, nil, application, "render", "-f", "-", "--dir", dir)
	if code != 1 || strings.Contains(out, "stolen") || !strings.Contains(errs, "link.yaml") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}
