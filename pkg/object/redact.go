package object

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Redacted stands in the place of a value that may be secret.
const Redacted = "(redacted)"

// lastApplied is where kubectl keeps a whole object, values included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Sensitive says whether the value at a path of an object of this kind may be
// secret. It is the one rule for everything that leaves the process: diffs,
// manifests, events.
func Sensitive(kind schema.GroupKind, path ...string) bool {
	if kind != (schema.GroupKind{Kind: "Secret"}) || len(path) == 0 {
		return false
	}
	switch path[0] {
	case "data", "stringData":
		return true
	case "metadata":
		return len(path) > 2 && path[1] == "annotations" && path[2] == lastApplied
	}
	return false
}

// Redact returns a copy of u whose secret values are replaced; keys stay.
func Redact(u *unstructured.Unstructured) *unstructured.Unstructured {
	out := u.DeepCopy()
	redact(out.GroupVersionKind().GroupKind(), out.Object, nil)
	return out
}

func redact(kind schema.GroupKind, fields map[string]any, path []string) {
	for key, value := range fields {
		here := append(path[:len(path):len(path)], key)
		deeper, isMap := value.(map[string]any)
		switch {
		case isMap:
			redact(kind, deeper, here)
		case Sensitive(kind, here...):
			fields[key] = Redacted
		}
	}
}
