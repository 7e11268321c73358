// Package substitute replaces ${name} in the string values of rendered objects.
//
// It works on objects, after the render, so that no value can become structure. It is
// strict: a name without a value is an error, as is every other use of ${ that is not
// escaped as $${. What is put in is not looked at again. The package may import object,
// render/manifest and fault; its errors are permanent faults that name object, field
// and variable, and quote no value.
package substitute

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// Value is what a variable stands for.
type Value struct {
	Text string
	// Secret values were read from a Secret: errors never repeat them.
	Secret bool
}

// Format keeps secret values from every verb.
func (v Value) Format(s fmt.State, _ rune) {
	if v.Secret {
		fmt.Fprint(s, "[secret]")
		return
	}
	fmt.Fprint(s, v.Text)
}

// MarshalText keeps secret values from encoders.
func (v Value) MarshalText() ([]byte, error) { return fmt.Append(nil, v), nil }

// Variables are values by name: [A-Za-z_][A-Za-z0-9_]*.
type Variables map[string]Value

// Layer are the values of one ConfigMap or Secret.
type Layer struct {
	Data   map[string]string
	Secret bool
}

// Merge lays the layers of spec.source.substitute.from over each other, a later one
// over an earlier, and vars over all. Keys that are no names are left out of layers:
// nothing can refer to them.
func Merge(vars map[string]string, from ...Layer) Variables {
	out := Variables{}
	for _, layer := range from {
		for name, text := range layer.Data {
			if isName(name) {
				out[name] = Value{Text: text, Secret: layer.Secret}
			}
		}
	}
	for name, text := range vars {
		out[name] = Value{Text: text}
	}
	return out
}

// Secrets are the secret values, for masking errors.
func (v Variables) Secrets() []string {
	var out []string
	for _, value := range v {
		if value.Secret {
			out = append(out, manifest.Strings(value.Text)...)
		}
	}
	return out
}

// Keys by which an object says that it is left as it is: as a label or an annotation,
// with the value disabled.
const (
	Marker     = v1alpha1.Group + "/substitute"
	fluxMarker = "kustomize.toolkit.fluxcd.io/substitute"
	disabled   = "disabled"
)

// maxGrowth is how many bytes all values together may add to a render.
const maxGrowth = 16 << 20

// Apply returns the objects with their variables replaced.
func Apply(objects []object.Object, v Variables) ([]object.Object, error) {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if !isName(name) {
			return nil, refuse(fault.Place{Field: "spec.source.substitute.vars[" + clip(name) + "]"}, "a name has letters, digits and _, and does not begin with a digit")
		}
	}
	w := &walk{variables: v, left: maxGrowth}
	out := make([]object.Object, 0, len(objects))
	for _, o := range objects {
		changed, err := w.object(o)
		if err != nil {
			return nil, err
		}
		out = append(out, changed)
	}
	return out, nil
}

func refuse(place fault.Place, format string, args ...any) error {
	return fault.Refuse(fault.RenderFailed, place, format, args...)
}

// walk replaces in one render.
type walk struct {
	variables Variables
	left      int // bytes that values may still add
	place     fault.Place
	strings   bool // of the current object's data
}

func (w *walk) object(o object.Object) (object.Object, error) {
	if skipped(o) {
		return o, nil
	}
	w.place = o.Place()
	gvk := o.GroupVersionKind()
	w.strings = gvk.Group == "" && (gvk.Kind == "ConfigMap" || gvk.Kind == "Secret")
	var failed error
	changed := o.With(func(u *unstructured.Unstructured) {
		if failed != nil {
			return
		}
		var content any
		if content, failed = w.value(u.Object, nil); failed == nil {
			u.Object = content.(map[string]any)
		}
	})
	if failed != nil {
		return object.Object{}, failed
	}
	if _, err := manifest.Of(changed.Content(), o.File, o.Line); err != nil {
		return object.Object{}, err
	}
	return changed, nil // with its standing content, which manifest.Of does not know
}

func skipped(o object.Object) bool {
	metadata, _ := o.Content()["metadata"].(map[string]any)
	for _, field := range []string{"annotations", "labels"} {
		m, _ := metadata[field].(map[string]any)
		if m[Marker] == disabled || m[fluxMarker] == disabled {
			return true
		}
	}
	return false
}

// value replaces below v, in place.
func (w *walk) value(v any, path []string) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below := append(slices.Clip(path), key)
			if strings.Contains(key, "${") {
				return nil, w.refuse(below, "variables are replaced in values, not in keys")
			}
			changed, err := w.value(v[key], below)
			if err != nil {
				return nil, err
			}
			v[key] = changed
		}
	case []any:
		for i, item := range v {
			changed, err := w.value(item, append(slices.Clip(path), fmt.Sprintf("[%d]", i)))
			if err != nil {
				return nil, err
			}
			v[i] = changed
		}
	case string:
		return w.text(v, path)
	}
	return v, nil
}

func (w *walk) refuse(path []string, format string, args ...any) error {
	place := w.place
	place.Field = strings.ReplaceAll(strings.Join(path, "."), ".[", "[")
	return refuse(place, format, args...)
}
