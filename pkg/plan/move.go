package plan

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// How an object moves from one Application to another without being deleted in
// between (docs/decisions/014-moving-objects.md): the one that renders it and may
// not have it writes a claim on it; the one that owns it and renders it no more
// makes it over to the claimant instead of deleting it.

// contest decides about a rendered object that another Application owns.
func (j judge) contest(a Action, owner string) Action {
	a.Verb, a.UID, a.ResourceVersion = Contest, string(a.Live.GetUID()), a.Live.GetResourceVersion()
	a.Why = fmt.Sprintf("belongs to Application %s, so Application %s does not take it over; remove it from one of the two sources", owner, j.key())
	a.To, _ = app.ParseKey(owner)
	return a
}

// Conflict is the fault of an object that another Application owns, nil for any
// other. It goes away when the other one lets go, so it is worth another try.
func (a Action) Conflict() error {
	if a.Verb != Contest {
		return nil
	}
	return &fault.Error{Class: fault.Transient, Reason: fault.OwnershipConflict, Place: a.Object.Place(), Err: fmt.Errorf("%s", a.Why)}
}

// Contested returns what other Applications own. With any, nothing is written but
// the claims to it, and what is released.
func (p Plan) Contested() []Action { return p.with(Contest) }

// Released returns what is made over to other Applications.
func (p Plan) Released() []Action { return p.with(Release) }

func (p Plan) with(verb Verb) []Action {
	return slices.DeleteFunc(p.Actions(), func(a Action) bool { return a.Verb != verb })
}

// handover decides about an object that is not rendered and that an Application
// other than this one claims, or that this one claimed in vain.
func (j judge) handover(a Action) (Action, bool) {
	if a.Live == nil || a.Live.GetDeletionTimestamp() != nil {
		return a, false
	}
	claim, err := app.ParseKey(a.Live.GetAnnotations()[ClaimAnnotation])
	if err != nil {
		return a, false
	}
	ours := j.mine(a.Live)
	switch other, taken := j.taken(a.Live); {
	case ours && claim != j.key() && (j.Exists == nil || j.Exists(claim)):
		a.To, a.Why = claim, fmt.Sprintf("is made over to Application %s, which renders it", claim)
	case taken && claim == j.key():
		a.Why = fmt.Sprintf("left in the cluster: belongs to Application %s; it is not claimed any more", other)
	default:
		return a, false
	}
	a.Verb, a.UID, a.ResourceVersion = Release, string(a.Live.GetUID()), a.Live.GetResourceVersion()
	return a, true
}

// Marks is the JSON merge patch that carries out a Contest or a Release: the claim
// of this Application on the object, or its new owner, or neither. It holds only for
// the object as it was read.
func (p Plan) Marks(a Action) map[string]any {
	annotations := map[string]any{ClaimAnnotation: nil}
	metadata := map[string]any{"resourceVersion": a.ResourceVersion, "annotations": annotations}
	switch {
	case a.Verb == Contest:
		annotations[ClaimAnnotation] = p.Application.String()
	case a.To != (app.Key{}):
		annotations[v1alpha1.OwnerAnnotation] = a.To.String()
		metadata["labels"] = map[string]any{v1alpha1.OwnerLabel: v1alpha1.OwnerHash(a.To)}
	}
	return map[string]any{"metadata": metadata}
}

// Claimed says whether the live object of a Contest bears the claim already.
func (p Plan) Claimed(live *unstructured.Unstructured) bool {
	return annotationsOf(live)[ClaimAnnotation] == p.Application.String()
}

// deferred holds back what would be pruned while another Application may be about to
// render it.
func (p Plan) deferred() Plan {
	if len(p.judge.Behind) == 0 || p.Blocked != "" {
		return p
	}
	for i, a := range p.Prune {
		if entry, _ := p.judge.Inventory.Get(a.ID); a.Verb == Prune && entry.Hook == "" {
			a.Verb, a.ResourceVersion = Keep, ""
			a.Why = fmt.Sprintf("not in the source any more; Application %s, which has not looked at this commit yet, may take it over", p.judge.Behind[0])
			p.Prune[i], p.Deferred = a, true
		}
	}
	return p
}
