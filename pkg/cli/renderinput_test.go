package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

const substituted = `
apiVersion: plumb.dev/v1alpha1
kind: Application
metadata: {name: web, namespace: team-a}
spec:
  source:
    repo: "https://github.com/acme/config"
    path: apps/web
    substitute:
      vars: {region: us, color: red}
      from: [{kind: ConfigMap, name: shared}, {kind: Secret, name: own}, {kind: ConfigMap, name: maybe, optional: true}]
`

const variables = `
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {color: blue, size: large}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: own, namespace: team-a}, data: {password: Y2FuYXJ5}, stringData: {user: admin}}
`

const withVariables = `
-- apps/web/web.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {all: "${region} ${color} ${size} ${password} ${user}"}
`

func TestRenderTakesVariablesFromFiles(t *testing.T) {
	dir := tree(t, withVariables)
	for sentence, c := range map[string]struct {
		application, file string
		args              []string
		code              int
		want              string
	}{
		"of the spec over those of files":      {substituted, variables, nil, 0, "all: us red large canary admin\n"},
		"of the command line over all":         {substituted, variables, []string{"--var", "color=green=ish", "--var", "size=s"}, 0, "all: us green=ish s canary admin\n"},
		"and tells which flag gives a missing": {substituted, "", nil, 1, "spec.source.substitute.from[0]: ConfigMap team-a/shared is in the cluster; give it in a file with --vars-from"},
		"but not of another namespace":         {substituted, strings.Replace(variables, "{name: shared}", "{name: shared, namespace: team-b}", 1), nil, 1, "is of namespace team-b"},
		"but no other kinds":                   {substituted, "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", nil, 1, "document 1: want a ConfigMap or a Secret"},
		"but no list of values":                {substituted, "apiVersion: v1\nkind: Secret\nmetadata: {name: own}\ndata: [canary]\n", nil, 1, "document 1: want a ConfigMap or a Secret"},
		"but not without substitution":         {application, variables, []string{"--var", "a=b"}, 2, "has no spec.source.substitute"},
		"but none without a name":              {substituted, variables, []string{"--var", "=canary"}, 2, "want name=value"},
	} {
		t.Run(sentence, func(t *testing.T) {
			args := []string{"render", "-f", "-", "--dir", dir}
			if c.file != "" {
				args = append(args, "--vars-from", write(t, "vars.yaml", c.file))
			}
			code, out, errs := plumb(t, nil, c.application, append(args, c.args...)...)
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("exit code %d, want %d; %q is not in:\n%s%s", code, c.code, c.want, out, errs)
			}
			if strings.Contains(errs, "canary") {
				t.Errorf("a secret is told: %s", errs)
			}
		})
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const ofSources = `
apiVersion: plumb.dev/v1alpha1
kind: Application
metadata: {name: web, namespace: team-a}
spec:
  source:
    repo: "https://github.com/acme/config"
    path: apps/web
    helm: {chart: web, repo: "https://charts.example.org", version: 1.0.0, valueFiles: ["$values/web.yaml"]}
  sources: [{name: values, repo: "https://github.com/acme/values"}]
`

const aChart = `
-- Chart.yaml --
apiVersion: v2
name: web
version: 1.0.0
-- values.yaml --
a: default
-- templates/web.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {a: "{{ .Values.a }}"}
`

func TestRenderTakesDirectoriesForSources(t *testing.T) {
	dir, values, chart := tree(t, "-- apps/web/x --\n"), tree(t, "-- web.yaml --\na: mine\n"), tree(t, aChart)
	for sentence, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"for all of them":                 {[]string{"--source", "values=" + values, "--source", "chart=" + chart}, 0, "a: mine\n"},
		"that the Application has":        {[]string{"--source", "others=" + values}, 2, "the Application has no such source, it has values, chart"},
		"that are there":                  {[]string{"--source", "values=/none"}, 1, "open tree: open /none: no such file"},
		"that are named":                  {[]string{"--source", values}, 2, "want name=DIR"},
		"and fetches nothing it must not": {[]string{"--source", "chart=" + chart, "--config", write(t, "plumb.yaml", "git: {sources: [{prefix: \"https://elsewhere.example\", namespaces: [\"*\"]}]}\n")}, 1, "spec.sources[values].repo"},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, out, errs := plumb(t, nil, ofSources, append([]string{"render", "-f", "-", "--dir", dir}, c.args...)...)
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("exit code %d, want %d; %q is not in:\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
}

func TestRenderDecryptsWithKeysOfFiles(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	encrypted := strings.Replace(application, "path: apps/web}", "path: apps/web, decryption: {secretRef: {name: keys}}}", 1)
	for sentence, c := range map[string]struct {
		application, keys string
		code              int
		want              string
	}{
		"that are given":            {encrypted, key.String() + "\n", 0, "name: web\n"},
		"and asks for missing ones": {encrypted, "", 1, "Secret team-a/keys is in the cluster; give its keys with --keys"},
		"that are some":             {encrypted, "no key\n", 1, "spec.source.decryption.secretRef"},
		"where they are wanted":     {application, key.String(), 2, "has no spec.source.decryption"},
	} {
		t.Run(sentence, func(t *testing.T) {
			args := []string{"render", "-f", "-", "--dir", tree(t, plain)}
			if c.keys != "" {
				args = append(args, "--keys", write(t, "keys.txt", c.keys))
			}
			code, out, errs := plumb(t, nil, c.application, args...)
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("exit code %d, want %d; %q is not in:\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
}

// A file of package decrypt, whatever reads it.
func TestRenderDecryptsWhatARendererReads(t *testing.T) {
	const testdata = "../render/decrypt/testdata/"
	encrypted, err := os.ReadFile(testdata + "encrypted/app.env")
	if err != nil {
		t.Fatal(err)
	}
	const line = "PASSWORD=canary-5ecret-env="
	dir := tree(t, "-- apps/web/kustomization.yaml --\nconfigMapGenerator: [{name: web, files: [app.env], options: {disableNameSuffixHash: true}}]\n-- apps/web/app.env --\n"+string(encrypted))
	decrypting := strings.Replace(application, "path: apps/web}", "path: apps/web, decryption: {secretRef: {name: keys}}}", 1)
	code, out, errs := plumb(t, nil, decrypting, "render", "-f", "-", "--dir", dir, "--keys", testdata+"keys/test.agekey")
	if code != 0 || !strings.Contains(out, line) || strings.Contains(out, "ENC[") {
		t.Errorf("exit code %d; %q is not in:\n%s%s", code, line, out, errs)
	}
}
