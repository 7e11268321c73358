package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// lastLook bounds the look at what is left when the time is over.
const lastLook = 5 * time.Second

// prune deletes, wave by wave: what a wave deletes has to be gone before the next
// one begins, since what that deletes may be what finalizers need; more says that
// something comes after the prune, too.
func (r *run) prune(err error, more bool) error {
	if err != nil || len(r.plan.Prune) == 0 {
		r.skip(r.plan.Prune)
		return err
	}
	begin := r.Now()
	err = failpoint.Hit(failpoint.PruneBefore)
	waves := r.plan.Deletions()
	left := false // to another run
	for i, wave := range waves {
		from := len(r.result.Outcomes)
		for _, group := range wave {
			if err != nil || left {
				r.skip(group)
				continue
			}
			outcomes := r.parallel(group, r.delete)
			r.result.Outcomes = append(r.result.Outcomes, outcomes...)
			err = r.verdict(outcomes)
		}
		if err == nil && !left && (more || busy(slices.Concat(slices.Concat(waves[i+1:]...)...))) {
			left, err = r.gone(r.result.Outcomes[from:])
		}
	}
	if err == nil {
		err = failpoint.Hit(failpoint.PruneAfter)
	}
	r.result.Stages = append(r.result.Stages, Timing{Name: "prune", Duration: r.Now().Sub(begin)})
	return err
}

// gone waits until what a wave deletes is absent. Without a Wait it tells that
// there is something left.
func (r *run) gone(outcomes []Outcome) (left bool, err error) {
	var ids []object.ID
	for _, o := range outcomes {
		if o.deleting() {
			ids = append(ids, o.Action.ID)
		}
	}
	if len(ids) == 0 || !r.patient {
		return len(ids) > 0, nil
	}
	if err := r.Wait(r.ctx, ids, plan.Gone); err != nil {
		return false, r.blocked(outcomes, err)
	}
	for i, o := range outcomes {
		if o.deleting() {
			o.Action.Verb, o.Gone, o.Live = plan.Prune, true, nil
			outcomes[i] = o
		}
	}
	return false, nil
}

// blocked names what keeps the rest of the prune from going on.
func (r *run) blocked(outcomes []Outcome, cause error) error {
	var held []string
	for i, o := range outcomes {
		if !o.deleting() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), lastLook)
		if live, err := r.client.Get(ctx, o.Action.ID, o.Action.Version); err == nil && live != nil {
			outcomes[i].Live = live
			held = append(held, o.Action.ID.Human()+", held by "+holders(live))
		}
		cancel()
	}
	if more := len(held) - maxNamed; more > 0 {
		held = append(held[:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return fault.Retry(fault.PruneBlocked, "wait for the deletion of %s: %w", strings.Join(held, "; "), cause)
}

// deleting says that an object is not rendered, is being deleted, and is still there.
func (o Outcome) deleting() bool {
	if o.Err != nil || o.Skipped {
		return false
	}
	return o.Action.Verb == plan.Prune && !o.Gone ||
		o.Action.Verb == plan.Keep && o.Live != nil && o.Live.GetDeletionTimestamp() != nil
}

// delete carries out one action of the prune. The plan checked the object as it
// was at its resourceVersion; one that moved on is read and checked once more, and
// so is a hook that ran meanwhile.
func (r *run) delete(a plan.Action) Outcome {
	o := r.remove(a)
	r.tell(o)
	return o
}

func (r *run) remove(a plan.Action) Outcome {
	var err error
	if r.made[a.ID] {
		if a, err = r.again(a); err != nil {
			return failed(a, err)
		}
	}
	for range maxWrites {
		if a.Verb != plan.Prune && a.Verb != plan.Release {
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
		if a.Verb == plan.Release {
			err = r.client.MergePatch(r.ctx, a.ID, a.Version, r.plan.Marks(a), nil)
		} else {
			options := cluster.DeleteOptions{UID: types.UID(a.UID), ResourceVersion: a.ResourceVersion, Propagation: r.plan.Propagation()}
			err = r.client.Delete(r.ctx, a.ID, a.Version, options)
		}
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
	if a.Verb == plan.Release {
		return Outcome{Action: a, Live: a.Live}
	}
	live, err := r.client.Get(r.ctx, a.ID, a.Version)
	if err != nil {
		return Outcome{Action: a, Live: a.Live}
	}
	if live != nil && string(live.GetUID()) != a.UID {
		live = nil // another one took the name
	}
	return Outcome{Action: a, Live: live, Gone: live == nil}
}

// Held is an object that is being deleted, and what it waits for.
type Held struct {
	ID         object.ID
	Finalizers []string // empty: its grace period
}

func (h Held) String() string {
	if len(h.Finalizers) == 0 {
		return h.ID.Human() + " (its grace period)"
	}
	return h.ID.Human() + " (finalizers " + strings.Join(h.Finalizers, ", ") + ")"
}

// Held returns what is being deleted and was still there when it was looked at last.
func (r Result) Held() []Held {
	var held []Held
	for _, o := range r.Outcomes {
		if o.Live != nil && !o.Gone && o.Live.GetDeletionTimestamp() != nil {
			held = append(held, Held{ID: o.Action.ID, Finalizers: o.Live.GetFinalizers()})
		}
	}
	return held
}

// Released returns what was made over to other Applications, which should be synced
// now.
func (r Result) Released() []plan.Action { return r.with(plan.Release) }

// Contested returns what other Applications own, which should be synced now.
func (r Result) Contested() []plan.Action { return r.with(plan.Contest) }

func (r Result) with(verb plan.Verb) []plan.Action {
	var actions []plan.Action
	for _, o := range r.Outcomes {
		if o.Action.Verb == verb && !o.Skipped {
			actions = append(actions, o.Action)
		}
	}
	return actions
}
