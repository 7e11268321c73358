package argocd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/ignore"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {"a.b/c": x}}, spec: {replicas: 1, template: {spec: {
  containers: [{name: web, image: w, env: [{name: A, value: "1"}, {name: B, value: "2"}]}, {name: proxy, image: p}, {name: none, env: [{name: A, value: "3"}]}]}}}}`

// Paths of jq and the fields of a Deployment that their translation names.
func TestPathsOfJQ(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string // none: no counterpart
	}{
		"names":                       {".spec.replicas", []string{"/spec/replicas"}},
		"a quoted name":               {`.metadata.annotations["a.b/c"]`, []string{"/metadata/annotations/a.b~1c"}},
		"a quoted name after a dot":   {`.metadata.annotations."a.b/c"`, []string{"/metadata/annotations/a.b~1c"}},
		"an index":                    {".spec.template.spec.containers[1].image", []string{"/spec/template/spec/containers/1/image"}},
		"every element":               {".spec.template.spec.containers[].image", []string{"/spec/template/spec/containers/0/image", "/spec/template/spec/containers/1/image", "/spec/template/spec/containers/2/image"}},
		"an element by a field":       {`.spec.template.spec.containers[] | select(.name == "proxy") | .image`, []string{"/spec/template/spec/containers/1/image"}},
		"without blanks":              {`.spec.template.spec.containers[]?|select(.name=="proxy").image`, []string{"/spec/template/spec/containers/1/image"}},
		"all but one":                 {`.spec.template.spec.containers[] | select(.name != "web")`, []string{"/spec/template/spec/containers/1", "/spec/template/spec/containers/2"}},
		"elements of elements":        {`.spec.template.spec.containers[].env[] | select(.name == "A").value`, []string{"/spec/template/spec/containers/0/env/0/value", "/spec/template/spec/containers/2/env/0/value"}},
		"a list that is not there":    {".spec.template.spec.volumes[].name", []string{}},
		"a field of elements' fields": {`.spec.template.spec.containers[] | select(.x.y == "z")`, []string{}},
		"what gives no path":          {".spec | keys", nil},
		"a recursion":                 {"..", nil},
		"a comparison of numbers":     {".spec.ports[] | select(.port > 80)", nil},
		"a function":                  {`.metadata.annotations | with_entries(select(.key == "x"))`, nil},
		"a select of no list":         {`select(.kind == "x") | .spec`, nil},
		"two selects":                 {`.a[] | select(.b == "c") | select(.d == "e")`, nil},
		"nothing":                     {"", nil},
		"the whole object":            {".", nil},
		"a name that tries to end it": {`.a["x\").b"][]`, []string{}},
	}
	object := map[string]any{}
	if err := yaml.Unmarshal([]byte(deployment), &object); err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pointer, expression, err := translate(tt.text)
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("%q %q: %v", pointer, expression, err)
			}
			if err != nil {
				return
			}
			rule := v1alpha1.IgnoreRule{Group: "apps", Kind: "Deployment"}
			if pointer != "" {
				rule.Paths = []string{pointer}
			} else {
				rule.Expressions = []string{expression}
			}
			rules, err := ignore.Compile([]v1alpha1.IgnoreRule{rule})
			if err != nil {
				t.Fatal(err)
			}
			pointers, err := rules.Pointers(&unstructured.Unstructured{Object: object})
			got := []string{}
			for _, p := range pointers {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%s: %v %s", expression, err, diff)
			}
		})
	}
}

func FuzzTranslate(f *testing.F) {
	f.Add(`.a["b"][] | select(.c == "d")?.e[0]`)
	f.Fuzz(func(t *testing.T, text string) {
		pointer, expression, err := translate(text)
		if err != nil {
			return
		}
		rule := v1alpha1.IgnoreRule{Kind: "X", Paths: []string{pointer}}
		if expression != "" {
			rule = v1alpha1.IgnoreRule{Kind: "X", Expressions: []string{expression}}
		}
		_ = moving.Ignorable(rule)
	})
}
