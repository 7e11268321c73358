package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// set is a spec with the given generators and more lines.
func set(generators, more string) string {
	return "generators: [" + generators + "]\ntemplate: {metadata: {name: '{{ .x }}'}, spec: {source: {repo: '{{ .repo }}'}}}\n" + more
}

const everyGenerator = `
generators:
- list: {elements: [{name: a, replicas: 2, nested: {x: [1, true]}}]}
- gitDirectories: {repo: "https://github.com/acme/config", ref: main, secretRef: {name: git}, include: ["apps/*"], exclude: ["apps/old"], pathParameter: dir}
- gitFiles: {repo: "git@github.com:acme/config.git", files: ["clusters/**/*.yaml"]}
- clusters: {selector: {env: prod}}
- matrix: {generators: [{list: {elements: [{repo: "https://github.com/acme/a"}]}}, {gitDirectories: {repo: "{{ .repo }}", ref: "{{ .repo }}", include: ["*"]}}]}
template:
  metadata: {name: "{{ .name }}", labels: {team: "{{ .name }}"}, annotations: {a: b}}
  spec: {source: {repo: "{{ .repo }}", path: "{{ .path.path }}"}, anything: {goes: here}}
templatePatch: "spec: {sync: {prune: {{ .prune }}}}"
serviceAccountName: deployer
sync: {prune: false, pruneLimit: "3"}
deletionPolicy: orphan
`

func TestSchemaOfSets(t *testing.T) {
	c, namespace := install(t)
	const list, one = "list: {elements: [{x: y}]}", "exactly one of list, gitDirectories, gitFiles, clusters and matrix must be given"
	dirs := func(lines string) string { return "{gitDirectories: {include: ['*'], " + lines + "}}" }
	cases := map[string]struct {
		spec string
		want string // part of the error; empty: accepted
	}{
		"everything":                  {spec: everyGenerator},
		"a list alone":                {spec: set("{"+list+"}", "")},
		"no element":                  {spec: set("{list: {elements: []}}", "")},
		"any cluster":                 {spec: set("{clusters: {}}", "")},
		"a templated repo":            {spec: set(dirs("repo: '{{ .repo }}'"), "")},
		"no generator":                {spec: set("", ""), want: "should have at least 1 items"},
		"a generator that is nothing": {spec: set("{}", ""), want: one},
		"a generator that is two":     {spec: set("{"+list+", clusters: {}}", ""), want: one},
		"an unknown generator":        {spec: set("{pullRequests: {}}", ""), want: "field not declared in schema"},
		"an element that is a text":   {spec: set("{list: {elements: [a]}}", ""), want: "expected map"},
		"a matrix of one":             {spec: set("{matrix: {generators: [{"+list+"}]}}", ""), want: "should have at least 2 items"},
		"a matrix of three":           {spec: set("{matrix: {generators: [{"+list+"}, {"+list+"}, {"+list+"}]}}", ""), want: "must have at most 2 items"},
		"a matrix of matrices":        {spec: set("{matrix: {generators: [{"+list+"}, {matrix: {generators: []}}]}}", ""), want: "field not declared in schema"},
		"a matrix of nothing":         {spec: set("{matrix: {generators: [{"+list+"}, {}]}}", ""), want: "exactly one of list, gitDirectories, gitFiles and clusters must be given"},
		"a file URL":                  {spec: set(dirs("repo: 'file:///etc'"), ""), want: "must be an https, http or ssh URL"},
		"credentials in the repo":     {spec: set(dirs("repo: 'https://a:b@c/d'"), ""), want: "must not carry credentials"},
		"a templated repo and a secret": {spec: set(dirs("repo: '{{ .repo }}', secretRef: {name: git}"), ""),
			want: "would choose where the credential goes"},
		"no globs":               {spec: set("{gitFiles: {repo: 'https://a/b', files: []}}", ""), want: "should have at least 1 items"},
		"no template":            {spec: "generators: [{" + list + "}]", want: "spec.template: Required value"},
		"a negative share":       {spec: set("{"+list+"}", "sync: {pruneLimit: '-1%'}"), want: "must be a share of 0% to 100%, or a count"},
		"an account elsewhere":   {spec: set("{"+list+"}", "serviceAccountName: ../x"), want: "of the set's own namespace"},
		"an odd deletion policy": {spec: set("{"+list+"}", "deletionPolicy: maybe"), want: "supported values"},
		"an odd parameter name":  {spec: set(dirs("repo: 'https://a/b', pathParameter: 'a.b'"), ""), want: "pathParameter"},
		"an unknown field":       {spec: set("{"+list+"}", "goTemplate: true"), want: "field not declared in schema"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := applySet(t, c, namespace, tc.spec)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v does not say %q", err, tc.want)
			}
		})
	}
}

func TestDefaultsOfSets(t *testing.T) {
	c, namespace := install(t)
	live, err := applySet(t, c, namespace, set("{gitDirectories: {repo: 'https://a/b', include: ['*']}}", ""))
	if err != nil {
		t.Fatal(err)
	}
	spec := live.Object["spec"].(map[string]any)
	got := map[string]any{"sync": spec["sync"], "deletionPolicy": spec["deletionPolicy"],
		"generator": spec["generators"].([]any)[0].(map[string]any)["gitDirectories"].(map[string]any)["pathParameter"]}
	want := map[string]any{"sync": map[string]any{"prune": true, "pruneLimit": "50%"}, "deletionPolicy": "delete", "generator": "path"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func applySet(t *testing.T, c *cluster.Client, namespace, spec string) (*unstructured.Unstructured, error) {
	t.Helper()
	var content map[string]any
	if err := yaml.Unmarshal([]byte(spec), &content); err != nil {
		t.Fatalf("spec of the test: %v", err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "plumb.dev/v1alpha1", "kind": "ApplicationSet",
		"metadata": map[string]any{"namespace": namespace, "name": "set"}, "spec": content}}
	applied, err := c.Apply(t.Context(), object.New(u, "", 0), cluster.ApplyOptions{})
	return applied.Unstructured, err
}
