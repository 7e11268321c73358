package apply

import (
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// maxWrites bounds how often a deletion, or a mark, is tried anew for an object that
// keeps changing; controllers write its status until it is gone.
const maxWrites = 4

// apply carries out one action of a stage. An object that turns out to be another
// than the one planned for is read, and decided about, once more.
func (r *run) apply(a plan.Action) Outcome {
	o := r.attempt(a)
	if !o.immutable() {
		r.tell(o)
	}
	return o
}

func (r *run) attempt(a plan.Action) Outcome {
	for try := 1; ; try++ {
		if !a.Verb.Applies() {
			return r.idle(a)
		}
		o, err := r.send(a)
		if err == nil {
			return o
		}
		if try > 1 || !errors.Is(err, cluster.ErrReplaced) {
			return failed(a, err)
		}
		if a, err = r.again(a); err != nil {
			return failed(a, err)
		}
	}
}

// send applies the object.
func (r *run) send(a plan.Action) (Outcome, error) {
	if r.allowed() != nil {
		return Outcome{Action: a, Live: a.Live, Skipped: true}, nil
	}
	if err := failpoint.Hit(failpoint.ApplyObject); err != nil {
		return Outcome{}, err
	}
	options := cluster.ApplyOptions{UID: types.UID(a.UID), Absent: a.Presumed, Guard: r.allowed}
	if !a.Merges() {
		options.Takeover = a.Live
	}
	sent, err := r.plan.Sent(a)
	if err != nil {
		return Outcome{}, err
	}
	applied, err := r.client.Apply(r.ctx, sent, options)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Action: a, Live: applied.Unstructured, Losers: applied.Losers, fields: r.plan.Fields(applied.Unstructured)}, nil
}

// idle is the outcome of an action that sends nothing of the object.
func (r *run) idle(a plan.Action) Outcome {
	switch a.Verb {
	case plan.Hold:
		return failed(a, fault.Retry(fault.ApplyFailed, "apply %s: %s", a.ID.Human(), a.Why))
	case plan.Contest:
		return r.claim(a)
	}
	return Outcome{Action: a, Live: a.Live}
}

func (r *run) again(a plan.Action) (plan.Action, error) {
	live, err := r.client.Get(r.ctx, a.ID, a.Version)
	if err != nil {
		return a, err
	}
	again, err := r.plan.Again(a, live)
	if err != nil {
		return a, err
	}
	return again, nil
}

// contest writes the claims to what other Applications own; then the plan fails.
// What others claim is let go all the same: two Applications that each wait for an
// object of the other would wait for ever.
func (r *run) contest() error {
	contested := r.plan.Contested()
	if len(contested) == 0 {
		return nil
	}
	outcomes := r.parallel(contested, r.claim)
	released := r.parallel(r.plan.Released(), r.delete)
	r.contested = make(map[object.ID]Outcome, len(outcomes)+len(released))
	for _, o := range slices.Concat(outcomes, released) {
		r.contested[o.Action.ID] = o
	}
	for _, o := range outcomes {
		r.tell(o)
	}
	return r.verdict(outcomes)
}

// claim tells the owner of an object, on the object, that this Application renders
// it. The next attempt may find that the owner let go.
func (r *run) claim(a plan.Action) Outcome {
	conflict := a.Conflict()
	for range maxWrites {
		if a.Verb != plan.Contest || r.plan.Claimed(a.Live) {
			break
		}
		if r.allowed() != nil {
			return Outcome{Action: a, Live: a.Live, Skipped: true}
		}
		err := r.client.MergePatch(r.ctx, a.ID, a.Version, r.plan.Marks(a), nil)
		if err == nil {
			break
		}
		if !errors.Is(err, cluster.ErrChanged) {
			return failed(a, fault.As(fault.OwnershipConflict, errors.Join(conflict, err)))
		}
		if a, err = r.again(a); err != nil {
			return failed(a, err)
		}
	}
	return Outcome{Action: a, Live: a.Live, Err: conflict}
}

// immutable says that the object has to be made anew.
func (o Outcome) immutable() bool {
	return errors.Is(o.Err, cluster.ErrImmutable) && o.Action.Replaceable()
}

// failed says where in the source the object stands.
func failed(a plan.Action, err error) Outcome {
	class, wait := fault.ClassOf(err)
	reason := fault.ReasonOf(err)
	if reason == "" {
		reason = fault.ApplyFailed
	}
	place := fault.Place{File: a.Object.File, Line: a.Object.Line}
	return Outcome{Action: a, Live: a.Live, Err: &fault.Error{Class: class, Reason: reason, After: wait, Place: place, Err: err}}
}
