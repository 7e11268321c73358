package object_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestRedact(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"values of a Secret go, keys stay": {
			in:   `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {key: aHVudGVyMg==}, stringData: {other: hunter2}, type: Opaque}`,
			want: `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {key: (redacted)}, stringData: {other: (redacted)}, type: Opaque}`,
		},
		"data of a malformed Secret goes as a whole": {
			in:   `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: [hunter2]}`,
			want: `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: (redacted)}`,
		},
		"what kubectl applied last goes, other annotations stay": {
			in:   `{apiVersion: v1, kind: Secret, metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: hunter2, b: c}}}`,
			want: `{apiVersion: v1, kind: Secret, metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: (redacted), b: c}}}`,
		},
		"a ConfigMap stays as it is": {
			in:   `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {key: value}}`,
			want: `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {key: value}}`,
		},
		"a Secret of another group is a kind like any other": {
			in:   `{apiVersion: example.com/v1, kind: Secret, metadata: {name: a}, data: {key: value}}`,
			want: `{apiVersion: example.com/v1, kind: Secret, metadata: {name: a}, data: {key: value}}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := parse(t, tt.in)
			if diff := cmp.Diff(parse(t, tt.want), object.Redact(in)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(parse(t, tt.in), in); diff != "" {
				t.Error("the original changed", diff)
			}
		})
	}
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	var u unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return &u
}
