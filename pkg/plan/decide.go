package plan

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Input is all that a decision rests on. It is not changed.
type Input struct {
	Application *v1alpha1.Application
	Desired     object.Set // as Prepare returns it
	Inventory   inventory.Inventory
	// Live holds what was read. A key with nil is an object that is absent, no key
	// one that was not read.
	Live map[object.ID]*unstructured.Unstructured
	// Heal applies drifted and deleted objects again; else they are left as they are.
	Heal bool
	// Exists says whether there is an Application of that name. What bears the mark
	// of an existing one is not taken over. Nil means that each may exist.
	Exists func(app.Key) bool
	// Fields hashes what Plumb owns in a live object, as in inventory.Entry. Nil
	// means that it cannot be told whether a live object drifted: it is applied.
	Fields func(*unstructured.Unstructured) string
}

// Decide makes the plan. An empty render, an object of another Application (named
// with both), a malformed policy, and a live object that Needs asked for and that
// was not read are faults; then there is no plan.
func Decide(in Input) (Plan, error) {
	j := judge{Input: in}
	var actions []Action
	var refused []error
	owned := false
	for _, o := range in.Desired.All() {
		a, err := j.object(o)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		owned = owned || a.Owned()
		actions = append(actions, a)
	}
	if err := errors.Join(refused...); err != nil {
		return Plan{}, err
	}
	if !owned {
		return Plan{}, fault.Refuse(fault.RenderFailed, fault.Place{},
			"the render holds no object; to remove what is deployed, delete the Application")
	}
	p := Plan{Application: j.key(), Stages: arrange(actions), Prune: j.leftovers(), judge: j}
	return p.guarded(in)
}

// Again decides anew about one action of the plan, for an object that turned out
// to be another than the plan was made for; live is nil when it is absent.
func (p Plan) Again(a Action, live *unstructured.Unstructured) (Action, error) {
	j := p.judge
	j.Live = map[object.ID]*unstructured.Unstructured{a.ID: live}
	if a.Object == (object.Object{}) {
		entry, _ := j.Inventory.Get(a.ID)
		return j.surplus(entry), nil
	}
	return j.object(a.Object)
}

// judge decides about single objects.
type judge struct {
	Input
	teardown bool // the Application goes: spec.sync.prune does not hold objects back
}

func (j judge) key() app.Key { return j.Application.Key() }

func (j judge) object(o object.Object) (Action, error) {
	digest, err := o.Digest()
	if err != nil {
		return Action{}, err
	}
	live, read := j.Live[o.ID()]
	a := Action{ID: o.ID(), Version: o.GroupVersionKind().Version, Object: o, Digest: digest, Live: live}
	entry, _ := j.Inventory.Get(o.ID())
	switch {
	case !a.Owned():
		return j.shared(a, read), nil
	case !read:
		return j.unread(a, entry)
	case live == nil:
		return j.absent(a, entry), nil
	}
	if owner, taken := j.taken(live); taken {
		return Action{}, conflict(o, j.key(), owner)
	}
	if live.GetDeletionTimestamp() != nil {
		return hold(a), nil
	}
	a.UID = string(live.GetUID())
	return j.present(a, entry), nil
}

// shared is the Namespace of createNamespace: made when absent, else not touched.
func (j judge) shared(a Action, read bool) Action {
	switch {
	case !read:
		a.Why = "objects of this Application are in it"
	case a.Live == nil:
		a.Verb, a.Why = Create, "not in the cluster; spec.destination.createNamespace"
	case a.Live.GetDeletionTimestamp() != nil:
		return hold(a)
	default:
		a.Why = "exists"
	}
	return a
}

func (j judge) unread(a Action, entry inventory.Entry) (Action, error) {
	if !entry.Settled() {
		return Action{}, fault.Retry(fault.ApplyFailed, "plan %s: the live object was not read", a.ID.Human())
	}
	if entry.Digest == a.Digest {
		a.Why = "applied already"
		return a, nil
	}
	a.Verb, a.UID, a.Why = Update, entry.UID, "changed in the source"
	return a, nil
}

func (j judge) absent(a Action, entry inventory.Entry) Action {
	a.Verb, a.Why = Create, "not in the cluster"
	if !entry.Settled() {
		return a
	}
	a.Why, a.Drift = "was deleted from the cluster", &Drift{Kind: "deleted"}
	return j.tolerated(a, entry)
}

func hold(a Action) Action {
	a.Verb, a.Why = Hold, "is being deleted"
	if held := a.Live.GetFinalizers(); len(held) > 0 {
		a.Why += ", held by finalizers " + strings.Join(held, ", ")
	}
	a.Why += "; it is made anew once it is gone"
	return a
}

// present decides about an object that exists and that no other Application owns.
func (j judge) present(a Action, entry inventory.Entry) Action {
	marked := owner(a.Live) == j.key().String()
	same := entry.UID != "" && entry.UID == a.UID
	switch {
	case !marked && !same:
		a.Verb, a.Why = Adopt, adopting(a.Live)
	case entry.ID == (object.ID{}):
		a.Verb, a.Why = Adopt, "bears this Application's mark, but is not in its inventory"
	case entry.UID == "":
		a.Verb, a.Why = Update, "created by an attempt that did not end"
	case entry.Digest == "":
		a.Verb, a.Why = Update, "the last apply did not end"
	case !same:
		a.Verb, a.Why = Update, "replaced in the cluster by another object of this name"
		a.Drift = drift("replaced", a)
		return j.tolerated(a, entry)
	case entry.Digest != a.Digest:
		a.Verb, a.Why = Update, "changed in the source"
	default:
		return j.compared(a, entry)
	}
	return a
}

// compared decides about an object that is rendered as it was last applied.
func (j judge) compared(a Action, entry inventory.Entry) Action {
	if j.Fields == nil || entry.Fields == "" {
		a.Verb, a.Why = Update, "it is not known whether it drifted"
		return a
	}
	if j.Fields(a.Live) == entry.Fields {
		a.Why = "applied already"
		return a
	}
	a.Verb, a.Why, a.Drift = Update, "changed in the cluster", drift("changed", a)
	return j.tolerated(a, entry)
}

// tolerated leaves drift alone unless it is healed or the source changed as well.
func (j judge) tolerated(a Action, entry inventory.Entry) Action {
	if !j.Heal && entry.Digest == a.Digest {
		a.Verb = Leave
	}
	return a
}

// taken tells the Application, other than this one, that the mark names.
func (j judge) taken(live *unstructured.Unstructured) (owned string, taken bool) {
	mark := owner(live)
	if mark == "" || mark == j.key().String() {
		return "", false
	}
	other, err := app.ParseKey(mark)
	if err != nil {
		return "", false // names nobody
	}
	return mark, j.Exists == nil || j.Exists(other)
}

func owner(live *unstructured.Unstructured) string {
	return live.GetAnnotations()[v1alpha1.OwnerAnnotation]
}

func adopting(live *unstructured.Unstructured) string {
	if mark := owner(live); mark != "" {
		return fmt.Sprintf("exists; its owner %q is no more", mark)
	}
	return "exists, and nobody owns it"
}

func conflict(o object.Object, key app.Key, owner string) error {
	return fault.Refuse(fault.OwnershipConflict, o.Place(),
		"belongs to Application %s, so Application %s does not take it over; remove it from one of the two sources", owner, key)
}
