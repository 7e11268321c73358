// Package plan decides what an attempt would do: desired x live x inventory x
// policy -> a Plan, with a reason for everything.
//
// It is pure: no cluster, no clock. It may import object, inventory, health, ignore,
// fault, app and app/v1alpha1. What it cannot decide safely is a fault, and what is not
// certainly the Application's own is never deleted.
package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Verb is what is done with an object. The zero value does nothing.
type Verb int

// What is done with objects of the render: nothing (Unchanged, Leave), an apply
// (Create, Update, Adopt), or a failure (Hold, Contest). What is done with objects that
// are owned and no longer rendered: a deletion (Prune), or nothing; then the
// inventory goes on to hold them (Keep) or not (Forget).
const (
	Unchanged Verb = iota // as last applied
	Leave                 // drifted, and drift is only reported
	Create
	Update
	Adopt // exists, and nobody owns it
	Hold  // cannot be applied now
	Prune
	Keep
	Forget

	Replace // deleted and created anew: a hook of an earlier run, an immutable field
	Resume  // a hook of this run: nothing is sent, its end is waited for
	Record  // nothing is sent; the inventory takes it in
	Contest // another Application owns it: a claim is written on it, and the plan fails
	Release // owned and not rendered, and claimed by another: it is made over to that
)

func (v Verb) String() string {
	return [...]string{"unchanged", "leave", "create", "update", "adopt", "hold", "prune", "keep", "forget",
		"replace", "resume", "record", "contest", "release"}[v]
}

// Applies says whether the verb sends the object to the cluster.
func (v Verb) Applies() bool { return v == Create || v == Update || v == Adopt || v == Replace }

// Works says whether the verb does anything, or fails.
func (v Verb) Works() bool {
	return v.Applies() || slices.Contains([]Verb{Hold, Prune, Forget, Resume, Record, Contest, Release}, v)
}

// Action is what is done with one object, and why.
type Action struct {
	Verb    Verb
	ID      object.ID
	Version string // API version
	Why     string // for people
	Hook    Phase  // the phase that the object runs in as a hook; Sync: it is none

	Object object.Object // what is applied; zero when it is not in the render
	Digest string        // of Object

	// UID and ResourceVersion are preconditions, empty ones are none.
	UID, ResourceVersion string
	Drift                *Drift
	To                   app.Key // Contest: who owns it; Release: who gets it, zero when nobody does
	Absent               bool    // it was looked for, and is not in the cluster
	Presumed             bool    // Create: absent, since nothing says otherwise; the apply finds out
	// Live is the object as it was read; nil when it is absent or was not read. Read only.
	Live *unstructured.Unstructured
}

// Owned says whether the Application owns the object once it is applied. It does
// not own the Namespace of spec.destination.createNamespace, nor what it ignores.
func (a Action) Owned() bool {
	return a.Object == (object.Object{}) || a.Object.Annotation(v1alpha1.OwnerAnnotation) != "" && !ignored(a.Object)
}

// Merges says that fields which others hold as a whole are left to them.
func (a Action) Merges() bool { return a.Object.Annotation(applyAnnotation) == applyMerge }

// Once says that the object is left alone after its creation.
func (a Action) Once() bool { return a.Object.Annotation(applyAnnotation) == applyIfAbsent }

// Replaceable says whether the object may be deleted and made anew when a field
// changes that cannot change.
func (a Action) Replaceable() bool {
	precious := append([]schema.GroupKind{{Kind: "PersistentVolume"}}, grave...)
	return a.Object.Annotation(replaceAnnotation) == replaceAllowed && !slices.Contains(precious, a.ID.GroupKind())
}

// Owns says whether a live object is certainly the Application's own: in its
// inventory with that uid, or claimed there, and so marked.
func (p Plan) Owns(live *unstructured.Unstructured) bool { return p.judge.mine(live) }

// Propagation is how what depends on a pruned object goes.
func (p Plan) Propagation() v1alpha1.Propagation {
	if p.judge.Application == nil {
		return ""
	}
	return p.judge.Application.Spec.Sync.PrunePropagation
}

func ignored(o object.Object) bool { return o.Annotation(applyAnnotation) == applyIgnore }

func (a Action) String() string {
	return fmt.Sprintf("%-9s %s: %s", a.Verb, a.ID.Human(), a.Why)
}

// Drift is how a live object differs from what was last applied.
type Drift struct {
	Kind    string        // changed, deleted or replaced
	Fields  []FieldChange // from Git to live; may be empty
	Manager string        // field manager of the newest change by others
	Time    time.Time
}

// FieldChange is one field that Git owns; the values are JSON, empty when
// absent, redacted when they may be secret.
type FieldChange struct {
	Path, Before, After string
}

// Await is what has to come about of objects before it goes on.
type Await int

