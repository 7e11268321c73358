package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Diff returns the fields that Git sets and that the live object has otherwise,
// sorted by path. Fields that Git does not set are others' business. It is for
// people: whether an object drifted is decided by Input.Fields, and a change that
// the API server normalised away, or one in a list without keys, may look larger or
// smaller here. Values that may be secret are redacted.
func Diff(desired object.Object, live *unstructured.Unstructured) []FieldChange {
	d := differ{kind: desired.GroupVersionKind().GroupKind()}
	want := maps.Clone(desired.Content())
	delete(want, "apiVersion") // the version read need not be the one applied
	d.fields(want, live.Object, nil, "")
	slices.SortFunc(d.changes, func(a, b FieldChange) int { return strings.Compare(a.Path, b.Path) })
	return d.changes
}

type differ struct {
	kind    schema.GroupKind
	changes []FieldChange
}

// value compares one value; path is for the redaction rule, shown for people.
func (d *differ) value(want, live any, path []string, shown string) {
	if want == nil {
		return // null is "not set" in an apply
	}
	switch want := want.(type) {
	case map[string]any:
		if have, is := live.(map[string]any); is || live == nil && len(want) > 0 {
			d.fields(want, have, path, shown)
			return
		}
	case []any:
		if have, is := live.([]any); is {
			d.list(want, have, path, shown)
			return
		}
	}
	if !same(want, live, path) {
		d.add(want, live, path, shown)
	}
}

func (d *differ) fields(want, live map[string]any, path []string, shown string) {
	for _, key := range sortedKeys(want) {
		d.value(want[key], live[key], append(path[:len(path):len(path)], key), join(shown, key))
	}
}

// list pairs elements by the key that all of them have, as the API server does
// for most lists; else by position.
func (d *differ) list(want, live []any, path []string, shown string) {
	key, keyed := keyOf(want)
	if !keyed {
		if len(want) != len(live) {
			d.add(want, live, path, shown)
			return
		}
		for i := range want {
			d.value(want[i], live[i], path, fmt.Sprintf("%s[%d]", shown, i))
		}
		return
	}
	for _, element := range want {
		value := element.(map[string]any)[key]
		i := slices.IndexFunc(live, func(other any) bool {
			m, is := other.(map[string]any)
			return is && same(value, m[key], nil)
		})
		var have any
		if i >= 0 {
			have = live[i]
		}
		d.value(element, have, path, fmt.Sprintf("%s[%s=%v]", shown, key, value))
	}
}

func (d *differ) add(want, live any, path []string, shown string) {
	c := FieldChange{Path: shown, Before: encode(want), After: encode(live)}
	if object.Sensitive(d.kind, path...) {
		c.Before, c.After = hidden(want), hidden(live)
	}
	d.changes = append(d.changes, c)
}

// listKeys are the fields by which Kubernetes keys its lists, most telling first.
var listKeys = []string{"name", "mountPath", "devicePath", "containerPort", "port", "key", "ip", "topologyKey"}

func keyOf(list []any) (string, bool) {
	for _, key := range listKeys {
		seen := map[any]bool{}
		for _, element := range list {
			m, _ := element.(map[string]any)
			switch value := m[key].(type) {
			case string, int64, float64:
				seen[value] = true
			}
		}
		if len(list) > 0 && len(seen) == len(list) {
			return key, true
		}
	}
	return "", false
}

// same treats an absent empty map or list as set, and numbers and quantities by value.
func same(want, live any, path []string) bool {
	if reflect.DeepEqual(want, live) {
		return true
	}
	if v := reflect.ValueOf(want); live == nil && (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0 {
		return true
	}
	a, aIs := float(want)
	b, bIs := float(live)
	if aIs && bIs {
		return a == b
	}
	return quantities(path) && sameQuantity(want, live)
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// quantities are the maps whose values the API server writes in canonical form.
func quantities(path []string) bool {
	return slices.ContainsFunc(path, func(s string) bool {
		return s == "limits" || s == "requests" || s == "hard" || s == "capacity" || s == "sizeLimit"
	})
}

func sameQuantity(want, live any) bool {
	a, errA := resource.ParseQuantity(fmt.Sprint(want))
	b, errB := resource.ParseQuantity(fmt.Sprint(live))
	return errA == nil && errB == nil && a.Cmp(b) == 0
}

func encode(v any) string {
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%q", err)
	}
	return string(b)
}

func hidden(v any) string {
	if v == nil {
		return ""
	}
	return encode(object.Redacted)
}

// join is the dotted path; a key that holds more than a name is quoted.
func join(path, key string) string {
	switch {
	case strings.ContainsAny(key, "./[]= "):
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}

// drift describes a live object that is not as it was applied.
func (j judge) drift(kind string, a Action) *Drift {
	d := &Drift{Kind: kind}
	// What cannot be told apart here fails when it is applied.
	if sent, err := j.Ignore.Without(a.Object, a.Live); err == nil {
		d.Fields = Diff(sent, a.Live)
	}
	for _, entry := range a.Live.GetManagedFields() {
		if entry.Manager == v1alpha1.FieldManager || entry.Subresource != "" || entry.Time == nil {
			continue
		}
		if t := entry.Time.UTC(); t.After(d.Time) {
			d.Manager, d.Time = entry.Manager, t
		}
	}
	return d
}
