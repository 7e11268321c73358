package pipeline

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// attack is a hostile source: a directory of a shared repository, named by its
// sentence, or what the Application asks for.
type attack struct {
	files map[string]string
	spec  func(*v1alpha1.Application)
	says  []string // all of them stand in the message: the place, and what is wrong
	any   []string // one of them, when either limit may end it
	// reason of the Ready condition; empty: RenderFailed.
	reason string
}

const (
	hostileChart = "apiVersion: v2\nname: bad\nversion: 1.0.0\n"
	passwd       = "../../../../../../../../etc/passwd"
	goodObject   = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
)

// spent is what a render child says last.
var spent = []string{"of memory", "of CPU time", "longer than", "recursed too deeply"}

// bombYAML are 10^9 strings by aliases.
func bombYAML() string {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return text
}

func template(text string) map[string]string {
	return map[string]string{"Chart.yaml": hostileChart, "templates/a.yaml": text}
}

func kustomization(text string, more ...string) map[string]string {
	files := map[string]string{"kustomization.yaml": text, "a.yaml": goodObject}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return files
}

func jsonnet(text string) map[string]string { return map[string]string{"main.jsonnet": text} }

func recursing(a *v1alpha1.Application) {
	a.Spec.Source.Directory = &v1alpha1.DirectorySource{Recurse: true}
}

// manifests are attacks on the reader of YAML files and on what walks the tree.
func manifests() map[string]attack {
	chain := map[string]string{"a.yaml": "symlink:l0"}
	for i := range 60 {
		chain[fmt.Sprintf("l%d", i)] = fmt.Sprintf("symlink:l%d", i+1)
	}
	return map[string]attack{
		"aliases that multiply":        {files: map[string]string{"a.yaml": goodObject + bombYAML()}, says: []string{"/a.yaml", "aliases"}},
		"an alias of itself":           {files: map[string]string{"a.yaml": goodObject + "data: &a [*a]\n"}, says: []string{"/a.yaml", "nested"}},
		"brackets that nest":           {files: map[string]string{"a.yaml": goodObject + "data: " + strings.Repeat("[", 20_000) + "\n"}, says: []string{"/a.yaml"}},
		"maps that nest":               {files: map[string]string{"a.yaml": goodObject + "data: " + strings.Repeat("{a: ", 3000) + "\n"}, says: []string{"/a.yaml"}},
		"JSON that nests":              {files: map[string]string{"a.json": strings.Repeat(`{"a":`, 200_000)}, says: []string{"/a.json"}},
		"Lists that nest":              {files: map[string]string{"a.yaml": strings.Repeat("{apiVersion: v1, kind: List, items: [", 200) + strings.Repeat("]}", 200)}, says: []string{"/a.yaml"}},
		"a key twice":                  {files: map[string]string{"a.yaml": goodObject + "kind: Secret\n"}, says: []string{"/a.yaml:4", "kind"}},
		"bytes that are no UTF-8":      {files: map[string]string{"a.yaml": goodObject + "data: {a: \"\xff\xfe\"}\n"}, says: []string{"/a.yaml"}},
		"a generated name":             {files: map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: x-}\n"}, says: []string{"/a.yaml", "generateName"}},
		"directories that nest":        {files: map[string]string{strings.Repeat("d/", 40) + "a.yaml": goodObject}, spec: recursing, says: []string{"nested deeper"}},
		"symlinks in a chain":          {files: chain, says: []string{"/a.yaml", "symlink"}},
		"symlinks in a circle":         {files: map[string]string{"a.yaml": "symlink:b.yaml", "b.yaml": "symlink:a.yaml"}, says: []string{"/a.yaml", "symlink"}},
		"a directory within itself":    {files: map[string]string{"d": "symlink:.", "a.yaml": goodObject}, spec: recursing, says: []string{"/d"}},
		"an absolute symlink":          {files: map[string]string{"a.yaml": "symlink:/etc/passwd"}, says: []string{"/a.yaml"}, reason: "SourceRefused"},
		"a symlink out of the tree":    {files: map[string]string{"a.yaml": "symlink:" + passwd}, says: []string{"/a.yaml"}},
		"a symlink to credentials":     {files: map[string]string{"d": "symlink:/var/run/secrets", "a.yaml": goodObject}, spec: recursing, says: []string{"/d"}, reason: "SourceRefused"},
		"a pointer of Git LFS":         {files: map[string]string{"a.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"}, says: []string{"/a.yaml", "LFS"}, reason: "SourceRefused"},
		"ciphertext without a key":     {files: map[string]string{"a.yaml": goodObject + "data: {a: \"ENC[AES256_GCM,data:AAAA]\"}\n"}, says: []string{"/a.yaml", "SOPS"}},
		"garbage for metadata of SOPS": {files: map[string]string{"a.yaml": goodObject + "sops: {mac: [1, 2], shamir_threshold: 999999999999, version: 3.9.0, lastmodified: never, age: [{recipient: [x], enc: " + strings.Repeat("A", 100_000) + "}]}\n"}, says: []string{"/a.yaml", "sops"}},
	}
}

