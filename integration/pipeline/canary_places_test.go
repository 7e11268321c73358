package pipeline

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// hiding is an Application with secrets somewhere in it.
type hiding struct {
	files   map[string]string // of its directory
	spec    func(*v1alpha1.Application)
	secrets map[string]map[string]any // Secrets of the namespace, by name
	fails   bool
	manual  bool // it is never synced, only asked what it would do
}

// birds makes canaries and keeps them.
type birds struct{ all map[string]string }

// new is a canary without a character that any format escapes.
func (b *birds) new(name string) string {
	value := fmt.Sprintf("Kanari-%x", sha256.Sum256([]byte(name)))[:28]
	b.all[name] = value
	return value
}

// odd is one that YAML, JSON and URLs have to escape. It stands in single quotes.
func (b *birds) odd(name string) string {
	value := b.new(name) + `/+<&>"%`
	b.all[name] = value
	return value
}

func (b *birds) keep(name, value string) string {
	b.all[name] = value
	return value
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func secretOf(name, rest string) map[string]string {
	return map[string]string{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + "}\n" + rest}
}

// inManifests are secrets that stand in the source as they are.
func inManifests(b *birds) map[string]hiding {
	return map[string]hiding{
		"drifts":                  {files: secretOf("drifts", "data: {k: "+encoded(b.odd("data of a manifest"))+"}\nstringData: {l: '"+b.odd("stringData of a manifest")+"'}\n")},
		"manual":                  {files: secretOf("manual", "stringData: {k: "+b.new("of what waits for a person")+"}\n"), manual: true},
		"immutable":               {files: secretOf("immutable", "immutable: true\nstringData: {k: "+b.new("immutable, at first")+"}\n")},
		"too-large":               {files: secretOf("too-large", "stringData: {k: "+b.new("too large")+strings.Repeat("x", 1<<20)+"}\n"), fails: true},
		"no-base64":               {files: secretOf("no-base64", "data: {k: "+b.odd("no Base64")+"}\n"), fails: true},
		"a-list":                  {files: secretOf("a-list", "stringData: {k: ["+b.new("in a list")+"]}\n"), fails: true},
		"a-string":                {files: secretOf("a-string", "data: "+b.new("in place of a map")+"\n"), fails: true},
		"a-number":                {files: secretOf("a-number", "stringData: {k: {"+b.new("as a key of a map")+": 5}}\n"), fails: true},
		"no-certificate":          {files: secretOf("no-certificate", "type: kubernetes.io/tls\nstringData: {tls.key: "+b.new("of TLS")+"}\n"), fails: true},
		"no-docker":               {files: secretOf("no-docker", "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: '{\"auths\": "+b.new("of Docker")+"'}\n"), fails: true},
		"no-key":                  {files: secretOf("no-key", "stringData: {\"not a key!\": "+b.new("under a bad key")+"}\n"), fails: true},
		"unknown-field":           {files: secretOf("unknown-field", "datum: {k: "+b.new("in an unknown field")+"}\n"), fails: true},
		"broken-yaml":             {files: secretOf("broken-yaml", "stringData: {k: \""+b.new("before broken YAML")+"\n"), fails: true},
		"twice":                   {files: secretOf("twice", "stringData: {k: "+b.new("first of two")+", k: "+b.new("second of two")+"}\n"), fails: true},
		"quoted-secret":           {files: secretOf("quoted-secret", "stringData: {k: "+b.new("of a Secret that a policy quotes")+"}\n"), fails: true},
		"quoted-secret-in-a-list": {files: map[string]string{"a.yaml": "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Secret, metadata: {name: quoted-in-a-list}, stringData: {k: " + b.new("of a List") + "}}]\n"}, fails: true},
		"cel-health": {
			files: secretOf("cel-health", "stringData: {k: "+b.new("that a health rule reads")+"}\n"), fails: true,
			spec: func(a *v1alpha1.Application) {
				a.Spec.Health = []v1alpha1.HealthRule{{APIVersion: "v1", Kind: "Secret", Failed: "object.data.k != ''"}}
			},
		},
		"cel-ignore": {
			files: secretOf("cel-ignore", "stringData: {k: "+b.new("that an ignore rule reads")+"}\n"),
			spec: func(a *v1alpha1.Application) {
				a.Spec.Ignore = []v1alpha1.IgnoreRule{{Kind: "Secret", Expressions: []string{"object.?data.?k.orValue('/x')"}}}
			},
		},
		// The control: what is no secret is told everywhere.
		"control": {files: map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: quoted-control}\ndata: {value: " + control + "}\n"}, fails: true},
	}
}

// control stands where secrets must not: what does not show it shows nothing.
const control = "Kanari-in-plain-sight"

// inRenders are secrets that a renderer reads, and what it says of them.
func inRenders(t *testing.T, b *birds) map[string]hiding {
	chart := func(template, values string) map[string]string {
		return map[string]string{"Chart.yaml": hostileChart, "templates/a.yaml": template, "values.yaml": values}
	}
	password := func(name string) string { return "password: '" + b.odd(name) + "'\n" }
	all := map[string]hiding{
		"chart":            {files: chart("apiVersion: v1\nkind: Secret\nmetadata: {name: chart}\nstringData: {k: {{ .Values.password | quote }}}\n", password("value of a chart"))},
		"chart-list":       {files: chart("apiVersion: v1\nkind: Secret\nmetadata: {name: chart}\nstringData: {k: [{{ .Values.password | quote }}]}\n", password("value of a bad chart")), fails: true},
		"chart-fail":       {files: chart(`{{ fail (printf "bad %s" .Values.password) }}`, password("in fail")), fails: true},
		"chart-base64":     {files: chart(`{{ fail (printf "bad %s" (b64enc .Values.password)) }}`, password("in fail, as Base64")), fails: true},
		"chart-include":    {files: chart(`{{ include .Values.password . }}`, password("as the name of a template")), fails: true},
		"chart-index":      {files: chart(`{{ index .Values.password "x" }}`, password("indexed")), fails: true},
		"chart-tpl":        {files: chart(`{{ tpl .Values.password . }}`, "password: '{{ "+b.new("as a template")+" }}'\n"), fails: true},
		"chart-regex":      {files: chart(`{{ mustRegexMatch .Values.password "x" }}`, "password: '("+b.new("as a regular expression")+"'\n"), fails: true},
		"chart-time":       {files: chart(`{{ mustToDate "2006" .Values.password }}`, password("as a time")), fails: true},
		"chart-yaml":       {files: chart("a: [{{ .Values.password }}\nb: {{ .Values.password }}\n", "password: "+b.new("in broken output")+"\n"), fails: true},
		"chart-schema":     {files: merge(chart(goodObject, password("against a schema")), "values.schema.json", `{"properties": {"password": {"enum": ["a"], "pattern": "^a$", "type": "integer"}}}`), fails: true},
		"kustomize":        {files: map[string]string{"kustomization.yaml": "secretGenerator: [{name: kustomize, literals: ['k=" + b.odd("literal of a generator") + "'], files: [f.txt], envs: [e.env]}]\n", "f.txt": b.new("file of a generator"), "e.env": "e=" + b.new("env of a generator") + "\n"}},
		"kustomize-env":    {files: map[string]string{"kustomization.yaml": "secretGenerator: [{name: x, envs: [e.env]}]\n", "e.env": "no key = " + b.new("in a bad env") + "\n=" + b.new("without a key") + "\n"}, fails: true},
		"kustomize-test":   {files: map[string]string{"kustomization.yaml": "resources: [a.yaml]\npatches: [{target: {kind: Secret}, patch: '[{\"op\": \"test\", \"path\": \"/stringData/k\", \"value\": \"wrong\"}]'}]\n", "a.yaml": secretOf("x", "stringData: {k: "+b.new("that a patch tests")+"}\n")["a.yaml"]}, fails: true},
		"kustomize-patch":  {files: map[string]string{"kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml}]\n", "a.yaml": goodObject, "p.yaml": secretOf("nowhere", "stringData: {k: "+b.new("of a patch for nothing")+"}\n")["a.yaml"]}, fails: true},
		"kustomize-unread": {files: map[string]string{"kustomization.yaml": "secretGenerator: [{name: x, literals: [" + b.new("without an equals sign") + "]}]\n"}, fails: true},
	}
	encrypted := func(name string) string { return readTestdata(t, "encrypted/"+name) }
	key := map[string]map[string]any{"sops": {"age.agekey": readTestdata(t, "keys/test.agekey")}}
	decrypting := func(a *v1alpha1.Application) {
		a.Spec.Source.Decryption = &v1alpha1.Decryption{SecretRef: v1alpha1.LocalReference{Name: "sops"}}
	}
	valueFile := func(a *v1alpha1.Application) {
		decrypting(a)
		a.Spec.Source.Helm = &v1alpha1.HelmSource{ValueFiles: []string{"values.json"}}
	}
	b.keep("value of a SOPS file", "canary-5ecret-yaml")
	b.keep("value of a SOPS file of JSON", "canary-5ecret-json")
	for line := range strings.Lines(readTestdata(t, "keys/test.agekey")) {
		if strings.HasPrefix(line, "AGE-SECRET-KEY-") {
			b.keep("key of SOPS", strings.TrimSpace(line))
		}
	}
	all["sops"] = hiding{files: map[string]string{"a.yaml": encrypted("secret.yaml")}, spec: decrypting, secrets: key}
	all["sops-mac"] = hiding{files: map[string]string{"a.yaml": strings.Replace(encrypted("secret.yaml"), "name: db", "name: other", 1)}, spec: decrypting, fails: true}
	text := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {value: {{ index .Values.list 0 | quote }}}\n"
	}
	all["sops-values"] = hiding{files: merge(chart(text("sops-drifts"), ""), "values.json", encrypted("values.json")), spec: valueFile}
	all["sops-quoted"] = hiding{files: merge(chart(text("quoted-sops"), ""), "values.json", encrypted("values.json")), spec: valueFile, fails: true}
	all["sops-fail"] = hiding{files: merge(chart(`{{ fail (index .Values.list 0) }}`, ""), "values.json", encrypted("values.json")), spec: valueFile, fails: true}
	all["sops-jsonnet"] = hiding{files: map[string]string{"main.jsonnet": "error 'bad ' + (import 'values.json').list[0]", "values.json": encrypted("values.json")}, spec: decrypting, fails: true}
	return all
}

