package apply

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// maxNamed bounds how many failures an error message tells.
const maxNamed = 3

// Outcome is what became of one action.
type Outcome struct {
	// Action is as it was carried out: an object that turned out to be another than
	// planned for was decided about anew.
	Action plan.Action
	// Live is the object after it: the answer to the apply, or what was read before;
	// nil when it is absent or was not read.
	Live *unstructured.Unstructured
	// Losers had fields otherwise than Git, and lost them to this apply.
	Losers  []cluster.Loser
	Err     error
	Skipped bool // not begun
	Gone    bool // pruned, and seen to be absent

	fields string // the hash of what Plumb owns in Live, of what was applied
}

// Word is the past tense for events: created, updated, adopted, replaced, unchanged,
// pruned, kept, released (made over to another Application), failed or skipped, and
// ran for a hook that came to its end.
func (o Outcome) Word() string {
	switch {
	case o.Err != nil:
		return "failed"
	case o.Skipped:
		return "skipped"
	case o.ran():
		return "ran"
	}
	switch o.Action.Verb {
	case plan.Create:
		return "created"
	case plan.Update:
		return "updated"
	case plan.Adopt:
		return "adopted"
	case plan.Replace:
		return "replaced"
	case plan.Release:
		return "released"
	case plan.Prune:
		return "pruned"
	case plan.Forget:
		if o.Action.Absent {
			return "pruned"
		}
		return "kept"
	case plan.Keep, plan.Leave:
		return "kept"
	}
	return "unchanged"
}

// Timing is how long one stage took; the name is that of the plan, or prune.
type Timing struct {
	Name     string
	Duration time.Duration
}

// Result tells the outcome of every action of the plan, in its order.
type Result struct {
	Outcomes []Outcome
	Stages   []Timing // those that were begun
}

// Inventory returns the inventory after the run, from the one stored before it
// (plan.Plan.Claim). What failed or was not begun stays as it was. What is pruned
// but held by a finalizer stays without Fields: nobody has to wait for its health
// or to miss it when it goes.
func (r Result) Inventory(claimed inventory.Inventory) inventory.Inventory {
	var applied []inventory.Entry
	var gone []object.ID
	for _, o := range r.Outcomes {
		switch entry, owned := claimed.Get(o.Action.ID); {
		case o.Err != nil || o.Skipped:
		case o.left():
			gone = append(gone, o.Action.ID)
		case o.Action.Verb == plan.Prune:
			if owned {
				entry.Fields = ""
				applied = append(applied, entry)
			}
		case o.taken():
			applied = append(applied, o.entry(entry.Hook))
		}
	}
	return claimed.Record(applied...).Without(gone...)
}

// left says that the inventory holds the object no longer.
func (o Outcome) left() bool {
	verb := o.Action.Verb
	return verb == plan.Forget || verb == plan.Release || verb == plan.Prune && o.Gone
}

// taken says that the inventory holds the object as it was applied.
func (o Outcome) taken() bool {
	known := o.Action.Verb.Applies() || o.Action.Verb == plan.Resume || o.Action.Verb == plan.Record
	return known && o.Action.Owned() && o.Live != nil && o.Action.Hook != plan.PreDelete
}

// entry is how the inventory holds it. Nobody looks for drift, or waits for the
// health, of hooks and of what is left alone after its creation.
func (o Outcome) entry(hook string) inventory.Entry {
	a := o.Action
	e := inventory.Entry{ID: a.ID, Version: a.Version, UID: string(o.Live.GetUID()), Digest: a.Digest, Hook: hook}
	if a.Hook == plan.Sync && !a.Once() {
		e.Fields = o.fields
	}
	return e
}

// find returns the outcome of the rendered object with this uid. A hook is none: it
// goes, as the hook that it is.
func (r Result) find(uid string) (Outcome, bool) {
	for _, o := range r.Outcomes {
		if o.Action.Object != (object.Object{}) && o.Action.Hook == plan.Sync && o.Live != nil && string(o.Live.GetUID()) == uid {
			return o, true
		}
	}
	return Outcome{}, false
}

// verdict turns the failures of a stage into one error: the guard's own, or the
// first few in words. It is worth another try when it is for any of them, and
// then no sooner than the longest wait that one of them asked for.
func (r *run) verdict(outcomes []Outcome) error {
	if r.halted != nil {
		return r.halted
	}
	var failures []error
	for _, o := range outcomes {
		if o.Err != nil {
			failures = append(failures, o.Err)
		}
	}
	switch len(failures) {
	case 0:
		return nil
	case 1:
		return failures[0]
	}
	return summary(failures, len(outcomes))
}

func summary(failures []error, total int) error {
	verdict := &fault.Error{Class: fault.Permanent, Reason: fault.ReasonOf(failures[0])}
	var words []string
	for i, err := range failures {
		class, wait := fault.ClassOf(err)
		verdict.Class = min(verdict.Class, class)
		verdict.After = max(verdict.After, wait)
		if i < maxNamed {
			words = append(words, err.Error())
		}
	}
	if more := len(failures) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	if verdict.After > 0 {
		verdict.Class = fault.RetryAfter
	}
	verdict.Err = fmt.Errorf("%d of %d objects failed: %s", len(failures), total, strings.Join(words, "; "))
	return verdict
}
