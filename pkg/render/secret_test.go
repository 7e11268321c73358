package render_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/decrypt"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
)

// encrypted is a file that the sops library has encrypted.
func encrypted(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("decrypt/testdata/encrypted", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func readKeys(t testing.TB) decrypt.Keys {
	t.Helper()
	data, err := os.ReadFile("decrypt/testdata/keys/test.agekey")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := decrypt.ParseKeys(map[string][]byte{"k.agekey": data})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// withSecrets has files of SOPS wherever a render may read one. They lie outside the
// source path where that is possible, and one behind a symlink.
func withSecrets(t testing.TB) (files, map[string]v1alpha1.Source) {
	f := files{
		"plain/secret.yaml":      "-> ../secrets/secret.yaml",
		"secrets/secret.yaml":    encrypted(t, "secret.yaml"),
		"secrets/values.json":    encrypted(t, "values.json"),
		"k/kustomization.yaml":   "secretGenerator: [{name: g, envs: [app.env], files: [blob.bin, any=any.yaml]}]\nresources: [secret.yaml]\npatches: [{path: patch.yaml}]\n",
		"k/secret.yaml":          encrypted(t, "secret.yaml"),
		"k/app.env":              encrypted(t, "app.env"),
		"k/blob.bin":             encrypted(t, "blob.bin"),
		"k/any.yaml":             encrypted(t, "everything.yaml"),
		"k/patch.yaml":           "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {more: x}\n",
		"chart/Chart.yaml":       "apiVersion: v2\nname: c\nversion: 1.0.0\n",
		"chart/files/any.ini":    encrypted(t, "app.ini"),
		"chart/templates/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: {{ index .Values.list 0 | quote }}, b: {{ .Files.Get \"files/any.ini\" | quote }}}\n",
		"j/main.jsonnet":         "{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, stringData: { a: (import '../secrets/values.json').list[0], b: importstr '../secrets/secret.yaml' } }\n",
	}
	return f, map[string]v1alpha1.Source{
		"plain": {Path: "plain"},
		"k":     {Path: "k"},
		"chart": {Path: "chart", Helm: &v1alpha1.HelmSource{ValueFiles: []string{"../secrets/values.json"}}},
		"j":     {Path: "j"},
	}
}

func TestEveryRendererReadsFilesOfSOPS(t *testing.T) {
	r := newRenderer(t, render.Options{})
	f, sources := withSecrets(t)
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, want := range map[string][]string{
		"plain": {"canary-5ecret-yaml"},
		"k":     {"canary-5ecret-yaml", encode("canary-5ecret-env="), encode("canary-5ecret-binary\x00\xff\nline"), `"any":"`},
		"chart": {"canary-5ecret-json", "canary-5ecret-ini"},
		"j":     {"canary-5ecret-json", "canary-5ecret-yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			q := render.Request{Tree: f.tree(t), Source: sources[name], Name: "web", Keys: readKeys(t)}
			q.Source.Decryption = &v1alpha1.Decryption{}
			result, err := r.Render(t.Context(), q)
			got := text(t, result, err)
			for _, w := range want {
				if !strings.Contains(got, w) {
					t.Errorf("no %q in\n%s", w, got)
				}
			}
			if !strings.Contains(strings.Join(result.Secrets, "\n"), "canary-5ecret") {
				t.Error("the result does not say what is secret in it")
			}
			again, err := r.Render(t.Context(), q)
			if text(t, again, err) != got {
				t.Error("the second render differs")
			}
		})
	}
}

func TestCiphertextIsRefusedByName(t *testing.T) {
	r := newRenderer(t, render.Options{})
	f, sources := withSecrets(t)
	value := "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]"
	own := map[string]string{
		"a string":                    configMap + "data: {v: '" + value + "'}\n",
		"a part of a string":          configMap + "data: {v: 'password=" + value + "'}\n",
		"a list":                      "apiVersion: x/v1\nkind: X\nmetadata: {name: a}\nspec: {l: [{v: '" + value + "'}]}\n",
		"an annotation":               "apiVersion: x/v1\nkind: X\nmetadata: {name: a, annotations: {v: '" + value + "'}}\n",
		"data of a Secret":            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {v: " + base64.StdEncoding.EncodeToString([]byte("x"+value)) + "}\n",
		"binary data of a ConfigMap":  configMap + "binaryData: {v: " + base64.StdEncoding.EncodeToString([]byte(value)) + "}\n",
		"the block of SOPS":           configMap + "sops: {mac: x}\n",
		"what a variable stands for":  configMap + "data: {v: '${v}'}\n",
		"encrypted, though with keys": encrypted(t, "secret.yaml") + "---\n" + configMap + "data: {v: '" + value + "'}\n",
	}
	fields := map[string]string{
		"a string": "ConfigMap a: data.v: ", "a part of a string": "data.v: ", "a list": "X a: spec.l[0].v: ", "an annotation": "metadata.annotations.v: ",
		"data of a Secret": "Secret a: data.v: ", "binary data of a ConfigMap": "binaryData.v: ", "the block of SOPS": "ConfigMap a: sops: ",
		"what a variable stands for": "data.v: ",
		"plain":                      "Secret db: ", "k": "Secret ", "chart": "Secret s: stringData.a: ", "j": "Secret s: stringData.a: ",
	}
	check := func(t *testing.T, q render.Request, field string) {
		t.Helper()
		result, err := r.Render(t.Context(), q)
		class, _ := fault.ClassOf(err)
		if err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), "encrypted by SOPS and was not decrypted") || class != fault.Permanent || result.Objects.Len() > 0 {
			t.Errorf("error is %v (%s), want %q in it", err, class, field)
		}
	}
	for name, text := range own {
		t.Run(name, func(t *testing.T) {
			q := render.Request{Tree: files{"a.yaml": text}.tree(t), Source: v1alpha1.Source{Substitute: &v1alpha1.Substitution{}}, Variables: substitute.Variables{"v": {Text: value}}}
			if field, ok := fields[name]; ok {
				check(t, q, field)
				return
			}
			q.Keys = readKeys(t) // a second document that SOPS has not signed
			if _, err := r.Render(t.Context(), q); err == nil || !strings.Contains(err.Error(), "a.yaml: decrypt SOPS file") {
				t.Errorf("error is %v", err)
			}
		})
	}
	for name, source := range sources {
		t.Run("without keys, "+name, func(t *testing.T) {
			check(t, render.Request{Tree: f.tree(t), Source: source, Name: "web"}, fields[name])
		})
	}
}

