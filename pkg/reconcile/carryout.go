package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// carryOut writes what the plan says, between the two status writes. A plan that
// would send nothing needs no first one; see opening for others.
func (t *attempt) carryOut(ctx context.Context, a *v1alpha1.Application, b begun, s fetched, inputs *v1alpha1.Inputs, p plan.Plan, owned inventory.Inventory) (*v1alpha1.Application, outcome, error) {
	opened := openingOf(a, p, t.r.now())
	if !p.Settled() {
		owned = p.Claim(owned)
		var err error
		if a, err = t.first(ctx, a, b, s.made, owned, opened); err != nil {
			return a, t.failed(ctx, err, s, inputs, owned), nil
		}
	}
	result, err := t.apply(ctx, s, p)
	if err != nil {
		mourned := t.mourn(ctx, a, s, p)
		result.Outcomes = append(result.Outcomes, mourned.Outcomes...)
	}
	o := outcome{
		result: v1alpha1.ResultSucceeded, revision: s.made.Revision, fetched: s.made.Began, inputs: inputs,
		owned: result.Inventory(owned), outcomes: result.Outcomes, drifted: drifted(result), deferred: p.Deferred, run: b.run, opened: opened,
		tidy: t.tidy(context.WithoutCancel(ctx), s, p, result),
	}
	t.tellDrift(ctx, a, b, s, result)
	t.wake(ctx, result)
	if err != nil {
		f := t.failed(ctx, fault.As(fault.ApplyFailed, err), s, inputs, o.owned)
		f.outcomes, f.tidy, f.opened = o.outcomes, o.tidy, opened
		return a, f, nil
	}
	o.applied, o.note = true, tally(result)+blocked(result)
	return a, t.judge(ctx, a, b, s, o), nil
}

// opening is how an attempt begins: what it stores before its first object.
type opening int

const (
	withStatus opening = iota // the status: its number, and all that it may come to own
	withClaim                 // FirstClaimAnnotation, in the patch that adds the finalizer
	briefly                   // nothing
)

// openingOf chooses the cheapest opening that remembers all that must be found when the
// worker dies.
func openingOf(a *v1alpha1.Application, p plan.Plan, now time.Time) opening {
	switch {
	case claims(a, p):
		return withClaim
	case brief(a, p, now):
		return briefly
	}
	return withStatus
}

// maxBrief is how many objects an attempt writes at most that does not begin with a status.
const maxBrief = 16

// claims says that a first sync creates a few objects at once, and nothing else. It ends
// within moments, so that nobody misses a status that says it is under way
// (docs/decisions/021-first-claims.md).
func claims(a *v1alpha1.Application, p plan.Plan) bool {
	if !untouched(a) || len(p.SyncFail) > 0 || p.Deferred || len(p.Stages) != 1 {
		return false
	}
	return few(p, plan.Create)
}

// untouched says that Plumb has written nothing about the Application yet but that it waits.
func untouched(a *v1alpha1.Application) bool {
	_, claimed := a.Annotations[v1alpha1.FirstClaimAnnotation]
	return !claimed && a.Status.LastAttempt == nil && a.Status.Inventory == nil && !slices.Contains(a.Finalizers, v1alpha1.Finalizer)
}

// few says that all that the plan works are at most maxBrief objects, with one verb, and no hooks.
func few(p plan.Plan, verb plan.Verb) bool {
	count := 0
	for _, action := range p.Actions() {
		if !action.Verb.Works() {
			continue
		}
		if count++; action.Verb != verb || action.Hook != plan.Sync {
			return false
		}
	}
	return count <= maxBrief
}

// brief says that the plan changes a few objects that the inventory holds, after an
// attempt that succeeded, and nothing else. Then nothing is there to be remembered before
// the first write, and the attempt ends within moments: its only status write is its
// last. What a worker that dies amid it leaves is found by the request, which comes back
// or whose lease expires, and else as drift, so that drift has to be healed
// (docs/decisions/016-brief-attempts.md).
func brief(a *v1alpha1.Application, p plan.Plan, now time.Time) bool {
	return mayBeBrief(a, now) && len(p.SyncFail) == 0 && !p.Deferred && few(p, plan.Update)
}

// apart is how long after another an attempt may be brief: the API server notes by the
// second when Plumb changed an object.
const apart = 3 * time.Second

// mayBeBrief says whether a brief attempt may begin now, by what the status says.
func mayBeBrief(a *v1alpha1.Application, now time.Time) bool {
	last := a.Status.LastAttempt
	if last == nil || last.Result != v1alpha1.ResultSucceeded || last.Duration == nil || !heals(a, "") {
		return false
	}
	return now.Sub(last.StartedAt.Add(last.Duration.Duration)) >= apart
}

// unsettled is the inventory for an attempt that comes after one that may have been
// brief and left no trace: nobody knows what it wrote.
func unsettled(owned inventory.Inventory) inventory.Inventory {
	return owned.Claim(owned.Entries()...)
}

