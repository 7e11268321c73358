package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/ignore"
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
	// Unclaimed says that no other Application holds an object in its inventory. An object
	// new to this one is then created without a look, on condition that it is absent. Nil:
	// everything is looked at.
	Unclaimed func(object.ID) bool
	// Heal applies drifted and deleted objects again; else they are left as they are.
	Heal bool
	// Exists says whether there is an Application of that name. What bears the mark
	// of an existing one is not taken over. Nil means that each may exist.
	Exists func(app.Key) bool
	// Fields hashes what Plumb owns in a live object, as in inventory.Entry. Nil
	// means that it cannot be told whether a live object drifted: it is applied.
	Fields func(*unstructured.Unstructured) string
	// Ignore is spec.ignore; Fields is its method of that name then.
	Ignore ignore.Rules

	// Health judges a live object; nil means health.Of.
	Health func(*unstructured.Unstructured) health.Report

	// RunHooks lets hooks run. Whether they should is told by the plan without them
	// (Plan.Changes), unless a person asks for the attempt.
	RunHooks bool
	// Run names the run of hooks that this attempt begins, or goes on with after a
	// worker ended amid it; above 0 with RunHooks. A hook runs once in a run.
	Run int64
	// Behind are Applications that read the same source and have not looked at this
	// commit yet: each may be about to render what this one drops. While there are
	// any, nothing is pruned.
	Behind []app.Key
}

// Decide makes the plan. An empty render, a malformed policy, a hook that cannot
// be run, and a live object that Needs asked for and that was not read are faults;
// then there is no plan. What another Application owns is contested.
func Decide(in Input) (Plan, error) {
	j := judge{Input: in}
	if in.RunHooks && in.Run < 1 {
		return Plan{}, fault.Refuse(fault.ApplyFailed, fault.Place{}, "run hooks: their run has no number")
	}
	phases := map[Phase][]Action{}
	var refused []error
	for _, o := range in.Desired.All() {
		actions, err := j.rendered(o)
		refused = append(refused, err)
		for _, a := range actions {
			phases[a.Hook] = append(phases[a.Hook], a)
		}
	}
	if err := errors.Join(refused...); err != nil {
		return Plan{}, err
	}
	p := Plan{Application: j.key(), Stages: stages(phases), SyncFail: arrange(SyncFail, phases[SyncFail]), Prune: j.leftovers(), judge: j}
	if !slices.ContainsFunc(slices.Concat(actions(p.Stages), actions(p.SyncFail)), Action.Owned) {
		return Plan{}, fault.Refuse(fault.RenderFailed, fault.Place{},
			"the render holds no object; to remove what is deployed, delete the Application")
	}
	p, err := p.guarded(in)
	return p.deferred(), err
}

// rendered decides about one object of the render: by one action, for a hook by one
// for each of its phases.
func (j judge) rendered(o object.Object) ([]Action, error) {
	if ignored(o) {
		if _, owned := j.Inventory.Get(o.ID()); owned {
			return nil, nil // leftovers has it
		}
		return []Action{{ID: o.ID(), Version: o.GroupVersionKind().Version, Object: o, Why: "its annotation " + applyAnnotation + " is " + applyIgnore}}, nil
	}
	if len(phasesOf(o)) > 0 {
		return j.hooks(o)
	}
	a, err := j.object(o)
	return []Action{a}, err
}

// stages puts the phases in order. Namespaces that hooks before the sync live in
// come before those.
func stages(phases map[Phase][]Action) []Stage {
	pre := arrange(PreSync, phases[PreSync])
	var first, sync []Action
	for _, a := range phases[Sync] {
		houses := func(hook Action) bool { return a.ID == object.ID{Kind: "Namespace", Name: hook.ID.Namespace} }
		if _, given := waveOf(annotationsOf(a.Object.Unstructured())); !given && slices.ContainsFunc(phases[PreSync], houses) {
			first = append(first, a)
			continue
		}
		sync = append(sync, a)
	}
	early, middle, post := arrange(Sync, first), arrange(Sync, sync), arrange(PostSync, phases[PostSync])
	if len(early) > 0 {
		early[0].Await = Usable
	}
	if n := len(middle); n > 0 && slices.ContainsFunc(phases[PostSync], func(a Action) bool { return a.Verb.Works() }) {
		middle[n-1].Await = Healthy
	}
	return slices.Concat(early, pre, middle, arrange(PreDelete, phases[PreDelete]), post)
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
	if a.Hook == Sync {
		return j.object(a.Object)
	}
	j.Inventory = p.Claim(j.Inventory) // a hook of several phases is made by the first of them
	again, err := j.hook(a.Object, a.Hook)
	again.Object, again.Digest = a.Object, a.Digest
	return again, err
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
	if owner, taken := j.taken(live); taken && !a.Once() {
		return j.contest(a, owner), nil
	}
	if live.GetDeletionTimestamp() != nil {
		return hold(a), nil
	}
	if a.UID = string(live.GetUID()); a.Once() {
		return j.once(a, entry), nil
	}
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
	if j.presumed(a.Object) {
		a.Verb, a.Presumed, a.Why = Create, true, "new in the source"
		return a, nil
	}
	if j.unsettled(a.Object) {
		return Action{}, fault.Retry(fault.ApplyFailed, "plan %s: the live object was not read", a.ID.Human())
	}
	if entry.Digest == a.Digest || a.Once() {
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
		a.Drift = j.drift("replaced", a)
		return j.tolerated(a, entry)
	case entry.Digest != a.Digest:
		a.Verb, a.Why = Update, "changed in the source"
	default:
		return j.compared(a, entry)
	}
	return a
}

// once decides about an object that exists and is made only when it does not. One
// that an attempt made which did not end is taken in; any other is left alone, and
// stays whose it was.
func (j judge) once(a Action, entry inventory.Entry) Action {
	a.Why = "exists; its annotation " + applyAnnotation + " is " + applyIfAbsent
	if !entry.Settled() && j.mine(a.Live) {
		a.Verb = Record
	}
	return a
}

// compared decides about an object that is rendered as it was last applied.
func (j judge) compared(a Action, entry inventory.Entry) Action {
	if j.Fields == nil || entry.Fields == "" {
		a.Verb, a.Why = Update, "it is not known whether it drifted"
		return a
	}
	now := j.Fields(a.Live)
	if now == entry.Fields && owner(a.Live) == j.key().String() {
		a.Why = "applied already"
		return a
	}
	if now != "" && !ignore.Comparable(now, entry.Fields) {
		a.Verb, a.Why = Update, "spec.ignore changed"
		return a
	}
	a.Verb, a.Why, a.Drift = Update, "changed in the cluster", j.drift("changed", a)
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
