package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Phase is when something is done. The zero value is the sync itself.
type Phase int

// The sync, and the phases of hooks.
const (
	Sync      Phase = iota
	PreSync         // before anything else of the sync
	PostSync        // once everything is healthy, and what is not rendered is gone
	SyncFail        // after a failure
	PreDelete       // before the objects of an Application that goes
)

// phaseWords are the values of the annotation, by phase.
var phaseWords = []string{"sync", "pre-sync", "post-sync", "sync-fail", "pre-delete"}

func (p Phase) String() string { return phaseWords[p] }

// Values of the annotation that says when a hook is deleted.
const (
	deleteBefore    = "before" // when it is to run again
	deleteSucceeded = "succeeded"
	deleteFailed    = "failed"
)

// phasesOf are the phases in which an object runs as a hook, in order; none when
// it is no hook.
func phasesOf(o object.Object) []Phase {
	var phases []Phase
	words := split(o.Annotation(hookAnnotation))
	for p := PreSync; p <= PreDelete; p++ {
		if slices.Contains(words, p.String()) {
			phases = append(phases, p)
		}
	}
	return phases
}

// hookWords is the form of the inventory.
func hookWords(phases []Phase) string {
	var words []string
	for _, p := range phases {
		words = append(words, p.String())
	}
	return strings.Join(words, ",")
}

// deletes says whether the policy of a hook has the word. A hook without one is
// deleted before it runs again.
func deletes(o object.Object, when string) bool {
	policy := o.Annotation(hookDeleteAnnotation)
	return policy == "" && when == deleteBefore || slices.Contains(split(policy), when)
}

// Spent says whether the hook of the action came to an end, as live, after which
// its policy deletes it.
func (p Plan) Spent(a Action, live *unstructured.Unstructured) bool {
	return p.judge.spent(a.Object, live)
}

func (j judge) spent(o object.Object, live *unstructured.Unstructured) bool {
	switch j.ended(live).Status {
	case health.Healthy:
		return deletes(o, deleteSucceeded)
	case health.Degraded:
		return deletes(o, deleteFailed)
	}
	return false
}

// Health judges a live object as the Application wants it; nil is Missing.
func (p Plan) Health(live *unstructured.Unstructured) health.Report { return p.judge.health(live) }

// Ended judges a live hook: one that is Healthy came to its end, one that is
// Degraded failed, any other runs.
func (p Plan) Ended(live *unstructured.Unstructured) health.Report { return p.judge.ended(live) }

func (j judge) health(live *unstructured.Unstructured) health.Report {
	if j.Health == nil {
		return health.Of(live)
	}
	return j.Health(live)
}

// ended is not health alone: what runs to an end has not reached it when it could
// serve, or when it waits for its turn.
func (j judge) ended(live *unstructured.Unstructured) health.Report {
	report := j.health(live)
	if live == nil || report.Status != health.Healthy {
		return report
	}
	suspended, _, _ := unstructured.NestedBool(live.Object, "spec", "suspend")
	restarts, _, _ := unstructured.NestedString(live.Object, "spec", "restartPolicy")
	phase, _, _ := unstructured.NestedString(live.Object, "status", "phase")
	switch kind := live.GroupVersionKind().GroupKind(); {
	case kind == schema.GroupKind{Group: "batch", Kind: "Job"} && suspended:
		return health.Report{Status: health.Progressing, Message: "suspended"}
	case kind == schema.GroupKind{Kind: "Pod"} && restarts != "Always" && phase != "Succeeded":
		return health.Report{Status: health.Progressing, Message: "running"}
	}
	return report
}

// token is what the annotation of a live hook tells.
func (j judge) token(phase Phase) string { return fmt.Sprintf("%d/%s", j.Run, phase) }

// ran tells in which phase of this run a live hook was made; Sync: in none.
func (j judge) ran(live *unstructured.Unstructured) Phase {
	run, word, _ := strings.Cut(live.GetAnnotations()[HookRunAnnotation], "/")
	if phase := slices.Index(phaseWords, word); run == strconv.FormatInt(j.Run, 10) && phase > 0 {
		return Phase(phase)
	}
	return Sync
}

// hooks decides about an object that is a hook, once for each of its phases.
func (j judge) hooks(o object.Object) ([]Action, error) {
	var actions []Action
	for _, phase := range phasesOf(o) {
		a, err := j.hook(o, phase)
		if err != nil {
			return nil, err
		}
		actions = append(actions, a)
	}
	return actions, nil
}

func (j judge) hook(o object.Object, phase Phase) (Action, error) {
	digest, err := o.Digest()
	if err != nil {
		return Action{}, err
	}
	live, read := j.Live[o.ID()]
	a := Action{ID: o.ID(), Version: o.GroupVersionKind().Version, Hook: phase, Digest: digest, Live: live}
	a.Object = o.With(func(u *unstructured.Unstructured) {
		annotations := u.GetAnnotations()
		annotations[HookRunAnnotation] = j.token(phase)
		u.SetAnnotations(annotations)
	})
	switch {
	case phase == PreDelete && !j.teardown:
		return j.standby(a), nil
	case !j.RunHooks:
		a.Why = "hooks run when the source or the spec changed, or when a person asks"
	case !read && phase != PreDelete:
		return a, fault.Retry(fault.ApplyFailed, "plan %s: the live object was not read", a.ID.Human())
	case live == nil:
		a.Verb, a.Why = Create, runs[phase]
	default:
		return j.rerun(a)
	}
	return a, nil
}

