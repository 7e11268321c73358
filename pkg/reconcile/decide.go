package reconcile

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/ignore"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/policy"
	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// handover is for how long after its request an attempt leaves what it would prune
// to others that may be about to render it.
const handover = 30 * time.Second

// handoverRetry is how soon after that it is looked whether they do.
const handoverRetry = time.Second

// plan reads what the decision needs, decides, and checks what would be written
// against the cluster's published schemas: nothing was written yet.
func (t *attempt) plan(ctx context.Context, a *v1alpha1.Application, run int64, s fetched, desired object.Set, owned inventory.Inventory) (p plan.Plan, err error) {
	err = t.stages.stage(ctx, "plan", func(ctx context.Context) error {
		in := t.input(a, desired, owned)
		if in.Ignore, err = ignore.Compile(a.Spec.Ignore); err != nil {
			return fault.Refuse(fault.ApplyFailed, catalog.PlaceOf(a, ""), "%w", err)
		}
		in.Fields = in.Ignore.Fields
		if t.presumes {
			in.Unclaimed = func(id object.ID) bool { return !t.r.catalog.HeldByOther(id, t.key) }
		}
		if _, err := t.r.rules(a); err != nil {
			return err
		}
		if p, err = t.decide(ctx, a, run, s, in); err != nil {
			return err
		}
		if err := p.Err(); err != nil {
			return err
		}
		if err := t.validate(ctx, s.client, desired, p); err != nil {
			return err
		}
		return failpoint.Hit(failpoint.Plan)
	})
	return p, err
}

// decide makes the plan, and makes it again when the first one says that hooks run,
// or deletes what another Application may take over.
func (t *attempt) decide(ctx context.Context, a *v1alpha1.Application, run int64, s fetched, in plan.Input) (plan.Plan, error) {
	p, err := t.look(ctx, a, s, &in)
	if err != nil {
		return p, err
	}
	hooks := hooked(p) && (p.Changes() || t.reason(a) == event.ReasonManual)
	if in.Behind = t.behind(a, s, p); !hooks && len(in.Behind) == 0 {
		return p, nil
	}
	if hooks {
		in.RunHooks, in.Run = true, run
	}
	return t.look(ctx, a, s, &in)
}

// hooked says whether the plan has hooks of a sync.
func hooked(p plan.Plan) bool {
	return len(p.SyncFail) > 0 || slices.ContainsFunc(p.Actions(), func(a plan.Action) bool {
		return a.Hook != plan.Sync && a.Hook != plan.PreDelete
	})
}

// look reads what the decision needs and was not read yet, and decides.
func (t *attempt) look(ctx context.Context, a *v1alpha1.Application, s fetched, in *plan.Input) (plan.Plan, error) {
	var refs []plan.Ref
	for _, ref := range plan.Needs(*in, t.fresh(a)) {
		if _, read := in.Live[ref.ID]; !read {
			refs = append(refs, ref)
		}
	}
	live, err := t.live(ctx, s.client, refs)
	if err != nil {
		return plan.Plan{}, fault.As(fault.ApplyFailed, err)
	}
	maps.Copy(live, in.Live)
	in.Live = live
	return plan.Decide(*in)
}

func (t *attempt) input(a *v1alpha1.Application, desired object.Set, owned inventory.Inventory) plan.Input {
	return plan.Input{
		Application: a, Desired: desired, Inventory: owned,
		Heal: heals(a, t.reason(a)),
		Exists: func(key app.Key) bool {
			_, exists := t.r.catalog.Get(key)
			return exists
		},
		Fields: ignore.Rules{}.Fields, Health: t.r.judgeOf(a),
	}
}

// heals says whether what drifted is applied again: by the policy, whose default
// is heal, or because a person asked for this attempt.
func heals(a *v1alpha1.Application, reason string) bool {
	policy := a.Spec.Sync.Drift
	return policy == v1alpha1.DriftHeal || policy == "" || reason == event.ReasonManual
}

// fresh says whether the cluster has to be looked at even where the inventory
// says what is there.
func (t *attempt) fresh(a *v1alpha1.Application) bool {
	last := a.Status.LastAttempt
	ended := last != nil && (last.Result == v1alpha1.ResultSucceeded || last.Result == v1alpha1.ResultWaiting)
	return !ended || t.again || a.Status.Waiting != nil || t.reason(a) != event.ReasonPush || a.Status.ObservedGeneration != a.Generation
}

// behind are the Applications of the same source that were not applied at this
// commit, which changes them: each may be about to render what this one drops. They
// are waited for only while the request is new, since one of them may never come.
func (t *attempt) behind(a *v1alpha1.Application, s fetched, p plan.Plan) []app.Key {
	if t.r.now().Sub(t.asked) > handover || !prunes(p) {
		return nil
	}
	return t.neighbours(a, func(other *v1alpha1.Application) bool {
		inputs := other.Status.Inputs
		if inputs == nil || !source.Plain(other) {
			return inputs == nil
		}
		digest, err := s.made.Tree.Digest(route.Path(other.Spec.Source.Path), inputs.Outside)
		return err == nil && digest != inputs.Digest
	})
}

// heirs are the Applications of the same source that were never applied: one of them
// may be what the Application that is being deleted is called now.
func (t *attempt) heirs(a *v1alpha1.Application) []app.Key {
	if t.r.now().Sub(a.DeletionTimestamp.Time) > handover {
		return nil
	}
	return t.neighbours(a, func(other *v1alpha1.Application) bool { return other.Status.Revision == "" })
}

// neighbours are the Applications that follow the same ref of the same repository,
// sync by themselves and are as the condition says.
func (t *attempt) neighbours(a *v1alpha1.Application, condition func(*v1alpha1.Application) bool) []app.Key {
	sources, own := t.r.assembler.Policy, source.Main(a)
	var keys []app.Key
	for _, other := range t.r.catalog.All() {
		first := source.Main(other)
		switch {
		case own.Repo == "":
		case other.Key() == a.Key(), policy.Suspended(other, t.r.now()), other.Spec.Sync.Mode == v1alpha1.ModeManual, !other.DeletionTimestamp.IsZero():
		case first.Ref != own.Ref, first.Semver != own.Semver, sources.RepoOf(first) != sources.RepoOf(own):
		case condition(other):
			keys = append(keys, other.Key())
		}
	}
	return keys
}

func prunes(p plan.Plan) bool {
	return slices.ContainsFunc(p.Prune, func(a plan.Action) bool { return a.Verb == plan.Prune })
}
