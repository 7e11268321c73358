package plan

import (
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Teardown is the plan for an Application that is being deleted: with
// DeletionDelete everything it owns is pruned, in the order of deletion and
// without limit; with any other policy it is left in the cluster and forgotten.
// in.Desired is not looked at. All that is owned must have been read (Needs, fresh,
// with an empty render); what was not is kept in the inventory. An object whose
// annotation forbids pruning is left in the cluster and forgotten.
func Teardown(in Input, policy v1alpha1.DeletionPolicy) Plan {
	in.Desired, in.RunHooks = object.Set{}, true // Again decides about the hooks of PreDeleteHooks
	j := judge{Input: in, teardown: true}
	p := Plan{Application: j.key(), Prune: j.leftovers(), judge: j}
	for i, a := range p.Prune {
		switch {
		case policy != v1alpha1.DeletionDelete:
			a.Verb, a.Why = Forget, "left in the cluster: spec.deletionPolicy is "+string(policy)
		case a.Verb == Keep && a.Live != nil && a.Live.GetDeletionTimestamp() == nil:
			a.Verb, a.Why = Forget, "left in the cluster: "+a.Why
		}
		p.Prune[i] = a
	}
	return p.deferred()
}
