package reconcile

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// run is the run of hooks that the attempt belongs to: that of the last attempt when
// a worker ended amid it at this revision and generation, or when this one carries out
// the deletions that it left; else its own. A hook runs once in a run.
func (t *attempt) run(a *v1alpha1.Application, b begun, s fetched) int64 {
	last := a.Status.LastAttempt
	ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case last == nil || last.Run == 0:
		return b.number
	case deferred(last) && b.reason != event.ReasonManual && applied(a, s.made):
		return last.Run
	case last.Result != v1alpha1.ResultRunning || last.Revision != s.made.Revision || ready == nil || ready.ObservedGeneration != a.Generation:
		return b.number
	}
	return last.Run
}

// deferred says whether the attempt left deletions to be carried out once no other
// Application may take the objects over.
func deferred(last *v1alpha1.LastAttempt) bool {
	return last.RetryAt != nil && (last.Result == v1alpha1.ResultSucceeded || last.Result == v1alpha1.ResultWaiting)
}

func (t *attempt) applyOptions(s fetched, p plan.Plan) apply.Options {
	return apply.Options{
		Parallel: t.r.o.Parallel, Now: t.r.now,
		Wait: func(ctx context.Context, ids []object.ID, until plan.Await) error {
			return t.await(ctx, s, p, ids, until)
		},
		Explain: func(ctx context.Context, hook *unstructured.Unstructured) string {
			if why := t.r.podsOf(ctx, s.client, hook); why != "" {
				return "; " + why
			}
			return ""
		},
	}
}

// mourn runs the hooks for a failed sync. They have the whole time of an attempt,
// since there may be none left of its own; whoever supersedes it ends them.
func (t *attempt) mourn(ctx context.Context, a *v1alpha1.Application, s fetched, p plan.Plan) apply.Result {
	if len(p.SyncFail) == 0 || ended(ctx) {
		return apply.Result{}
	}
	limited, cancel := context.WithTimeout(t.life, timeout(a))
	defer cancel()
	var result apply.Result
	err := t.stages.stage(limited, "sync-fail", func(ctx context.Context) (err error) {
		result, err = apply.RunFail(ctx, p, s.client, t.guard, t.applyOptions(s, p))
		t.stages.veil.outcomes(result.Outcomes)
		return err
	})
	if err != nil {
		t.r.log.WarnContext(ctx, "hooks of a failed sync failed", "application", t.key.String(), "error", err)
	}
	return result
}

// ended says that the attempt may write nothing more, whatever its own time limit.
func ended(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return cause != nil && !errors.Is(cause, errTimeout)
}

// wake asks for the Applications to which objects were made over: they tried in vain
// and would try again only after a while. And for those that own what this one claims:
// they may have looked before the claim stood there, or long ago. One that is under way
// is left alone; when it does not let go either, this attempt's repetition asks for it.
// A request that is lost costs a while.
func (t *attempt) wake(ctx context.Context, result apply.Result) {
	ctx = context.WithoutCancel(ctx)
	asked := map[app.Key]bool{{}: true}
	for _, a := range result.Released() {
		t.wakeOne(ctx, a.To, "/released", asked)
	}
	for _, a := range result.Contested() {
		held, err := t.r.bus.Held(ctx, bus.SyncLease(t.r.o.Cluster, a.To.Namespace, a.To.Name))
		if err == nil && !held {
			t.wakeOne(ctx, a.To, "/contested", asked)
		}
	}
}

func (t *attempt) wakeOne(ctx context.Context, key app.Key, why string, asked map[app.Key]bool) {
	if asked[key] {
		return
	}
	asked[key] = true
	if err := t.r.request(ctx, key, t.cause+why); err != nil {
		t.r.log.WarnContext(ctx, "sync not requested", "application", key.String(), "error", err)
	}
}

// tidy deletes hooks that came to an end after which they go. The outcome is stored:
// whoever takes the attempt over finds their result there.
func (t *attempt) tidy(ctx context.Context, s fetched, p plan.Plan, done apply.Result) func() {
	return func() {
		if err := apply.Tidy(ctx, p, done, s.client, t.guard, apply.Options{Parallel: t.r.o.Parallel, Now: t.r.now}); err != nil {
			t.r.log.WarnContext(ctx, "hooks not deleted; it is done before they run again", "application", t.key.String(), "error", err)
		}
	}
}
