// Package apply carries out a plan, stage by stage, and tells what became of
// every action of it.
//
// It may import plan, cluster, health, inventory, object, fault and failpoint.
// Result and error come together: what was done before something failed is never
// lost. An object that fails does not stop the others of its stage; later stages
// and the prune do not run. The guard is asked before every single write.
package apply

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// defaultParallel is how many objects of one Application are in flight.
const defaultParallel = 16

// Client is what is needed of cluster.Client.
type Client interface {
	Get(ctx context.Context, id object.ID, version string) (*unstructured.Unstructured, error)
	Apply(ctx context.Context, o object.Object, options cluster.ApplyOptions) (cluster.Applied, error)
	Delete(ctx context.Context, id object.ID, version string, options cluster.DeleteOptions) error
}

// Options are the tunables of Run.
type Options struct {
	// Parallel is how many requests are in flight; 0 means 16.
	Parallel int
	// Wait returns when the given objects are usable; an error ends the run. It is
	// called between stages, and the place to free a worker slot. Nil goes on at once.
	Wait func(ctx context.Context, ids []object.ID) error
	// Progress is told each outcome as it comes, one at a time; may be nil.
	Progress func(Outcome)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Parallel < 1 {
		o.Parallel = defaultParallel
	}
	if o.Wait == nil {
		o.Wait = func(context.Context, []object.ID) error { return nil }
	}
	if o.Progress == nil {
		o.Progress = func(Outcome) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Run carries out the plan. guard is asked before every write; once it returns an
// error no write is begun any more, and Run returns that error. A blocked plan
// writes nothing. Any other error says how many objects failed and why; it is
// permanent only when trying again helps none of them.
func Run(ctx context.Context, p plan.Plan, client Client, guard func() error, o Options) (Result, error) {
	r := &run{ctx: ctx, plan: p, client: client, guard: guard, Options: o.withDefaults()}
	err := p.Err()
	for i, s := range p.Stages {
		if err != nil {
			r.skip(s.Actions)
			continue
		}
		err = r.stage(i+1, s)
	}
	if err != nil {
		r.skip(p.Prune)
		return r.result, err
	}
	return r.result, r.prune()
}

// run is one Run.
type run struct {
	Options
	ctx    context.Context
	plan   plan.Plan
	client Client
	guard  func() error
	result Result

	mu     sync.Mutex // of Progress and halted
	halted error      // why no write is begun any more
}

func (r *run) stage(n int, s plan.Stage) error {
	if err := failpoint.Hit(failpoint.ApplyBefore(n)); err != nil {
		r.skip(s.Actions)
		return err
	}
	begin := r.Now()
	outcomes := r.each(s.Actions, r.apply)
	err := r.verdict(outcomes)
	if err == nil {
		err = failpoint.Hit(failpoint.ApplyAfter(n))
	}
	if unusable := unusable(outcomes); err == nil && s.Await && len(unusable) > 0 {
		err = r.Wait(r.ctx, unusable)
	}
	r.result.Stages = append(r.result.Stages, Timing{Name: s.Name, Duration: r.Now().Sub(begin)})
	return err
}

func (r *run) prune() error {
	if len(r.plan.Prune) == 0 {
		return nil
	}
	begin := r.Now()
	err := failpoint.Hit(failpoint.PruneBefore)
	for _, wave := range waves(r.plan.Prune) {
		if err != nil {
			r.skip(wave)
			continue
		}
		err = r.verdict(r.each(wave, r.delete))
	}
	if err == nil {
		err = failpoint.Hit(failpoint.PruneAfter)
	}
	r.result.Stages = append(r.result.Stages, Timing{Name: "prune", Duration: r.Now().Sub(begin)})
	return err
}

// each carries actions out side by side and keeps their order in the result.
func (r *run) each(actions []plan.Action, act func(plan.Action) Outcome) []Outcome {
	outcomes := make([]Outcome, len(actions))
	var group errgroup.Group
	group.SetLimit(r.Parallel)
	for i, a := range actions {
		group.Go(func() error {
			outcomes[i] = act(a)
			r.tell(outcomes[i])
			return nil
		})
	}
	_ = group.Wait() // the errors are in the outcomes
	r.result.Outcomes = append(r.result.Outcomes, outcomes...)
	return outcomes
}

// skip records actions that were not begun.
func (r *run) skip(actions []plan.Action) {
	for _, a := range actions {
		r.result.Outcomes = append(r.result.Outcomes, Outcome{Action: a, Live: a.Live, Skipped: true})
	}
}

func (r *run) tell(o Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Progress(o)
}

// allowed asks whether a write may begin. Once it may not, none may.
func (r *run) allowed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.halted == nil {
		r.halted = r.ctx.Err()
	}
	if r.halted == nil {
		r.halted = r.guard()
	}
	return r.halted
}

// unusable are the objects on which the next stage has to wait: what is not
// healthy, and a definition that was applied, since the answer to that shows the
// state before the change. One that was not read is as it was when an attempt
// ended well.
func unusable(outcomes []Outcome) []object.ID {
	var ids []object.ID
	for _, o := range outcomes {
		changed := o.Action.Verb.Applies() && o.Action.ID.Kind != "Namespace"
		if o.Live != nil && (changed || health.Of(o.Live).Status != health.Healthy) {
			ids = append(ids, o.Action.ID)
		}
	}
	return ids
}

// waves splits deletions into groups of which each waits for the one before.
func waves(actions []plan.Action) [][]plan.Action {
	var out [][]plan.Action
	for i, a := range actions {
		if i == 0 || a.Wave() != actions[i-1].Wave() {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], a)
	}
	return out
}
