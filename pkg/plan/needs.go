package plan

import (
	"slices"

	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Ref names a live object to read, and the API version to read it in.
type Ref struct {
	ID      object.ID
	Version string
}

// Needs returns which live objects Decide has to be shown, sorted: those that the
// inventory does not settle, and those that might be pruned. All that is rendered or
// owned when fresh: for drift, for what a person or a changed spec asks, and after an
// attempt that did not finish. Never those presumed to be absent. in.Live is not looked at.
func Needs(in Input, fresh bool) []Ref {
	var refs []Ref
	for _, o := range in.Desired.All() {
		if !ignored(o) && (fresh || in.unsettled(o)) && !in.presumed(o) {
			refs = append(refs, Ref{ID: o.ID(), Version: o.GroupVersionKind().Version})
		}
	}
	for _, e := range in.Inventory.Entries() {
		if _, rendered := in.Desired.Get(e.ID); !rendered && (fresh || in.prunes()) {
			refs = append(refs, Ref{ID: e.ID, Version: e.Version})
		}
	}
	slices.SortFunc(refs, func(a, b Ref) int { return compare(a.ID, b.ID) })
	return refs
}

func (in Input) unsettled(o object.Object) bool {
	if phases := phasesOf(o); len(phases) > 0 {
		return in.RunHooks && phases[0] != PreDelete
	}
	if (Action{Object: o}).Owned() {
		entry, _ := in.Inventory.Get(o.ID())
		return !entry.Settled() || in.Ignore.Match(o.ID()) && changed(o, entry)
	}
	// The shared Namespace is there when something of ours is in it.
	for _, other := range in.Desired.All() {
		entry, _ := in.Inventory.Get(other.ID())
		if other.ID().Namespace == o.ID().Name && entry.UID == "" {
			return true
		}
	}
	return false
}

// presumed says that an object is taken to be absent: it is new to this Application, in no
// inventory, and nothing has to be seen of one that exists.
func (in Input) presumed(o object.Object) bool {
	if in.Unclaimed == nil || len(phasesOf(o)) > 0 || !(Action{Object: o}).Owned() || in.Ignore.Match(o.ID()) {
		return false
	}
	_, held := in.Inventory.Get(o.ID())
	return !held && in.Unclaimed(o.ID())
}

// changed says that an object will be applied: what is ignored in it has to be
// seen before.
func changed(o object.Object, entry inventory.Entry) bool {
	digest, err := o.Digest()
	return err != nil || digest != entry.Digest
}

// prunes is the policy; the API server fills in the default, true.
func (in Input) prunes() bool {
	prune := in.Application.Spec.Sync.Prune
	return prune == nil || *prune
}