func readTestdata(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../pkg/render/decrypt/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inVariables are secrets that are substituted.
func inVariables(b *birds) map[string]hiding {
	secret := func(name string) map[string]map[string]any {
		return map[string]map[string]any{"vars-" + name: {"password": b.odd("variable of " + name), "plain": b.new("plain variable of " + name)}}
	}
	from := func(name string) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) {
			a.Spec.Source.Substitute = &v1alpha1.Substitution{From: []v1alpha1.SubstitutionFrom{{Kind: "Secret", Name: "vars-" + name}}}
		}
	}
	all := map[string]hiding{
		"var-drifts":    {files: map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: var-drifts}\ndata: {value: 'user:${password}@host'}\n"}},
		"var-manual":    {files: map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: var-manual}\ndata: {value: '${password}'}\n"}, manual: true},
		"var-secret":    {files: secretOf("var-secret", "stringData: {k: '${password}'}\n")},
		"var-quoted":    {files: map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: quoted-variable}\ndata: {value: 'user:${password}@host'}\n"}, fails: true},
		"var-invalid":   {files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: var-invalid}\nspec: {ports: [{port: 80}], clusterIP: '${plain}'}\n"}, fails: true},
		"var-type":      {files: map[string]string{"a.yaml": strings.Replace(deployment("var-type", "example.com/x:1", 0), "replicas: 0", "replicas: '${plain}'", 1)}, fails: true},
		"var-label":     {files: map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: var-label, labels: {x: '${password}'}}\n"}, fails: true},
		"var-unclosed":  {files: secretOf("var-unclosed", "stringData: {k: '"+b.new("beside an unclosed variable")+" ${password'}\n"), fails: true},
		"var-undefined": {files: secretOf("var-undefined", "stringData: {k: '"+b.new("beside an unknown variable")+" ${password} ${unheard}'}\n"), fails: true},
	}
	for name, h := range all {
		h.spec, h.secrets = from(name), secret(name)
		all[name] = h
	}
	return all
}