// runs says why a hook is made.
var runs = map[Phase]string{
	PreSync: "runs before the sync", PostSync: "runs after the sync", SyncFail: "runs when the sync fails",
	PreDelete: "runs before the Application's objects are deleted",
}

// standby is a hook of the Application's end: it stands in the inventory, so that
// the end knows that there is one.
func (j judge) standby(a Action) Action {
	a.Why = runs[PreDelete]
	if entry, known := j.Inventory.Get(a.ID); !known || entry.Hook != hookWords(phasesOf(a.Object)) {
		a.Verb = Record
	}
	return a
}

// rerun decides about a hook whose object exists. One of this very run is never
// made again: its result stands, or is waited for.
func (j judge) rerun(a Action) (Action, error) {
	if other, taken := j.taken(a.Live); taken { // which may be about to let go of it
		return a, fault.Retry(fault.OwnershipConflict, "%s hook %s: an object of that name belongs to Application %s", a.Hook, a.ID.Human(), other)
	}
	if !j.mine(a.Live) {
		return a, fault.Refuse(fault.OwnershipConflict, a.Object.Place(),
			"exists, and was not made as a hook of Application %s, so it is not deleted to run the hook; delete or rename one of the two", j.key())
	}
	ran := j.ran(a.Live)
	switch going := a.Live.GetDeletionTimestamp() != nil; {
	case ran == SyncFail && a.Hook != SyncFail:
		return a, fault.Refuse(fault.HealthFailed, a.Object.Place(), "this run failed before, and its hooks of sync-fail ran")
	case ran > a.Hook:
		a.Why = "ran in this attempt already"
		return a, nil
	case ran == a.Hook && going:
		return a, fault.Retry(fault.HealthFailed, "%s hook %s: somebody deletes it while it runs", a.Hook, a.ID.Human())
	case ran == a.Hook:
		a.Verb, a.Why = Resume, "was begun in this attempt"
	case !going && !deletes(a.Object, deleteBefore) && !j.spent(a.Object, a.Live):
		return a, fault.Refuse(fault.HealthFailed, a.Object.Place(), "is left over from an earlier run, and %s does not say %q; delete it, or add that",
			hookDeleteAnnotation, deleteBefore)
	default:
		a.Verb, a.Why = Replace, runs[a.Hook]+"; the one of an earlier run is deleted"
		a.UID, a.ResourceVersion = string(a.Live.GetUID()), a.Live.GetResourceVersion()
	}
	return a, nil
}

// mine says whether a live object is certainly this Application's own: in its
// inventory with that uid, or claimed there, and so marked.
func (j judge) mine(live *unstructured.Unstructured) bool {
	entry, known := j.Inventory.Get(object.IDOf(live))
	return known && owner(live) == j.key().String() && (!entry.Settled() || entry.UID == string(live.GetUID()))
}

// Changes says whether the plan carries out a change of the source or the spec, or
// goes on with hooks that did not end: then hooks run (Input.RunHooks). Drift is none.
func (p Plan) Changes() bool {
	for _, a := range p.Actions() {
		entry, _ := p.judge.Inventory.Get(a.ID)
		changed := entry.Digest != a.Digest
		switch {
		case a.Hook == PreDelete:
		case a.Hook != Sync && changed, a.Verb == Prune, a.Verb == Release, a.Verb.Applies() && (changed || a.Drift == nil):
			return true
		}
	}
	return false
}

// HasPreDelete says whether hooks have to run before what is owned may be deleted,
// which needs a render for PreDeleteHooks.
func HasPreDelete(owned inventory.Inventory) bool {
	for _, e := range owned.Entries() {
		if slices.Contains(split(e.Hook), PreDelete.String()) {
			return true
		}
	}
	return false
}

// PreDeleteHooks returns the stages to put before the prune of a Teardown: the hooks of
// the Application's end, as in.Desired has them. Those that its inventory does not
// know are left out: they were never part of what is being deleted.
func PreDeleteHooks(in Input) ([]Stage, error) {
	if in.Run < 1 {
		return nil, fault.Refuse(fault.ApplyFailed, fault.Place{}, "run hooks: their run has no number")
	}
	j := judge{Input: in, teardown: true}
	j.RunHooks = true
	var actions []Action
	for _, o := range in.Desired.All() {
		entry, known := in.Inventory.Get(o.ID())
		if !known || !slices.Contains(split(entry.Hook), PreDelete.String()) || !slices.Contains(phasesOf(o), PreDelete) {
			continue
		}
		a, err := j.hook(o, PreDelete)
		if err != nil {
			return nil, err
		}
		actions = append(actions, a)
	}
	return arrange(PreDelete, actions), nil
}