// kustomizations are attacks on kustomize.
func kustomizations() map[string]attack {
	remote := map[string]string{
		"https":                  "https://example.com/base?ref=v1",
		"an option of git":       "https://example.com/base?ref=--upload-pack=touch+x",
		"an option of ssh":       "ssh://-oProxyCommand=touch%20x/base",
		"git's own form":         "git::https://example.com/base",
		"a file URL":             "file:///etc/passwd",
		"a user at a host":       "git@example.com:acme/base.git",
		"github.com by name":     "github.com/acme/base",
		"an absolute path":       "/etc/passwd",
		"a command as transport": "ext::sh -c touch% x",
	}
	all := map[string]attack{
		"a base out of the tree": {files: kustomization("resources: [" + passwd + "]\n"), says: []string{"kustomization.yaml"}},
		"a remote base of a base": {
			files: kustomization("resources: [base]\n", "base/kustomization.yaml", "resources: [file:///etc/passwd]\n"),
			says:  []string{"base/kustomization.yaml:1", "resources"},
		},
		"a base of itself":         {files: kustomization("resources: [../a-base-of-itself]\n"), says: []string{"a-base-of-itself"}},
		"a schema of its own":      {files: kustomization("openapi: {path: s.json}\nresources: [a.yaml]\n", "s.json", `{"definitions": {}}`), says: []string{"kustomization.yaml:1", "openapi"}},
		"a program as a generator": {files: kustomization("generators: [g.yaml]\n", "g.yaml", "apiVersion: x/v1\nkind: Shell\nmetadata: {name: g, annotations: {config.kubernetes.io/function: \"exec: {path: ./g.sh}\"}}\n"), says: []string{"g.yaml", "not run"}},
		"a container as a transformer": {
			files: kustomization("resources: [a.yaml]\ntransformers: [g.yaml]\n", "g.yaml", "apiVersion: x/v1\nkind: F\nmetadata: {name: g, annotations: {config.kubernetes.io/function: \"container: {image: example.com/f, network: true}\"}}\n"),
			says:  []string{"g.yaml", "not run"},
		},
		"a home for helm":                {files: kustomization("helmGlobals: {configHome: /etc}\nhelmCharts: [{name: x, repo: https://example.com}]\n"), says: []string{"kustomization.yaml:1", "helmGlobals"}},
		"a Secret out of a file":         {files: kustomization("secretGenerator: [{name: x, files: [" + passwd + "]}]\n"), says: []string{"kustomization.yaml"}},
		"a Secret out of the machine":    {files: kustomization("secretGenerator: [{name: x, files: [k=/etc/passwd]}]\n"), says: []string{"kustomization.yaml:1", "secretGenerator"}},
		"aliases in a base":              {files: kustomization("resources: [a.yaml]\n", "a.yaml", goodObject+bombYAML()), says: []string{"aliases-in-a-base"}, any: append(spent, "alias")},
		"aliases in a kustomization":     {files: kustomization(bombYAML()), says: []string{"kustomization"}, any: append(spent, "alias", "unknown field", "invalid")},
		"replacements without number":    {files: kustomization("resources: [a.yaml]\nconfigMapGenerator: [{name: y, envs: [" + passwd + "]}]\n"), says: []string{"kustomization.yaml"}},
		"a component from somewhere":     {files: kustomization("components: [https://example.com/c]\n"), says: []string{"kustomization.yaml:1", "components"}},
		"a patch out of another machine": {files: kustomization("resources: [a.yaml]\npatches: [{path: https://example.com/p.yaml}]\n"), says: []string{"kustomization.yaml:2", "patches"}},
	}
	for name, url := range remote {
		all["a base by "+name] = attack{files: kustomization("resources:\n- a.yaml\n- " + url + "\n"), says: []string{"kustomization.yaml:3", "resources"}}
	}
	return all
}