// TestNoErrorTellsASecret fails renders in every way that has quoted its input, with
// canaries in encrypted files and in variables that come from Secrets.
func TestNoErrorTellsASecret(t *testing.T) {
	r := newRenderer(t, render.Options{})
	secret := encrypted(t, "secret.yaml")
	values := encrypted(t, "values.json")
	chart := files{"Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n", "values.json": values}
	jsonnet := func(text string) files {
		return files{"main.jsonnet": text + "\n", "values.json": values, "secret.yaml": secret, "config.txt": encrypted(t, "config.txt")}
	}
	template := func(text string) files { return chart.with("templates/a.yaml", text) }
	helm := v1alpha1.Source{Helm: &v1alpha1.HelmSource{ValueFiles: []string{"values.json"}}}
	evaluated := v1alpha1.Source{Jsonnet: &v1alpha1.JsonnetSource{}}
	withVariables := v1alpha1.Source{Substitute: &v1alpha1.Substitution{}}
	cases := map[string]struct {
		files  files
		source v1alpha1.Source
		want   string
	}{
		"an error that Jsonnet is told to make": {jsonnet("error 'x ' + (import 'values.json').list[0]"), evaluated, "main.jsonnet:1"},
		"one with all of a file":                {jsonnet("error importstr 'secret.yaml'"), evaluated, "main.jsonnet:1"},
		"one with it in Base64":                 {jsonnet("error std.base64((import 'values.json').list[0])"), evaluated, "main.jsonnet:1"},
		"a file in another form":                {jsonnet("error std.toString({ a: importstr 'config.txt' })"), evaluated, "main.jsonnet:1"},
		"a part of a file":                      {jsonnet("error (import 'config.txt').password"), evaluated, "main.jsonnet:1"},
		"a long one, cut":                       {jsonnet("error 'x' + (import 'config.txt').long"), evaluated, "main.jsonnet:1"},
		"a long one, cut in a chart":            {template(`{{ fail (.Files.Get "config.txt" | replace "\n" " ") }}`).with("config.txt", encrypted(t, "config.txt")), helm, "templates/a.yaml"},
		"a middle of one":                       {jsonnet("error 'x' + std.substr((import 'config.txt').long, 700, 300)"), evaluated, "main.jsonnet:1"},
		"a part with blanks":                    {jsonnet("error (import 'config.txt').user"), evaluated, "main.jsonnet:1"},
		"a failed assertion":                    {jsonnet("assert false : std.toString(import 'values.json'); {}"), evaluated, "main.jsonnet:1"},
		"a secret that is no object":            {jsonnet("(import 'values.json').list[0]"), evaluated, "here stands a string"},
		"a field that does not exist":           {jsonnet("{}[(import 'values.json').list[0]]"), evaluated, "main.jsonnet:1"},
		"a secret as a name":                    {jsonnet("{apiVersion: 'v1', kind: 'X', metadata: {name: (import 'values.json').list[0] + '/'}}"), evaluated, "must be a string without /"},
		"two objects of a secret name":          {jsonnet("local o = {apiVersion: 'v1', kind: 'X', metadata: {name: (import 'values.json').list[0]}}; [o, o]"), evaluated, "the same object"},
		"a template that fails":                 {template(`{{ fail (index .Values.list 0) }}`), helm, "templates/a.yaml"},
		"a template that reads a number":        {template(`{{ index .Values.list 0 | int64 | mustRegexMatch "(" }}{{ index .Values.list 0 | mustToDate "x" }}`), helm, ""},
		"a template that gives no YAML":         {template("a: {{ index .Values.list 0 }}: b\n"), helm, "templates/a.yaml"},
		"a patch that does not fit":             {files{"kustomization.yaml": "resources: [s.yaml]\npatches: [{patch: '[{op: test, path: /stringData/password, value: x}]', target: {kind: Secret}}]\n", "s.yaml": secret}, v1alpha1.Source{}, "kustomization"},
		"a replacement of a secret":             {files{"kustomization.yaml": "resources: [s.yaml]\nreplacements: [{source: {kind: Secret, fieldPath: stringData.password}, targets: [{select: {kind: Secret}, fieldPaths: [metadata.labels.none.x]}]}]\n", "s.yaml": secret}, v1alpha1.Source{}, "kustomization"},
		"a file changed by hand":                {files{"a.yaml": strings.Replace(secret, `tier: "1"`, `tier: "2"`, 1)}, v1alpha1.Source{}, "MAC does not match"},
		"a variable as a name":                  {files{"a.yaml": "apiVersion: v1\nkind: X\nmetadata: {name: 'a'}\n---\napiVersion: v1\nkind: X\nmetadata: {name: '${s}'}\n"}, withVariables, "must be a string without /"},
		"a variable in two names":               {files{"a.yaml": "apiVersion: v1\nkind: X\nmetadata: {name: '${t}'}\n---\napiVersion: v1\nkind: X\nmetadata: {name: '${t}'}\n"}, withVariables, "the same object"},
		"a variable as a kind":                  {files{"a.yaml": "apiVersion: v1\nkind: '${t}'\nmetadata: {name: a}\n---\napiVersion: v1\nkind: '${t}'\nmetadata: {name: a}\n"}, withVariables, "the same object"},
		"a variable of ciphertext":              {files{"a.yaml": configMap + "data: {a: '${c}'}\n"}, withVariables, "encrypted by SOPS"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			q := render.Request{Tree: c.files.tree(t), Source: c.source, Name: "web", Keys: readKeys(t), Variables: substitute.Variables{
				"s": {Text: "canary-5ecret/var", Secret: true}, "t": {Text: "canary-5ecret-var", Secret: true}, "c": {Text: "canary-5ecret ENC[AES256_GCM,", Secret: true},
			}}
			_, err := r.Render(t.Context(), q)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %v, want %q in it", err, c.want)
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Errorf("error is %s", class)
			}
			for _, canary := range []string{"canary", "5ecret", base64.StdEncoding.EncodeToString([]byte("canary-5ecret-"))[:12]} {
				if strings.Contains(err.Error(), canary) {
					t.Errorf("the error tells %q: %v", canary, err)
				}
			}
		})
	}
}
