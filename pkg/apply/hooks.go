package apply

import (
	"context"
	"errors"
	"time"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// hooks runs the hooks of one stage side by side, and waits for their end.
func (r *run) hooks(s plan.Stage) error {
	begun := r.renew(r.parallel(s.Actions, r.due))
	var running []object.ID
	for _, o := range begun {
		if o.ran() {
			r.made[o.Action.ID] = true
		}
		if o.ran() && !over(r.plan.Ended(o.Live)) {
			running = append(running, o.Action.ID)
		}
	}
	var late error
	if len(running) > 0 {
		late = r.Wait(r.ctx, running, plan.Finished)
	}
	ended := r.indexed(len(begun), func(i int) Outcome { return r.end(begun[i], late) })
	for _, o := range ended {
		r.tell(o)
	}
	r.result.Outcomes = append(r.result.Outcomes, ended...)
	return r.verdict(ended)
}

// ran says that a hook was made in this run, now or before a worker ended.
func (o Outcome) ran() bool {
	return o.Action.Hook != plan.Sync && (o.going() || o.Err == nil && !o.Skipped && o.Action.Verb == plan.Resume)
}

func over(r health.Report) bool { return r.Status == health.Healthy || r.Status == health.Degraded }

// due decides about a hook once more when its turn comes: what was read for the plan
// is older than the phases before.
func (r *run) due(a plan.Action) Outcome {
	if !a.Verb.Works() || a.Verb == plan.Record {
		return Outcome{Action: a, Live: a.Live}
	}
	again, err := r.again(a)
	if err != nil {
		return failed(a, err)
	}
	return Outcome{Action: again, Live: again.Live}
}

// lookLimit is how long it may take to look how a hook ended, also when the time of
// the attempt is over.
const lookLimit = 5 * time.Second

// end judges a hook by what it is now.
func (r *run) end(o Outcome, late error) Outcome {
	if !o.ran() {
		return o
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), lookLimit)
	defer cancel()
	if !over(r.plan.Ended(o.Live)) {
		live, err := r.client.Get(ctx, o.Action.ID, o.Action.Version)
		if err != nil {
			return failed(o.Action, errors.Join(late, err))
		}
		o.Live = live
	}
	id, report := o.Action.ID.Human(), r.plan.Ended(o.Live)
	var err error
	switch {
	case report.Status == health.Healthy:
		return o
	case report.Status == health.Degraded:
		err = fault.Refuse(fault.HealthFailed, fault.Place{}, "%s hook %s failed: %s%s", o.Action.Hook, id, report.Message, r.Explain(ctx, o.Live))
	case o.Live == nil:
		err = fault.Retry(fault.HealthFailed, "%s hook %s was deleted while it ran", o.Action.Hook, id)
	default:
		err = fault.Retry(fault.HealthTimeout, "%s hook %s did not come to its end: %s%s%s", o.Action.Hook, id, report.Message, r.Explain(ctx, o.Live), because(late))
	}
	f := failed(o.Action, err)
	f.Live = o.Live
	return f
}

// Tidy deletes the hooks that came to an end after which they are to be deleted.
// It comes after the outcome of the attempt was stored: a hook that is gone before
// would run again when the attempt is taken up by another worker. What it does not
// come to is done before the hook runs again. The error is only worth telling.
func Tidy(ctx context.Context, p plan.Plan, done Result, client Client, guard func() error, o Options) error {
	r := newRun(ctx, p, client, guard, o)
	var spent []plan.Action
	for _, o := range done.Outcomes {
		if a := o.Action; a.Hook != plan.Sync && o.Live != nil && !o.Skipped && p.Spent(a, o.Live) {
			a.Live = o.Live
			spent = append(spent, a)
		}
	}
	return r.verdict(r.parallel(spent, r.tidy))
}

func (r *run) tidy(a plan.Action) Outcome {
	for range maxWrites {
		if r.allowed() != nil {
			return Outcome{Action: a, Skipped: true}
		}
		options := cluster.DeleteOptions{UID: a.Live.GetUID(), ResourceVersion: a.Live.GetResourceVersion()}
		err := r.client.Delete(r.ctx, a.ID, a.Version, options)
		if !errors.Is(err, cluster.ErrChanged) {
			return tidied(a, err)
		}
		uid := a.Live.GetUID()
		if a.Live, err = r.client.Get(r.ctx, a.ID, a.Version); err != nil || a.Live == nil || a.Live.GetUID() != uid || !r.plan.Spent(a, a.Live) {
			return tidied(a, err)
		}
	}
	return failed(a, fault.Retry(fault.ApplyFailed, "delete %s: %w", a.ID.Human(), cluster.ErrChanged))
}

func tidied(a plan.Action, err error) Outcome {
	if err != nil {
		return failed(a, err)
	}
	return Outcome{Action: a}
}
