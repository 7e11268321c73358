package plan

import (
	"encoding/base64"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Prepare turns what was rendered into what is applied, so that the digest of an
// object is that of the bytes sent:
//
//   - a namespaced object that names no namespace gets that of the destination;
//     a cluster-scoped object loses the one it names, as with kubectl;
//   - ownership marks are written over whatever the source says;
//   - stringData of Secrets is folded into data;
//   - status and the parts of metadata that only the API server writes are removed;
//   - with createNamespace, the Namespace of the destination is added unless the
//     source has it. It bears no marks: several Applications may share it, so it is
//     made when it is absent, never changed, and never deleted.
//
// scope says whether a kind is namespaced; a kind that a CRD of the set defines
// is not asked for. Bad input is a permanent fault with its place.
func Prepare(set object.Set, a *v1alpha1.Application, scope func(schema.GroupVersionKind) (bool, error)) (object.Set, error) {
	defined, err := definitions(set)
	if err != nil {
		return object.Set{}, err
	}
	p := preparation{key: a.Key(), namespace: a.TargetNamespace(), scope: scope, defined: defined}
	prepared, err := set.Map(p.object)
	if err != nil || !a.Spec.Destination.CreateNamespace {
		return prepared, err
	}
	return withNamespace(prepared, p.namespace)
}

type preparation struct {
	key       app.Key
	namespace string
	scope     func(schema.GroupVersionKind) (bool, error)
	defined   map[schema.GroupKind]definition
}

func (p preparation) object(o object.Object) (object.Object, error) {
	if o.ID().Name == "" {
		return o, refuse(o, "metadata.name", "a name is required; generateName would make another object with every sync")
	}
	namespaced, err := p.namespaced(o)
	if err != nil {
		return o, err
	}
	if err := checkAnnotations(o); err != nil {
		return o, err
	}
	var folding error
	prepared := o.With(func(u *unstructured.Unstructured) {
		p.place(u, namespaced)
		strip(u)
		p.mark(u)
		folding = fold(o, u)
	})
	if folding != nil {
		return o, folding
	}
	if prepared.GroupVersionKind().GroupKind() == v1alpha1.GroupVersionKind.GroupKind() &&
		prepared.ID().Namespace == p.key.Namespace && prepared.ID().Name == p.key.Name {
		return o, refuse(o, "metadata.name", "an Application must not hold itself; remove it from its own source")
	}
	return prepared, nil
}

func (p preparation) place(u *unstructured.Unstructured, namespaced bool) {
	switch {
	case !namespaced:
		unstructured.RemoveNestedField(u.Object, "metadata", "namespace")
	case u.GetNamespace() == "":
		u.SetNamespace(p.namespace)
	}
}

// mark writes the ownership marks. Annotations and labels were checked to be maps of strings.
func (p preparation) mark(u *unstructured.Unstructured) {
	set := func(get func() map[string]string, put func(map[string]string), key, value string) {
		m := get()
		if m == nil {
			m = map[string]string{}
		}
		m[key] = value
		put(m)
	}
	unstructured.RemoveNestedField(u.Object, "metadata", "annotations", HookRunAnnotation)
	unstructured.RemoveNestedField(u.Object, "metadata", "annotations", ClaimAnnotation)
	unstructured.RemoveNestedField(u.Object, "metadata", "annotations", v1alpha1.FirstClaimAnnotation)
	set(u.GetAnnotations, u.SetAnnotations, v1alpha1.OwnerAnnotation, p.key.String())
	set(u.GetLabels, u.SetLabels, v1alpha1.OwnerLabel, v1alpha1.OwnerHash(p.key))
}

// serverSide are the parts of metadata that only the API server writes.
var serverSide = []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink",
	"deletionTimestamp", "deletionGracePeriodSeconds"}

func strip(u *unstructured.Unstructured) {
	delete(u.Object, "status")
	for _, field := range serverSide {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
}

// fold moves stringData into data, over which it wins. No message holds a value.
func fold(o object.Object, u *unstructured.Unstructured) error {
	if o.GroupVersionKind().GroupKind() != (schema.GroupKind{Kind: "Secret"}) {
		return nil
	}
	plain, ok := stringMap(u.Object["stringData"])
	if !ok {
		return refuse(o, "stringData", "every value must be a string")
	}
	data, ok := stringMap(u.Object["data"])
	if !ok {
		return refuse(o, "data", "every value must be a base64 string")
	}
	delete(u.Object, "stringData")
	if len(plain) == 0 {
		return nil
	}
	for key, value := range plain {
		data[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	return unstructured.SetNestedStringMap(u.Object, data, "data")
}

// stringMap reads a map of strings; null, which templates like to leave behind, is an empty one.
func stringMap(value any) (map[string]string, bool) {
	fields, isMap := value.(map[string]any)
	if value != nil && !isMap {
		return nil, false
	}
	out := make(map[string]string, len(fields))
	for key, v := range fields {
		s, isString := v.(string)
		if !isString {
			return nil, false
		}
		out[key] = s
	}
	return out, true
}

func withNamespace(set object.Set, name string) (object.Set, error) {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
	o := object.New(u, "", 0)
	if _, rendered := set.Get(o.ID()); rendered {
		return set, nil
	}
	return object.NewSet(append([]object.Object{o}, set.All()...))
}

func refuse(o object.Object, field, format string, args ...any) error {
	place := o.Place()
	place.Field = field
	return fault.Refuse(fault.RenderFailed, place, format, args...)
}
