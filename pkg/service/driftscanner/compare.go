package driftscanner

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Kinds of drift, as in the event.
const (
	changed  = "changed"
	deleted  = "deleted"
	replaced = "replaced"
)

// settled says whether the status tells what is in the cluster: the last attempt
// wrote everything and came to its end. One that failed would only fail again; it
// is repeated at the next sweep.
func settled(a *v1alpha1.Application) bool {
	last := a.Status.LastAttempt
	return last != nil && a.DeletionTimestamp.IsZero() &&
		(last.Result == v1alpha1.ResultSucceeded || last.Result == v1alpha1.ResultWaiting)
}

// sick says whether the last attempt failed only because something was not healthy.
func sick(a *v1alpha1.Application) bool {
	ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionFalse &&
		(ready.Reason == string(fault.HealthFailed) || ready.Reason == string(fault.HealthTimeout))
}

// difference is how an object differs from what an Application last applied; empty
// when it does not, or when that cannot be told. Two that create one object at the same
// moment write the same fields: only the mark tells whose it came to be.
func difference(key app.Key, e inventory.Entry, live record, exists bool) string {
	switch {
	case !e.Settled() || e.Fields == "":
		return ""
	case !exists:
		return deleted
	case live.uid != e.UID:
		return replaced
	case live.fields != e.Fields, live.owner != (app.Key{}) && live.owner != key:
		return changed
	}
	return ""
}

// suspects are the objects of an Application that seem to have drifted, by what
// the watches told. Watch and status may be of different moments: each suspect
// is read before anything is said of it.
func suspects(a *v1alpha1.Application, owned inventory.Inventory, look func(object.ID) (record, bool)) map[object.ID]string {
	found := map[object.ID]string{}
	if !settled(a) {
		return found
	}
	for _, e := range owned.Entries() {
		live, exists := look(e.ID)
		if kind := difference(a.Key(), e, live, exists); kind != "" {
			found[e.ID] = kind
		}
	}
	return found
}

// misjudged says whether the health in the status is no longer what the watches
// tell: an object that all thought healthy is degraded, or a failure is over.
func misjudged(a *v1alpha1.Application, owned inventory.Inventory, look func(object.ID) (record, bool)) bool {
	degraded, healthy, counted := 0, 0, 0
	for _, e := range owned.Entries() {
		if e.Hook != "" || e.Fields == "" {
			continue // the worker does not wait for these, either
		}
		counted++
		switch live, _ := look(e.ID); live.health {
		case health.Degraded:
			degraded++
		case health.Healthy:
			healthy++
		}
	}
	said := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionHealthy)
	switch {
	case said == nil || !a.DeletionTimestamp.IsZero():
		return false
	case settled(a) && said.Status == metav1.ConditionTrue:
		return degraded > 0
	}
	return sick(a) && healthy == counted
}
