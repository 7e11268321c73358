package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/ignore"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

func TestCompare(t *testing.T) {
	tests := map[string]struct {
		live, would string // beside kind and name
		ignored     []string
		want        []plan.FieldChange
	}{
		"the same":         {live: `data: {a: "1"}`, would: `data: {a: "1"}`},
		"a value":          {live: `data: {a: "1"}`, would: `data: {a: "2"}`, want: []plan.FieldChange{{Path: "data.a", Before: `"1"`, After: `"2"`}}},
		"a new map":        {would: `data: {a: "1", b/c: "2"}`, want: []plan.FieldChange{{Path: "data.a", After: `"1"`}, {Path: `data["b/c"]`, After: `"2"`}}},
		"nothing or empty": {live: `{data: {}, list: []}`, would: `{}`},
		"a map for a list": {live: `x: [1]`, would: `x: {a: 1}`, want: []plan.FieldChange{{Path: "x", Before: `[1]`, After: `{"a":1}`}}},
		"what the server writes, and marks": {
			live:  `{metadata: {name: a, uid: u, resourceVersion: "1", generation: 1, annotations: {plumb.dev/application: a/b}}, status: {x: 1}}`,
			would: `{metadata: {name: a, uid: u, resourceVersion: "2", generation: 2, labels: {plumb.dev/owner: x}, managedFields: [{}]}, status: {x: 2}}`,
		},
		"an order of keys": {live: `x: [{name: a}, {name: b, v: 1}]`, would: `x: [{name: b, v: 2}, {name: a}]`,
			want: []plan.FieldChange{{Path: "x[name=b].v", Before: "1", After: "2"}}},
		"new and lost elements": {live: `x: [{name: a}]`, would: `x: [{name: b}]`,
			want: []plan.FieldChange{{Path: "x[name=a]", Before: `{"name":"a"}`}, {Path: "x[name=b]", After: `{"name":"b"}`}}},
		"the first element":               {would: `x: [{name: a}]`, want: []plan.FieldChange{{Path: "x", After: `[{"name":"a"}]`}}},
		"elements without a key, as many": {live: `x: [a, b]`, would: `x: [a, c]`, want: []plan.FieldChange{{Path: "x[1]", Before: `"b"`, After: `"c"`}}},
		"elements without a key, more":    {live: `x: [a]`, would: `x: [a, b]`, want: []plan.FieldChange{{Path: "x", Before: `["a"]`, After: `["a","b"]`}}},
		"a secret of a Secret, also what kubectl kept": {
			live:  `{kind: Secret, metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: canary}}}`,
			would: `{kind: Secret, data: {k: canary}}`,
			want: []plan.FieldChange{
				{Path: "data.k", After: `"(redacted)"`},
				{Path: `metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]`, Before: `"(redacted)"`},
			},
		},
		"what is ignored on either side": {live: `data: {a: "1", c: "1"}`, would: `data: {b: "2", c: "2"}`, ignored: []string{"/data/a", "/data/b"},
			want: []plan.FieldChange{{Path: "data.c", Before: `"1"`, After: `"2"`}}},
		"an ignored part of a list without keys": {live: `x: [a, b]`, would: `x: [a, c]`, ignored: []string{"/x/1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rules, err := ignore.Compile([]v1alpha1.IgnoreRule{{Kind: "ConfigMap", Paths: tt.ignored}})
			if err != nil {
				t.Fatal(err)
			}
			live, would := configMap(t, tt.live), configMap(t, tt.would)
			before := live.DeepCopy()
			got, err := plan.Compare(live, would, rules)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
			if diff := cmp.Diff(before.Object, live.Object); diff != "" {
				t.Error("the live object changed", diff)
			}
		})
	}
}

func configMap(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}}}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}
