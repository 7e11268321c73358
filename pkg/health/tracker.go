package health

import (
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/plumb-gitops/plumb/pkg/object"
)

// Tracker follows the health of the objects of one Application. Show it first
// the answers of the API server to one's own writes, then what a watch says: a
// watch cache may lag behind them, and what is older than the newest seen state
// of an object is passed over. It is not safe for concurrent use.
type Tracker struct {
	reports map[object.ID]Report
	newest  map[object.ID]string // resource versions
}

// NewTracker follows the given objects, all of them Unknown at first.
func NewTracker(ids []object.ID) *Tracker {
	t := &Tracker{reports: make(map[object.ID]Report, len(ids)), newest: make(map[object.ID]string, len(ids))}
	for _, id := range ids {
		t.reports[id] = Report{Message: "not seen yet"}
	}
	return t
}

// See takes a state of an object and says whether its report changed. Objects
// that are not followed and states older than the newest are passed over.
func (t *Tracker) See(u *unstructured.Unstructured) bool {
	return t.take(object.IDOf(u), u.GetResourceVersion(), Of(u))
}

// Gone takes the deletion of an object: u is its last state, with the resource
// version of the deletion, as a watch tells it.
func (t *Tracker) Gone(u *unstructured.Unstructured) bool {
	return t.take(object.IDOf(u), u.GetResourceVersion(), Of(nil))
}

// Absent takes the answer "not found" to a read begun after the last write.
func (t *Tracker) Absent(id object.ID) bool { return t.take(id, "", Of(nil)) }

func (t *Tracker) take(id object.ID, version string, r Report) bool {
	old, followed := t.reports[id]
	if !followed || older(version, t.newest[id]) {
		return false
	}
	if version != "" {
		t.newest[id] = version
	}
	t.reports[id] = r
	return r != old
}

// older is false when either cannot be compared: then the later message wins.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// Settled says that waiting will change nothing by itself: every object is
// Healthy or Degraded.
func (t *Tracker) Settled() bool {
	for _, r := range t.reports {
		if r.Status != Healthy && r.Status != Degraded {
			return false
		}
	}
	return true
}

// Summary is the worst of all.
func (t *Tracker) Summary() Summary { return Worst(t.reports) }

// Reports returns a copy of what is known.
func (t *Tracker) Reports() map[object.ID]Report { return maps.Clone(t.reports) }
