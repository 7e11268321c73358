package apply

import (
	"errors"

	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// maxDeletes bounds how often a deletion is tried anew for an object that keeps
// changing; controllers write its status until it is gone.
const maxDeletes = 4

// apply carries out one action of a stage. An object that turns out to be another
// than the one planned for is read, and decided about, once more.
func (r *run) apply(a plan.Action) Outcome {
	for try := 1; ; try++ {
		if !a.Verb.Applies() {
			return idle(a)
		}
		if r.allowed() != nil {
			return Outcome{Action: a, Live: a.Live, Skipped: true}
		}
		if err := failpoint.Hit(failpoint.ApplyObject); err != nil {
			return failed(a, err)
		}
		applied, err := r.client.Apply(r.ctx, a.Object, cluster.ApplyOptions{UID: types.UID(a.UID), Takeover: a.Live, Guard: r.allowed})
		if err == nil {
			return Outcome{Action: a, Live: applied.Unstructured, Losers: applied.Losers}
		}
		if try > 1 || !errors.Is(err, cluster.ErrReplaced) {
			return failed(a, err)
		}
		if a, err = r.again(a); err != nil {
			return failed(a, err)
		}
	}
}

// idle is the outcome of an action that sends nothing.
func idle(a plan.Action) Outcome {
	if a.Verb == plan.Hold {
		return failed(a, fault.Retry(fault.ApplyFailed, "apply %s: %s", a.ID.Human(), a.Why))
	}
	return Outcome{Action: a, Live: a.Live}
}

// delete carries out one action of the prune. The plan checked the object as it
// was at its resourceVersion; one that moved on is read and checked once more.
func (r *run) delete(a plan.Action) Outcome {
	var err error
	for range maxDeletes {
		if a.Verb != plan.Prune {
			return Outcome{Action: a, Live: a.Live}
		}
		if o, rendered := r.result.find(a.UID); rendered {
			a.Verb, a.Why = plan.Forget, "is "+o.Action.ID.String()+" by another name, which is rendered"
			continue
		}
		if r.allowed() != nil {
			return Outcome{Action: a, Live: a.Live, Skipped: true}
		}
		if err = failpoint.Hit(failpoint.PruneObject); err != nil {
			break
		}
		err = r.client.Delete(r.ctx, a.ID, a.Version, cluster.DeleteOptions{UID: types.UID(a.UID), ResourceVersion: a.ResourceVersion})
		if err == nil {
			return r.deleted(a)
		}
		if !errors.Is(err, cluster.ErrChanged) {
			break
		}
		var unread error
		if a, unread = r.again(a); unread != nil {
			return failed(a, unread)
		}
	}
	return failed(a, err)
}

// deleted looks whether the object is gone. One that a finalizer holds, and one
// that cannot be read, stays in the inventory until it is seen to be absent.
func (r *run) deleted(a plan.Action) Outcome {
	live, err := r.client.Get(r.ctx, a.ID, a.Version)
	if err != nil {
		return Outcome{Action: a, Live: a.Live}
	}
	if live != nil && string(live.GetUID()) != a.UID {
		live = nil // another one took the name
	}
	return Outcome{Action: a, Live: live, Gone: live == nil}
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
