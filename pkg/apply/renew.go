package apply

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// replaceImmutable makes anew what could not be changed, where the object allows
// that and is certainly the Application's own. Any other failure stands.
func (r *run) replaceImmutable(outcomes []Outcome) {
	var at []int
	for i, o := range outcomes {
		if o.immutable() {
			at = append(at, i)
		}
	}
	decided := r.indexed(len(at), func(i int) Outcome { return r.replacement(outcomes[at[i]]) })
	for i, o := range r.renew(decided) {
		outcomes[at[i]] = o
		r.tell(o)
	}
}

// replacement decides anew about an object that could not be changed.
func (r *run) replacement(o Outcome) Outcome {
	again, err := r.again(o.Action)
	switch {
	case err != nil:
		return failed(o.Action, err)
	case again.Live == nil || again.Verb != plan.Update || !r.plan.Owns(again.Live):
		return o
	}
	again.Verb, again.Why = plan.Replace, "changed in a field that cannot change"
	again.UID, again.ResourceVersion = string(again.Live.GetUID()), again.Live.GetResourceVersion()
	return Outcome{Action: again, Live: again.Live}
}

// renew makes objects anew: what stands there is deleted, all of it side by side,
// and waited for. Outcomes that failed or were skipped are left as they are, and so
// is every verb but Create and Replace.
func (r *run) renew(outcomes []Outcome) []Outcome {
	cleared := r.onward(outcomes, r.clear)
	var standing []object.ID
	for _, o := range cleared {
		if o.going() && o.Live != nil {
			standing = append(standing, o.Action.ID)
		}
	}
	var held error
	if len(standing) > 0 {
		held = r.Wait(r.ctx, standing, plan.Gone)
	}
	return r.onward(cleared, func(o Outcome) Outcome { return r.make(o, held) })
}

// going says that an object is on its way to be made anew.
func (o Outcome) going() bool {
	return o.Err == nil && !o.Skipped && (o.Action.Verb == plan.Create || o.Action.Verb == plan.Replace)
}

// onward takes outcomes that are on their way one step further, side by side.
func (r *run) onward(outcomes []Outcome, step func(Outcome) Outcome) []Outcome {
	return r.indexed(len(outcomes), func(i int) Outcome {
		if !outcomes[i].going() {
			return outcomes[i]
		}
		return step(outcomes[i])
	})
}

// clear begins the deletion of what stands in the way; Live is what is left of it.
// What moved on since it was read is read, and decided about, once more.
func (r *run) clear(o Outcome) Outcome {
	for try := 1; o.going() && o.Action.Verb == plan.Replace && o.Action.Live.GetDeletionTimestamp() == nil; try++ {
		if r.allowed() != nil {
			return Outcome{Action: o.Action, Live: o.Action.Live, Skipped: true}
		}
		a := o.Action
		err := r.client.Delete(r.ctx, a.ID, a.Version, r.deletion(a))
		if err == nil {
			return r.left(a)
		}
		if try == maxWrites || !errors.Is(err, cluster.ErrChanged) {
			return failed(a, err)
		}
		if a.Hook != plan.Sync {
			o = r.due(a)
		} else {
			o = r.replacement(failed(a, err))
		}
	}
	if o.going() && o.Action.Verb == plan.Replace {
		return r.left(o.Action) // somebody deletes it already
	}
	if o.going() {
		o.Live = nil // absent
	}
	return o
}

// deletion is how an object goes that is made anew: hooks in the background, so that
// a run leaves no Pods behind, others as what is pruned.
func (r *run) deletion(a plan.Action) cluster.DeleteOptions {
	options := cluster.DeleteOptions{UID: types.UID(a.UID), ResourceVersion: a.ResourceVersion}
	if a.Hook == plan.Sync {
		options.Propagation = r.plan.Propagation()
	}
	return options
}

// left looks for what is left of an object that is being deleted.
func (r *run) left(a plan.Action) Outcome {
	live, err := r.client.Get(r.ctx, a.ID, a.Version)
	if err != nil {
		return failed(a, err)
	}
	if live != nil && string(live.GetUID()) != a.UID {
		return failed(a, fault.Retry(fault.ApplyFailed, "make %s anew: another object took its name", a.ID.Human()))
	}
	return Outcome{Action: a, Live: live}
}

// make creates the object once nothing is in its way.
func (r *run) make(o Outcome, held error) Outcome {
	if o.Live != nil {
		if o = r.left(o.Action); o.Err != nil {
			return o
		}
	}
	if o.Live != nil {
		return failed(o.Action, fault.Retry(fault.ApplyFailed, "make %s anew: the old one is still there, held by %s%s",
			o.Action.ID.Human(), holders(o.Live), because(held)))
	}
	a := o.Action
	a.UID, a.Live = "", nil
	made, err := r.send(a)
	if err != nil {
		return failed(a, err)
	}
	return made
}

func holders(live *unstructured.Unstructured) string {
	if held := live.GetFinalizers(); len(held) > 0 {
		return "the finalizers " + strings.Join(held, ", ")
	}
	return "its grace period"
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(": %v", err)
}