// What is waited for.
const (
	None     Await = iota
	Usable         // namespaces are there, definitions are established
	Healthy        // all are healthy
	Finished       // hooks came to their end, good or bad
	Gone           // the objects are deleted, or others took their names
)

func (a Await) String() string {
	return [...]string{"none", "usable", "healthy", "finished", "gone"}[a]
}

// Stage is a list of independent actions. The next stage begins when all of
// them went well and what Await says has come about.
type Stage struct {
	Name    string
	Phase   Phase
	Wave    int // outside of -10000 to 10000: before, or after all waves
	Await   Await
	Actions []Action
}

// Plan is what an attempt would do. The zero value does nothing.
type Plan struct {
	Application app.Key
	Stages      []Stage
	Prune       []Action // after the stages of the sync, in this order; see Deletions
	SyncFail    []Stage  // when carrying out the others failed

	// Digest names the deletions of this plan, for their confirmation; empty without any.
	Digest string
	// Blocked says why the plan must not be carried out before somebody confirms its Digest.
	Blocked string
	// Deferred says that deletions wait for another Application (Input.Behind): the
	// attempt has to be made again soon.
	Deferred bool

	judge judge
}

// Err is the fault of a blocked plan, nil for any other. It is worth another try
// while another Application may yet take over what would be deleted.
func (p Plan) Err() error {
	if p.Blocked == "" {
		return nil
	}
	const how = "nothing was changed, since this %s; if that is meant, confirm it: kubectl annotate --overwrite -n %s applications.plumb.dev %s %s=%s"
	args := []any{p.Blocked, p.Application.Namespace, p.Application.Name, v1alpha1.ConfirmPruneAnnotation, p.Digest}
	if len(p.judge.Behind) > 0 {
		return fault.Retry(fault.PruneBlocked, how, args...)
	}
	return fault.Refuse(fault.PruneBlocked, fault.Place{}, how, args...)
}

// Split returns the stages before the prune and those after it.
func (p Plan) Split() (before, after []Stage) {
	i := slices.IndexFunc(p.Stages, func(s Stage) bool { return s.Phase == PostSync })
	if i < 0 {
		return p.Stages, nil
	}
	return p.Stages[:i], p.Stages[i:]
}

// Actions returns all actions in order, without those of a failure.
func (p Plan) Actions() []Action {
	before, after := p.Split()
	return slices.Concat(actions(before), p.Prune, actions(after))
}

func actions(stages []Stage) []Action {
	var all []Action
	for _, s := range stages {
		all = append(all, s.Actions...)
	}
	return all
}

// Deletions splits the prune into groups, of which each waits for the one before,
// and into waves of groups: what an earlier wave deletes has to be gone first.
func (p Plan) Deletions() [][][]Action {
	var waves [][][]Action
	var last slot
	for i, a := range p.Prune {
		at := slotOf(a)
		if i == 0 || at.wave != last.wave {
			waves = append(waves, nil)
		}
		wave := &waves[len(waves)-1]
		if i == 0 || at != last {
			*wave = append(*wave, nil)
		}
		group := &(*wave)[len(*wave)-1]
		*group, last = append(*group, a), at
	}
	return waves
}

// Settled says that carrying the plan out would send nothing to the cluster and
// leave the inventory as it is.
func (p Plan) Settled() bool {
	return !slices.ContainsFunc(p.Actions(), func(a Action) bool { return a.Verb.Works() })
}

// Claim returns the inventory to store before the first write: old and new, and
// whatever is about to be written unsettled.
func (p Plan) Claim(old inventory.Inventory) inventory.Inventory {
	var claims []inventory.Entry
	for _, a := range slices.Concat(actions(p.Stages), actions(p.SyncFail)) {
		if a.Owned() && a.Verb.Works() {
			claims = append(claims, inventory.Entry{ID: a.ID, Version: a.Version, Hook: hookWords(phasesOf(a.Object))})
		}
	}
	return old.Claim(claims...)
}

// String is one line per action, for people.
func (p Plan) String() string {
	var b strings.Builder
	before, after := p.Split()
	write := func(stages []Stage) {
		for _, s := range stages {
			fmt.Fprintf(&b, "stage %s\n", s.Name)
			for _, a := range s.Actions {
				fmt.Fprintf(&b, "  %s\n", a)
			}
		}
	}
	write(before)
	if len(p.Prune) > 0 {
		fmt.Fprintf(&b, "prune %s\n", p.Digest)
	}
	for _, a := range p.Prune {
		fmt.Fprintf(&b, "  %s\n", a)
	}
	write(slices.Concat(after, p.SyncFail))
	if p.Blocked != "" {
		fmt.Fprintf(&b, "blocked: this %s\n", p.Blocked)
	}
	return b.String()
}