// apply runs the plan; between stages the worker slot serves others.
func (t *attempt) apply(ctx context.Context, s fetched, p plan.Plan) (result apply.Result, err error) {
	err = t.stages.stage(ctx, "apply", func(ctx context.Context) error {
		result, err = apply.Run(ctx, p, s.client, t.guard, t.applyOptions(s, p))
		t.stages.veil.outcomes(result.Outcomes)
		return err
	})
	return result, err
}

// judge ends the attempt at once when all is healthy or becomes so within moments, and
// else leaves the rest of the wait to the finisher.
func (t *attempt) judge(ctx context.Context, a *v1alpha1.Application, b begun, s fetched, o outcome) outcome {
	if err := failpoint.Hit(failpoint.Health); err != nil {
		return t.failed(ctx, err, fetched{}, o.inputs, o.owned)
	}
	reports := t.reports(a, o)
	if o.health = health.Worst(reports); !well(o.health) && o.health.Status != health.Degraded && o.opened != briefly {
		reports = t.linger(ctx, a, s, o, reports)
		o.health = health.Worst(reports)
	}
	if well(o.health) {
		return o
	}
	o.result = v1alpha1.ResultWaiting
	o.deadline = b.startedAt.Add(timeout(a))
	t.r.finisher.expect(a.Key(), known{number: b.number, reports: reports, details: t.details(ctx, o), veil: t.stages.veil, since: t.r.now()})
	return o
}

func well(s health.Summary) bool { return s.Total == 0 || s.Status == health.Healthy }

// lingering is how long an attempt itself waits for health. Much of what there is in
// Kubernetes is healthy once its controller has seen it: a status that says so spares
// one that says that it is waited for.
const lingering = 2 * time.Second

// linger looks for moments what becomes of the objects, without a worker slot, and
// returns what is known of them then.
func (t *attempt) linger(ctx context.Context, a *v1alpha1.Application, s fetched, o outcome, reports map[object.ID]health.Report) map[object.ID]health.Report {
	limited, cancel := context.WithTimeout(ctx, lingering)
	defer cancel()
	judged, open := awaited(o.owned, reports, t.r.judgeOf(a))
	from := map[object.ID]string{}
	for _, out := range o.outcomes {
		if out.Live != nil {
			from[out.Action.ID] = out.Live.GetResourceVersion()
		}
	}
	t.slot.Release()
	_ = t.stages.stage(limited, "health", func(ctx context.Context) error {
		_ = followFrom(ctx, s.client, t.key, open, from, judged.see) // what fails here is for the finisher to find
		return nil
	})
	_ = t.slot.Acquire(ctx) // the end is written without a slot, too
	return judged.all()
}

// reports judges every owned object: by what the attempt saw of it, else by what
// was known when all were healthy. What nobody saw stays Unknown and is waited for.
func (t *attempt) reports(a *v1alpha1.Application, o outcome) map[object.ID]health.Report {
	seen := map[object.ID]*unstructured.Unstructured{}
	for _, out := range o.outcomes {
		if out.Live != nil {
			seen[out.Action.ID] = out.Live
		}
	}
	unseen := health.Report{Message: "not seen yet"}
	if healthOf(a) == "Healthy" {
		unseen = health.Report{Status: health.Healthy}
	}
	judge, reports := t.r.judgeOf(a), map[object.ID]health.Report{}
	for _, e := range o.owned.Entries() {
		if e.Hook != "" {
			continue // its end counts, and was waited for
		}
		reports[e.ID] = unseen
		if live, ok := seen[e.ID]; ok {
			reports[e.ID] = judge(live)
		}
	}
	for _, out := range o.outcomes {
		if _, owned := reports[out.Action.ID]; owned && going(out) {
			reports[out.Action.ID] = health.Report{Status: health.Healthy, Message: "is going, as it should"}
		}
	}
	return reports
}

// going says whether an object was deleted that is no longer rendered; a finalizer
// may keep it for a while, and once it is gone it will never be healthy.
func going(o apply.Outcome) bool {
	return o.Action.Verb == plan.Prune || o.Action.Verb == plan.Keep && o.Live != nil && o.Live.GetDeletionTimestamp() != nil
}

// blocked names what was deleted and is held by finalizers.
func blocked(result apply.Result) string {
	var words []string
	for i, h := range result.Held() {
		if i == maxHeld {
			words = append(words, "and others")
			break
		}
		words = append(words, h.String())
	}
	if len(words) == 0 {
		return ""
	}
	return "; still being deleted: " + strings.Join(words, ", ")
}

// maxHeld is how many objects that will not go a message names.
const maxHeld = 3

// tally is one line on what was done, as in "2 created, 1 pruned".
func tally(result apply.Result) string {
	words := []string{"created", "adopted", "updated", "replaced", "ran", "pruned", "released", "unchanged", "kept"}
	count := map[string]int{}
	for _, o := range result.Outcomes {
		count[o.Word()]++
	}
	var parts []string
	for _, w := range words {
		if n := count[w]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, w))
		}
	}
	return strings.Join(parts, ", ")
}
