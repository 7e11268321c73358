// Package fields reads who owns which field of a live object (its managedFields),
// and relates JSON pointers to that.
//
// It may import apimachinery and its merge library. It is pure and cannot fail:
// an entry that does not parse owns nothing.
package fields

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Manager owns what Git says.
const Manager = "plumb"

// Hash is the hash of Plumb's own entry in managedFields without the fields at the
// pointers: it moves with every edit of a field that Git owns, whoever made it, and
// never with what others own or with status. What Plumb itself writes moves it by the
// second: the API server notes when a manager last changed something. It is empty when
// Plumb owns nothing.
func Hash(u *unstructured.Unstructured, without ...Pointer) string {
	own, found := entryOf(u)
	if !found {
		return ""
	}
	owned := own.FieldsV1.GetRawBytes()
	if len(without) > 0 {
		rest, err := left(u, own, without).ToJSON()
		if err != nil {
			return ""
		}
		owned = rest
	}
	var tree any
	if json.Unmarshal(owned, &tree) != nil {
		return ""
	}
	sorted, err := json.Marshal([]any{own.APIVersion, own.Time, tree}) // maps are written sorted
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(sorted)
	return hex.EncodeToString(sum[:16])
}

func entryOf(u *unstructured.Unstructured) (metav1.ManagedFieldsEntry, bool) {
	for _, e := range u.GetManagedFields() {
		if own(e) && e.FieldsV1 != nil {
			return e, true
		}
	}
	return metav1.ManagedFieldsEntry{}, false
}

func left(u *unstructured.Unstructured, own metav1.ManagedFieldsEntry, without []Pointer) *fieldpath.Set {
	set := parse(own)
	for _, p := range without {
		// Of what is one field to Kubernetes, a part cannot be told from the whole.
		if path, to := resolve(u.Object, set, p); to != nowhere {
			set = set.RecursiveDifference(fieldpath.NewSet(path))
		}
	}
	return set
}

func own(e metav1.ManagedFieldsEntry) bool {
	return e.Manager == Manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
}

func parse(e metav1.ManagedFieldsEntry) *fieldpath.Set {
	set := fieldpath.NewSet()
	if e.FieldsV1 == nil || set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())) != nil {
		return fieldpath.NewSet()
	}
	return set
}

// owners are the fields of two sides: of Plumb with the managers that it takes
// over, and of everybody else.
func owners(u *unstructured.Unstructured) (ours, others *fieldpath.Set) {
	ours, others = fieldpath.NewSet(), fieldpath.NewSet()
	for _, e := range u.GetManagedFields() {
		if own(e) || declarer(e) {
			ours = ours.Union(parse(e))
		} else {
			others = others.Union(parse(e))
		}
	}
	return ours, others
}