// charts are attacks on Helm.
func charts() map[string]attack {
	values := func(files ...string) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) { a.Spec.Source.Helm = &v1alpha1.HelmSource{ValueFiles: files} }
	}
	all := map[string]attack{
		"a template that includes itself": {files: template(`{{ define "x" }}{{ include "x" . }}{{ end }}{{ include "x" . }}`), says: []string{"a-template-that-includes-itself"}, any: append(spent, "nested", "render template")},
		"a string without end":            {files: template(`{{ repeat 2000000000 "abcdefgh" }}`), says: []string{"a-string-without-end"}, any: spent},
		"a list without end":              {files: template(`{{ range until 2000000000 }}x{{ end }}`), says: []string{"a-list-without-end"}, any: spent},
		"a name of the network":           {files: template(`{{ getHostByName "example.com" | required "no address" }}`), says: []string{"templates/a.yaml", "no address"}},
		"an object of the cluster":        {files: template(`{{ required "no object" (lookup "v1" "Secret" "kube-system" "").items }}`), says: []string{"templates/a.yaml", "no object"}},
		"a file out of the chart":         {files: template(`{{ required "no file" (.Files.Get "` + passwd + `") }}{{ required "no file" (.Files.Get "/etc/passwd") }}`), says: []string{"templates/a.yaml", "no file"}},
		"the environment":                 {files: template(`{{ required "no such variable" (env "HOME") }}`), says: []string{"templates/a.yaml"}},
		"aliases in values":               {files: merge(template("{{ toYaml .Values }}"), "values.yaml", bombYAML()), says: []string{"aliases-in-values"}, any: append(spent, "alias")},
		"values out of the tree":          {files: template(goodObject), spec: values(passwd), says: []string{"etc/passwd"}},
		"an index without end": {
			files: merge(template(`{{ if index .Values "a[999999999]" }}{{ fail "it is a name" }}{{ end }}`), "v.yaml", "a[999999999]: x\n"),
			spec:  values("v.yaml"), says: []string{"templates/a.yaml", "it is a name"},
		},
		"a schema of the machine": {
			files: merge(template(goodObject), "values.schema.json", `{"$ref": "file:///etc/passwd"}`), says: []string{"a-schema-of-the-machine"},
		},
		"a chart beside the repository": {
			files: merge(template(goodObject), "Chart.yaml", hostileChart+"dependencies: [{name: x, version: 1.0.0, repository: \"file://"+passwd+"\"}]\n"),
			says:  []string{"a-chart-beside-the-repository"}, reason: "SourceRefused",
		},
		"a chart as a symlink": {files: map[string]string{"Chart.yaml": hostileChart, "templates": "symlink:/etc"}, says: []string{"templates"}},
	}
	// Each of these burns all the CPU time that a render has.
	for i := range 8 {
		name := fmt.Sprintf("loop %d without end", i)
		all[name] = attack{
			files: template(fmt.Sprintf(`{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}{{/* %d */}}`, i)),
			says:  []string{fmt.Sprintf("loop-%d-without-end", i)}, any: spent,
		}
	}
	for i := range 2 {
		name := fmt.Sprintf("template %d of a template", i)
		all[name] = attack{
			files: merge(template("{{ tpl .Values.t . }}"), "values.yaml", "t: '{{ tpl .Values.t . }}{{ tpl .Values.t . }}'\n"),
			says:  []string{fmt.Sprintf("template-%d-of-a-template", i)}, any: spent,
		}
	}
	return all
}

func merge(files map[string]string, name, content string) map[string]string {
	files[name] = content
	return files
}

