package plan

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

var definitionKind = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}

// definition is what a CustomResourceDefinition of the set says of its kind.
type definition struct {
	name       string
	namespaced bool
	served     []string
}

func definitions(set object.Set) (map[schema.GroupKind]definition, error) {
	defined := map[schema.GroupKind]definition{}
	for _, o := range set.All() {
		if o.GroupVersionKind().GroupKind() != definitionKind {
			continue
		}
		kind, d, err := define(o)
		if err != nil {
			return nil, err
		}
		defined[kind] = d
	}
	return defined, nil
}

func define(o object.Object) (schema.GroupKind, definition, error) {
	read := func(path ...string) string {
		s, _, _ := unstructured.NestedString(o.Content(), path...)
		return s
	}
	kind := schema.GroupKind{Group: read("spec", "group"), Kind: read("spec", "names", "kind")}
	if kind.Group == "" || kind.Kind == "" {
		return kind, definition{}, refuse(o, "spec", "spec.group and spec.names.kind are required")
	}
	d := definition{name: o.ID().Name}
	switch scope := read("spec", "scope"); scope {
	case "Namespaced":
		d.namespaced = true
	case "Cluster":
	default:
		return kind, d, refuse(o, "spec.scope", "is %q; want Namespaced or Cluster", scope)
	}
	versions, _, _ := unstructured.NestedFieldNoCopy(o.Content(), "spec", "versions")
	list, _ := versions.([]any)
	for _, v := range list {
		version, _ := v.(map[string]any)
		name, _ := version["name"].(string)
		if served, _ := version["served"].(bool); served {
			d.served = append(d.served, name)
		}
	}
	return kind, d, nil
}

func (p preparation) namespaced(o object.Object) (bool, error) {
	gvk := o.GroupVersionKind()
	d, known := p.defined[gvk.GroupKind()]
	if !known {
		namespaced, err := p.scope(gvk)
		return namespaced, placed(o, err)
	}
	if !slices.Contains(d.served, gvk.Version) {
		return false, refuse(o, "apiVersion", "%s does not serve version %q, but %q", d.name, gvk.Version, d.served)
	}
	return d.namespaced, nil
}

// placed says which object an error is about, and keeps its class.
func placed(o object.Object, err error) error {
	if err == nil {
		return nil
	}
	class, wait := fault.ClassOf(err)
	reason := fault.ReasonOf(err)
	if reason == "" {
		reason = fault.RenderFailed
	}
	return &fault.Error{Class: class, Reason: reason, After: wait, Place: o.Place(), Err: err}
}
