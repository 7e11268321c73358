package driftscanner

import (
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/ignore"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// record is all that is kept of a live object.
type record struct {
	uid    string
	fields string // hash of what Plumb owns in it, see ignore.Rules.Fields
	health health.Status
	owner  app.Key
}

// records are the owned objects that the watches told of.
type records struct {
	mu   sync.Mutex
	byID map[object.ID]record
}

// recordOf reads a live object by the rules of its owner; false when no Application
// is marked as that.
func recordOf(u *unstructured.Unstructured, rules func(app.Key) (ignore.Rules, health.Rules)) (record, bool) {
	owner, err := app.ParseKey(u.GetAnnotations()[v1alpha1.OwnerAnnotation])
	if err != nil {
		return record{}, false
	}
	ignored, judged := rules(owner)
	return record{uid: string(u.GetUID()), fields: ignored.Fields(u), health: judged.Of(u).Status, owner: owner}, true
}

// put stores what is known of an object now and returns what was known before.
func (r *records) put(id object.ID, now record) (before record, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known = r.byID[id]
	r.byID[id] = now
	return before, known
}

func (r *records) remove(id object.ID) (before record, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known = r.byID[id]
	delete(r.byID, id)
	return before, known
}

func (r *records) get(id object.ID) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, known := r.byID[id]
	return found, known
}