// inCredentials are secrets that open sources, shown to servers that tell everybody.
func inCredentials(t *testing.T, b *birds, guarded *gitserver.Repo) map[string]hiding {
	echo := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="echo"`)
		}
		user, password, _ := r.BasicAuth()
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"errors": [{"code": "DENIED", "message": "%[1]s with %[2]s: %[3]s"}]} %[1]s:%[2]s`, user, password, r.Header.Get("Authorization"))
	})
	host := strings.TrimPrefix(echo, "http://")
	at := func(repo, secret string) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) {
			a.Spec.Source = v1alpha1.Source{Repo: repo, Path: ".", SecretRef: &v1alpha1.LocalReference{Name: secret}}
		}
	}
	known := "[127.0.0.1]:1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"
	all := map[string]hiding{
		"git-wrong":       {spec: at(guarded.URL(), "git-wrong"), secrets: map[string]map[string]any{"git-wrong": {"username": b.new("user of Git"), "password": b.odd("wrong password of Git")}}},
		"git-bearer":      {spec: at(guarded.URL(), "git-bearer"), secrets: map[string]map[string]any{"git-bearer": {"bearerToken": b.new("bearer token of Git")}}},
		"git-echo":        {spec: at(echo+"/x.git", "git-echo"), secrets: map[string]map[string]any{"git-echo": {"username": "u", "password": b.odd("password for a server that tells")}}},
		"git-echo-bearer": {spec: at(echo+"/x.git", "git-echo-bearer"), secrets: map[string]map[string]any{"git-echo-bearer": {"bearerToken": b.new("token for a server that tells")}}},
		"ssh-garbage":     {spec: at("ssh://git@127.0.0.1:1/x.git", "ssh-garbage"), secrets: map[string]map[string]any{"ssh-garbage": {"identity": "-----BEGIN OPENSSH PRIVATE KEY-----\n" + b.new("key of SSH that is none") + "\n-----END OPENSSH PRIVATE KEY-----\n", "known_hosts": known}}},
		"ssh-refused":     {spec: at("ssh://git@127.0.0.1:1/x.git", "ssh-refused"), secrets: map[string]map[string]any{"ssh-refused": {"identity": sshKey(t, b), "password": b.new("passphrase"), "known_hosts": known}}},
		"app-garbage":     {spec: at(echo+"/x.git", "app-garbage"), secrets: map[string]map[string]any{"app-garbage": {"githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": b.new("key of a GitHub App")}}},
		"oci-echo":        {spec: at("oci://"+host+"/x", "oci-echo"), secrets: map[string]map[string]any{"oci-echo": {"username": "u", "password": b.odd("password of a registry")}}},
		"oci-garbage":     {spec: at("oci://"+host+"/x", "oci-garbage"), secrets: map[string]map[string]any{"oci-garbage": {".dockerconfigjson": `{"auths": {"` + host + `": {"auth": "` + b.new("login of Docker") + `"}}`}}},
		"key-garbage": {files: secretOf("x", "stringData: {a: b}\n"), secrets: map[string]map[string]any{"key-garbage": {"x.agekey": "AGE-SECRET-KEY-1" + strings.ToUpper(b.new("key of age that is none"))}}, spec: func(a *v1alpha1.Application) {
			a.Spec.Source.Decryption = &v1alpha1.Decryption{SecretRef: v1alpha1.LocalReference{Name: "key-garbage"}}
		}},
		"helm-echo": {files: map[string]string{"values.yaml": "a: b\n"}, secrets: map[string]map[string]any{"helm-echo": {"username": "u", "password": b.odd("password of a Helm repository")}}, spec: func(a *v1alpha1.Application) {
			a.Spec.Source.Helm = &v1alpha1.HelmSource{Chart: "x", Repo: echo, Version: "1.0.0", SecretRef: &v1alpha1.LocalReference{Name: "helm-echo"}}
		}},
	}
	for name, h := range all {
		h.fails = true
		all[name] = h
	}
	return all
}

// sshKey is a private key, a line of which is a canary.
func sshKey(t *testing.T, b *birds) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(block))
	b.keep("key of SSH", strings.Split(text, "\n")[3])
	return text
}
