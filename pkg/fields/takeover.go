package fields

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

const (
	update = metav1.ManagedFieldsOperationUpdate
	apply  = metav1.ManagedFieldsOperationApply
)

// declarers are the managers that stand for a manifest, as Git does now: of a
// person's kubectl apply, create and replace, and of the tools that Plumb takes
// the place of. kubectl edit, patch, set, label and the like are a person's hand
// on a running object, and stay.
var declarers = map[string][]metav1.ManagedFieldsOperationType{
	"kubectl-client-side-apply": {update},
	"kubectl":                   {apply, update}, // apply --server-side; everything before Kubernetes 1.18
	"kubectl-create":            {update},
	"kubectl-replace":           {update},
	"kubectl-last-applied":      {apply},
	"before-first-apply":        {update}, // what was there before there were managed fields

	"argocd-controller":             {apply, update},
	"argocd-application-controller": {apply, update},
	"kustomize-controller":          {apply, update},
	"helm-controller":               {apply, update},
	"helm":                          {apply, update},
}

func declarer(e metav1.ManagedFieldsEntry) bool {
	return e.Subresource == "" && slices.Contains(declarers[e.Manager], e.Operation)
}

// NeedsTakeover says whether a former declarer owns fields of the object, so that
// one that is dropped from Git would stay.
func NeedsTakeover(u *unstructured.Unstructured) bool {
	_, needed := Takeover(u)
	return needed
}

// Takeover returns the managed fields of the object with what former declarers
// own moved to Plumb. Paths are those of an API version and cannot be mixed: what
// a declarer owns in another version than Plumb, or than the newest of them, stays.
//
// csaupgrade of client-go has the same aim, but knows neither managers that apply
// nor more than one entry of a manager, and forgets what it cannot move.
func Takeover(u *unstructured.Unstructured) (entries []metav1.ManagedFieldsEntry, needed bool) {
	before := u.GetManagedFields()
	target, found := heir(before)
	if !found {
		return before, false
	}
	moved := parse(target)
	for _, e := range before {
		switch {
		case own(e):
		case declarer(e) && e.APIVersion == target.APIVersion:
			moved, needed = moved.Union(parse(e)), true
		default:
			entries = append(entries, e)
		}
	}
	raw, err := moved.ToJSON()
	if err != nil || !needed {
		return before, false
	}
	target.FieldsV1 = metav1.NewFieldsV1(string(raw))
	return append(entries, target), true
}

// heir is Plumb's own entry, or one made of the newest declarer's.
func heir(entries []metav1.ManagedFieldsEntry) (metav1.ManagedFieldsEntry, bool) {
	var newest metav1.ManagedFieldsEntry
	for _, e := range entries {
		if own(e) {
			return e, true
		}
		if declarer(e) && (newest.Manager == "" || newest.Time.Before(e.Time)) {
			newest = e
		}
	}
	if newest.Manager == "" {
		return newest, false
	}
	newest.Manager, newest.Operation = Manager, apply
	return newest, true
}

// Released returns the answer to an apply that was not preceded by the takeover as
// if it had been: without what only former declarers own. For a dry run, in which
// the takeover cannot be tried.
func Released(answer *unstructured.Unstructured) *unstructured.Unstructured {
	kept, going := fieldpath.NewSet(), fieldpath.NewSet()
	for _, e := range answer.GetManagedFields() {
		if declarer(e) {
			going = going.Union(parse(e))
		} else {
			kept = kept.Union(parse(e))
		}
	}
	out := answer.DeepCopy()
	gone := slices.Collect(going.Difference(kept).All())
	// Shortest first: an element is found by its key as long as it has it.
	slices.SortStableFunc(gone, func(a, b fieldpath.Path) int { return len(a) - len(b) })
	for _, path := range gone {
		if at(kept, path).Empty() {
			remove(out.Object, path)
		}
	}
	return out
}