// programs are attacks on Jsonnet and on CEL.
func programs() map[string]attack {
	ignore := func(expression string) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) {
			a.Spec.Ignore = []v1alpha1.IgnoreRule{{Kind: "ConfigMap", Expressions: []string{expression}}}
		}
	}
	health := func(expression string) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) {
			a.Spec.Health = []v1alpha1.HealthRule{{APIVersion: "v1", Kind: "Secret", Current: expression}}
			a.Spec.Sync.Timeout = &metav1.Duration{Duration: 5 * time.Second}
		}
	}
	window := func(schedule string) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) {
			a.Spec.Sync.Windows = []v1alpha1.Window{{Kind: "allow", Schedule: schedule, Duration: metav1.Duration{Duration: time.Second}}}
		}
	}
	object := map[string]string{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n"}
	nested := "lists.range(1000).map(a, lists.range(1000).map(b, lists.range(1000).map(c, '/data/x'))).flatten().flatten()"
	return map[string]attack{
		"Jsonnet that imports itself":       {files: jsonnet("local l = import 'main.jsonnet'; l + l"), says: []string{"jsonnet-that-imports-itself"}, any: append(spent, "max stack frames")},
		"Jsonnet without end":               {files: jsonnet("local f(x) = f(x + 1) tailstrict; f(1)"), says: []string{"jsonnet-without-end"}, any: append(spent, "max stack frames")},
		"Jsonnet that doubles":              {files: jsonnet("std.foldl(function(a, b) a + a, std.range(1, 40), [1])"), says: []string{"jsonnet-that-doubles"}, any: spent},
		"Jsonnet of the machine":            {files: jsonnet("{ a: importstr '/etc/passwd' }"), says: []string{"main.jsonnet"}},
		"Jsonnet out of the tree":           {files: jsonnet("{ a: importstr '" + passwd + "' }"), says: []string{"main.jsonnet"}},
		"Jsonnet of the process":            {files: jsonnet("{ a: importstr '/proc/self/environ' }"), says: []string{"main.jsonnet"}},
		"CEL that multiplies":               {files: map[string]string{"a.yaml": goodObject}, spec: ignore(nested), says: []string{"spec.ignore[0].expressions[0]"}, reason: "SourceRefused"},
		"CEL that nests":                    {files: map[string]string{"a.yaml": goodObject}, spec: ignore(strings.Repeat("(", 2000) + "'/data/x'" + strings.Repeat(")", 2000)), says: []string{"spec.ignore[0].expressions[0]"}, reason: "ApplyFailed"},
		"CEL that is no CEL":                {files: map[string]string{"a.yaml": goodObject}, spec: ignore(strings.Repeat("[", 4000)), says: []string{"spec.ignore[0].expressions[0]"}, reason: "ApplyFailed"},
		"CEL of health that multiplies":     {files: object, spec: health(strings.Repeat("[0,1,2,3,4,5,6,7,8,9].all(a, ", 9) + "true" + strings.Repeat(")", 9)), says: []string{"spec.health[0]"}, reason: "HealthTimeout"},
		"CEL of health that nests":          {files: object, spec: health(strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000)), says: []string{"spec.health[0].current"}, reason: "ApplyFailed"},
		"a window without end":              {files: object, spec: window("0-59/99999999999999999999 * * * *"), says: []string{"spec.sync.windows[0]"}, reason: "ApplyFailed"},
		"a window in all of time":           {files: object, spec: window("* 0-99999999 * * *"), says: []string{"spec.sync.windows[0]"}, reason: "ApplyFailed"},
		"a window that never comes":         {files: object, spec: window("0 0 31 2 *"), says: []string{"spec.sync.windows[0]"}, reason: "ApplyFailed"},
		"a repository that is an option":    {spec: repo("ssh://-oProxyCommand=touch%20x/acme"), says: []string{"spec.source.repo"}, reason: "SourceRefused"},
		"a repository of the machine":       {spec: repo("ssh://localhost:22/../../etc"), says: []string{"spec.source"}, reason: "SourceRefused"},
		"a repository over plain http":      {spec: repo("http://169.254.169.254/latest/meta-data"), says: []string{"spec.source.repo"}, reason: "SourceRefused"},
		"an artifact of a metadata service": {spec: repo("oci://169.254.169.254/latest/meta-data"), says: []string{"spec.source.repo"}, reason: "SourceRefused"},
	}
}

func repo(url string) func(*v1alpha1.Application) {
	return func(a *v1alpha1.Application) { a.Spec.Source.Repo, a.Spec.Source.Path = url, "." }
}
