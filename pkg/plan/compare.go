package plan

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/ignore"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Sent returns what is applied for an action: its object, but for what is ignored
// in the live one. Without a live object it is the whole.
func (p Plan) Sent(a Action) (object.Object, error) { return p.judge.Ignore.Without(a.Object, a.Live) }

// Fields hashes what Plumb owns in an object that was applied, as in inventory.Entry.
func (p Plan) Fields(live *unstructured.Unstructured) string { return p.judge.Ignore.Fields(live) }

// ObjectDiff is what a plan would change of one object.
type ObjectDiff struct {
	ID   object.ID
	Verb Verb
	Why  string
	// Fields are from the live object to what it would be. A created object is one
	// change, with an empty path; of a deleted one there are none.
	Fields []FieldChange
	Err    error // the API server refuses the object, or could not be asked
}

// parallelTrials is how many dry runs are in flight.
const parallelTrials = 8

// Differences tells what carrying the plan out would change, in its order. Only for
// an object that exists and would be applied is dryRun asked: it applies Plan.Sent
// of the action without force of anything else, and returns the object as it would
// be then. What would change nothing is left out. The plan must rest on a fresh
// read (Needs).
func Differences(ctx context.Context, p Plan, dryRun func(context.Context, Action) (*unstructured.Unstructured, error)) ([]ObjectDiff, error) {
	var actions []Action
	for _, a := range p.Actions() {
		if a.Verb.Works() && a.Verb != Resume && a.Verb != Record {
			actions = append(actions, a)
		}
	}
	diffs := make([]ObjectDiff, len(actions))
	var group errgroup.Group
	group.SetLimit(parallelTrials)
	for i, a := range actions {
		group.Go(func() error {
			diffs[i] = p.difference(ctx, a, dryRun)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the differences
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(diffs, func(d ObjectDiff) bool { return d.Verb == Update && d.Err == nil && len(d.Fields) == 0 }), nil
}

func (p Plan) difference(ctx context.Context, a Action, dryRun func(context.Context, Action) (*unstructured.Unstructured, error)) ObjectDiff {
	d := ObjectDiff{ID: a.ID, Verb: a.Verb, Why: a.Why}
	switch {
	case a.Verb == Create || a.Verb == Replace:
		d.Fields = []FieldChange{{After: encode(object.Redact(a.Object.Unstructured()).Object)}}
	case a.Verb != Update && a.Verb != Adopt:
	case a.Live == nil:
		d.Err = fault.Retry(fault.ApplyFailed, "compare %s: the live object was not read", a.ID.Human())
	default:
		would, err := dryRun(ctx, a)
		if err == nil {
			d.Fields, err = Compare(a.Live, would, p.judge.Ignore)
		}
		d.Err = err
	}
	return d
}

// Compare returns how an object as it would be, by a dry run, differs from the live
// one, sorted by path. Since both come from the API server, what it defaults,
// normalises or lets a webhook add is in both. What only the API server writes, the
// status, Plumb's marks and what is ignored are left out; what may be secret is
// redacted.
func Compare(live, would *unstructured.Unstructured, rules ignore.Rules) ([]FieldChange, error) {
	a, b := live.DeepCopy(), would.DeepCopy()
	if err := rules.Hide(a, b); err != nil {
		return nil, err
	}
	for _, u := range []*unstructured.Unstructured{a, b} {
		strip(u)
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations", v1alpha1.OwnerAnnotation)
		unstructured.RemoveNestedField(u.Object, "metadata", "labels", v1alpha1.OwnerLabel)
	}
	c := comparer{kind: would.GroupVersionKind().GroupKind()}
	c.fields(a.Object, b.Object, nil, "")
	slices.SortFunc(c.changes, func(a, b FieldChange) int { return strings.Compare(a.Path, b.Path) })
	return c.changes, nil
}

// comparer compares two states of an object, each field of either.
type comparer struct {
	kind    schema.GroupKind
	changes []FieldChange
}

func (c *comparer) value(before, after any, path []string, shown string) {
	if blank(before) && blank(after) || reflect.DeepEqual(before, after) {
		return
	}
	// Maps are followed even when one side has none, down to what may be secret.
	if isMap(before) && isMap(after) || isMap(before) && after == nil || before == nil && isMap(after) {
		a, _ := before.(map[string]any)
		b, _ := after.(map[string]any)
		c.fields(a, b, path, shown)
		return
	}
	a, aIs := before.([]any)
	b, bIs := after.([]any)
	if !aIs || !bIs || !c.list(a, b, path, shown) {
		c.add(before, after, path, shown)
	}
}

func (c *comparer) fields(before, after map[string]any, path []string, shown string) {
	for _, key := range union(before, after) {
		c.value(before[key], after[key], append(path[:len(path):len(path)], key), join(shown, key))
	}
}

// list pairs elements by a key that all of them have, else by position when there
// are as many; false when neither can be.
func (c *comparer) list(before, after []any, path []string, shown string) bool {
	key, keyed := keyOfBoth(before, after)
	if !keyed && len(before) != len(after) {
		return false
	}
	if !keyed {
		for i := range before {
			c.value(before[i], after[i], path, fmt.Sprintf("%s[%d]", shown, i))
		}
		return true
	}
	a, b := byKey(before, key), byKey(after, key)
	for _, name := range union(a, b) {
		c.element(a[name], b[name], path, shown+"["+key+"="+name+"]")
	}
	return true
}

// element tells of a new or a lost element as a whole.
func (c *comparer) element(before, after any, path []string, shown string) {
	if before == nil || after == nil {
		c.add(before, after, path, shown)
		return
	}
	c.value(before, after, path, shown)
}

func (c *comparer) add(before, after any, path []string, shown string) {
	d := differ{kind: c.kind}
	d.add(before, after, path, shown)
	c.changes = append(c.changes, d.changes...)
}

func blank(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

func isMap(v any) bool {
	_, is := v.(map[string]any)
	return is
}

func union(a, b map[string]any) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, b)
	return sortedKeys(all)
}

// keyOfBoth is the key of two lists, of which one may be empty.
func keyOfBoth(a, b []any) (string, bool) {
	for _, key := range listKeys {
		if tells(a, key) && tells(b, key) && len(a)+len(b) > 0 {
			return key, true
		}
	}
	return "", false
}

// tells says whether the elements of a list are told apart by a key.
func tells(list []any, key string) bool { return len(byKey(list, key)) == len(list) }

func byKey(list []any, key string) map[string]any {
	out := make(map[string]any, len(list))
	for _, element := range list {
		m, _ := element.(map[string]any)
		switch value := m[key].(type) {
		case string, int64, float64:
			out[fmt.Sprint(value)] = element
		}
	}
	return out
}
