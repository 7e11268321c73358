package fields

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Leave changes an object that is about to be applied so that the live object
// keeps what it has at the pointers. What another manager owns there is left out of
// desired; what only Plumb owns (or a manager that it takes over) is sent as it is
// in the live object, since a field that its only owner leaves out is removed; what
// the live object lacks is left out. Pointers of ofLive are read in the live object,
// those of ofDesired in desired, and elements of lists are paired by their keys.
// In a map or list that is owned as a whole (atomic) the live value is sent.
func Leave(desired, live *unstructured.Unstructured, ofLive, ofDesired []Pointer) {
	ours, others := owners(live)
	l := leaving{desired: desired.Object, live: live.Object, ours: ours, others: others, known: ours.Union(others)}
	for _, p := range ofLive {
		if !l.leave(live.Object, p) && !l.inLive(p) {
			l.leave(desired.Object, p)
		}
	}
	for _, p := range ofDesired {
		l.leave(desired.Object, p)
	}
}

type leaving struct {
	desired, live       map[string]any
	ours, others, known *fieldpath.Set
}

// inLive says whether the live object has what a pointer of desired means.
func (l leaving) inLive(p Pointer) bool {
	path, to := resolve(l.desired, l.known, p)
	_, is := get(l.live, path)
	return to == exact && is
}

// leave reads the pointer in one of the two objects; false when it leads nowhere.
func (l leaving) leave(in map[string]any, p Pointer) bool {
	path, to := resolve(in, l.known, p)
	switch to {
	case exact:
		l.field(path)
		return true
	case inside:
		return l.part(in, path, p[len(path):])
	}
	return false
}

// field leaves a field of its own, with all that is in it, to the live object.
func (l leaving) field(path fieldpath.Path) {
	remove(l.desired, path)
	l.ours.Iterate(func(owned fieldpath.Path) {
		if !startsWith(owned, path) || l.others.Has(owned) {
			return
		}
		if value, is := get(l.live, owned); is {
			put(l.desired, owned.Copy(), runtime.DeepCopyJSONValue(value), !at(l.ours, owned).Empty())
		}
	})
}

// part carries the live value over inside a list or map that is one field.
func (l leaving) part(in map[string]any, path fieldpath.Path, rest Pointer) bool {
	there, is := get(in, path)
	if _, holds := follow(there, rest); !is || !holds {
		return false
	}
	want, wanted := get(l.desired, path)
	if !wanted {
		return true
	}
	have, _ := get(l.live, path)
	if live, exists := follow(have, rest); exists {
		put(l.desired, path, replace(want, rest, runtime.DeepCopyJSONValue(live)), false)
	} else {
		put(l.desired, path, cut(want, rest), false)
	}
	return true
}

// Hide removes from two states of an object what a pointer of the first says, and
// what one of the second says, elements of lists paired by their keys.
func Hide(a, b *unstructured.Unstructured, ofA, ofB []Pointer) {
	known := fieldpath.NewSet()
	for _, u := range []*unstructured.Unstructured{a, b} {
		ours, others := owners(u)
		known = known.Union(ours).Union(others)
	}
	before := a.DeepCopy()
	for _, p := range ofA {
		hide(before.Object, known, p, a.Object, b.Object)
	}
	before = b.DeepCopy()
	for _, p := range ofB {
		hide(before.Object, known, p, a.Object, b.Object)
	}
}

func hide(in map[string]any, known *fieldpath.Set, p Pointer, from ...map[string]any) {
	path, to := resolve(in, known, p)
	for _, object := range from {
		switch value, is := get(object, path); {
		case to == exact:
			remove(object, path)
		case to == inside && is:
			put(object, path, cut(value, p[len(path):]), false)
		}
	}
}
