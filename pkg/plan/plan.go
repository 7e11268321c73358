// Package plan decides what an attempt would do: desired x live x inventory x
// policy -> a Plan, with a reason for everything.
//
// It is pure: no cluster, no clock. It may import object, inventory, fault, app
// and app/v1alpha1. What it cannot decide safely is a fault, and what is not
// certainly the Application's own is never deleted.
package plan

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Verb is what is done with an object. The zero value does nothing.
type Verb int

// What is done with objects of the render: nothing (Unchanged, Leave), an apply
// (Create, Update, Adopt), or a failure (Hold). What is done with objects that
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
)

func (v Verb) String() string {
	return [...]string{"unchanged", "leave", "create", "update", "adopt", "hold", "prune", "keep", "forget"}[v]
}

// Applies says whether the verb sends the object to the cluster.
func (v Verb) Applies() bool { return v == Create || v == Update || v == Adopt }

// Action is what is done with one object, and why.
type Action struct {
	Verb    Verb
	ID      object.ID
	Version string // API version
	Why     string // for people

	Object object.Object // what is applied; zero when it is not in the render
	Digest string        // of Object

	// UID and ResourceVersion are preconditions, empty ones are none.
	UID, ResourceVersion string
	Drift                *Drift
	// Live is the object as it was read; nil when it is absent or was not read. Read only.
	Live *unstructured.Unstructured
}

// Owned says whether the Application owns the object once it is applied. It does
// not own the Namespace of spec.destination.createNamespace.
func (a Action) Owned() bool {
	return a.Object == (object.Object{}) || a.Object.Annotation(v1alpha1.OwnerAnnotation) != ""
}

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

// Stage is a list of independent actions. The next stage begins when all of
// them went well and, with Await, when their objects are usable.
type Stage struct {
	Name    string
	Await   bool
	Actions []Action
}

// Plan is what an attempt would do. The zero value does nothing.
type Plan struct {
	Application app.Key
	Stages      []Stage
	Prune       []Action // after all stages, in this order

	// Digest names the deletions of this plan, for their confirmation; empty without any.
	Digest string
	// Blocked says why the plan must not be carried out before somebody confirms its Digest.
	Blocked string

	judge judge
}

// Err is the fault of a blocked plan, nil for any other.
func (p Plan) Err() error {
	if p.Blocked == "" {
		return nil
	}
	return fault.Refuse(fault.PruneBlocked, fault.Place{},
		"nothing was changed, since this %s; if that is meant, confirm it: kubectl annotate --overwrite -n %s applications.plumb.dev %s %s=%s",
		p.Blocked, p.Application.Namespace, p.Application.Name, v1alpha1.ConfirmPruneAnnotation, p.Digest)
}

// Actions returns all actions in order, those of the prune last.
func (p Plan) Actions() []Action {
	var all []Action
	for _, s := range p.Stages {
		all = append(all, s.Actions...)
	}
	return append(all, p.Prune...)
}

// Settled says that carrying the plan out would send nothing to the cluster and
// leave the inventory as it is.
func (p Plan) Settled() bool {
	for _, a := range p.Actions() {
		if a.Verb.Applies() || a.Verb == Hold || a.Verb == Prune || a.Verb == Forget {
			return false
		}
	}
	return true
}

// Claim returns the inventory to store before the first write: old and new, and
// whatever is about to be written unsettled.
func (p Plan) Claim(old inventory.Inventory) inventory.Inventory {
	var claims []inventory.Entry
	for _, s := range p.Stages {
		for _, a := range s.Actions {
			if a.Owned() && (a.Verb.Applies() || a.Verb == Hold) {
				claims = append(claims, inventory.Entry{ID: a.ID, Version: a.Version})
			}
		}
	}
	return old.Claim(claims...)
}

// String is one line per action, for people.
func (p Plan) String() string {
	var b strings.Builder
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "stage %s\n", s.Name)
		for _, a := range s.Actions {
			fmt.Fprintf(&b, "  %s\n", a)
		}
	}
	if len(p.Prune) > 0 {
		fmt.Fprintf(&b, "prune %s\n", p.Digest)
	}
	for _, a := range p.Prune {
		fmt.Fprintf(&b, "  %s\n", a)
	}
	if p.Blocked != "" {
		fmt.Fprintf(&b, "blocked: this %s\n", p.Blocked)
	}
	return b.String()
}
