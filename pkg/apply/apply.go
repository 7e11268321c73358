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
	"slices"
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

// Client is what is needed of cluster.Client: one method for each kind of request.
type Client interface {
	Get(ctx context.Context, id object.ID, version string) (*unstructured.Unstructured, error)
	Apply(ctx context.Context, o object.Object, options cluster.ApplyOptions) (cluster.Applied, error)
	// MergePatch writes the marks of ownership alone, on objects that are not applied.
	MergePatch(ctx context.Context, id object.ID, version string, patch, into any) error
	Delete(ctx context.Context, id object.ID, version string, options cluster.DeleteOptions) error
}

// Options are the tunables of Run.
type Options struct {
	// Parallel is how many requests are in flight; 0 means 16.
	Parallel int
	// Wait returns when the given objects are as until says; an error ends the run. It is never called twice at a time, and the place to free a worker slot.
	// Nil waits for nothing: what needs a wait that is not over is left to another run.
	Wait func(ctx context.Context, ids []object.ID, until plan.Await) error
	// Explain says more about a hook that failed, to stand at the end of its message;
	// may be nil.
	Explain func(ctx context.Context, live *unstructured.Unstructured) string
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
		o.Wait = func(context.Context, []object.ID, plan.Await) error { return nil }
	}
	if o.Explain == nil {
		o.Explain = func(context.Context, *unstructured.Unstructured) string { return "" }
	}
	if o.Progress == nil {
		o.Progress = func(Outcome) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Run carries out the plan: hooks before the sync, its waves, the prune, hooks after
// it. guard is asked before every write; once it returns an error no write is begun
// any more, and Run returns that error. A blocked plan writes nothing, and one with
// objects of other Applications only its claims to them. Any other error says how
// many objects failed and why; it is permanent only when trying again helps none of
// them. After an error the hooks for it may be run (RunFail), and Tidy comes last.
func Run(ctx context.Context, p plan.Plan, client Client, guard func() error, o Options) (Result, error) {
	r := newRun(ctx, p, client, guard, o)
	before, after := p.Split()
	err := p.Err()
	if err == nil {
		err = r.contest()
	}
	err = r.stages(err, before, works(after) || busy(p.Prune))
	err = r.prune(err, works(after))
	err = r.stages(err, after, false)
	return r.result, err
}

// RunFail runs the hooks for a failed sync, within the same run of hooks.
func RunFail(ctx context.Context, p plan.Plan, client Client, guard func() error, o Options) (Result, error) {
	r := newRun(ctx, p, client, guard, o)
	err := r.stages(nil, p.SyncFail, false)
	return r.result, err
}

// run is one Run.
type run struct {
	Options
	ctx     context.Context
	plan    plan.Plan
	client  Client
	guard   func() error
	patient bool // Wait was given
	result  Result

	number    int                   // of stages begun
	pending   []object.ID           // applied, and not seen to be healthy
	made      map[object.ID]bool    // hooks of this run
	contested map[object.ID]Outcome // what became of claims

	mu     sync.Mutex // of Progress and halted
	halted error      // why no write is begun any more
}

func newRun(ctx context.Context, p plan.Plan, client Client, guard func() error, o Options) *run {
	return &run{ctx: ctx, plan: p, client: client, guard: guard, patient: o.Wait != nil, Options: o.withDefaults(), made: map[object.ID]bool{}}
}

// stages carries out stages one after the other, unless something failed before;
// more says that there is something to do after them.
func (r *run) stages(err error, stages []plan.Stage, more bool) error {
	for i, s := range stages {
		if err != nil {
			r.skip(s.Actions)
			continue
		}
		err = r.stage(s, more || works(stages[i+1:]))
	}
	return err
}

// works says whether carrying stages out does anything.
func works(stages []plan.Stage) bool {
	return slices.ContainsFunc(stages, func(s plan.Stage) bool { return busy(s.Actions) })
}

func busy(actions []plan.Action) bool {
	return slices.ContainsFunc(actions, func(a plan.Action) bool {
		return a.Verb.Works() && a.Verb != plan.Forget && a.Verb != plan.Record // those are for the inventory
	})
}

func (r *run) stage(s plan.Stage, more bool) error {
	r.number++
	if err := failpoint.Hit(failpoint.ApplyBefore(r.number)); err != nil {
		r.skip(s.Actions)
		return err
	}
	begin := r.Now()
	var err error
	if s.Phase == plan.Sync {
		err = r.objects(s, more)
	} else {
		err = r.hooks(s)
	}
	if err == nil {
		err = failpoint.Hit(failpoint.ApplyAfter(r.number))
	}
	r.result.Stages = append(r.result.Stages, Timing{Name: s.Name, Duration: r.Now().Sub(begin)})
	return err
}

// objects carries out a stage of the sync. With more to come, its objects are
// awaited as the stage says.
func (r *run) objects(s plan.Stage, more bool) error {
	outcomes := r.parallel(s.Actions, r.apply)
	r.replaceImmutable(outcomes)
	r.result.Outcomes = append(r.result.Outcomes, outcomes...)
	if err := r.verdict(outcomes); err != nil || !more {
		return err
	}
	unusable := r.unusable(outcomes)
	r.pending = append(r.pending, unusable...)
	for _, o := range outcomes {
		if o.Live == nil && o.Action.Owned() {
			r.pending = append(r.pending, o.Action.ID) // not read: it need not be what it was when an attempt ended well
		}
	}
	switch {
	case s.Await == plan.Usable && len(unusable) > 0:
		return r.Wait(r.ctx, unusable, plan.Usable)
	case s.Await == plan.Healthy && len(r.pending) > 0:
		awaited := r.pending
		r.pending = nil
		return r.Wait(r.ctx, awaited, plan.Healthy)
	}
	return nil
}

// parallel carries actions out side by side.
func (r *run) parallel(actions []plan.Action, act func(plan.Action) Outcome) []Outcome {
	return r.indexed(len(actions), func(i int) Outcome { return act(actions[i]) })
}

func (r *run) indexed(n int, act func(int) Outcome) []Outcome {
	outcomes := make([]Outcome, n)
	var group errgroup.Group
	group.SetLimit(r.Parallel)
	for i := range n {
		group.Go(func() error {
			outcomes[i] = act(i)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the outcomes
	return outcomes
}

func (r *run) tell(o Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Progress(o)
}

// skip records actions that were not begun.
func (r *run) skip(actions []plan.Action) {
	for _, a := range actions {
		o, contested := r.contested[a.ID]
		if !contested {
			o = Outcome{Action: a, Live: a.Live, Skipped: true}
		}
		r.result.Outcomes = append(r.result.Outcomes, o)
	}
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
func (r *run) unusable(outcomes []Outcome) []object.ID {
	var ids []object.ID
	for _, o := range outcomes {
		definition := o.Action.ID.Kind == "CustomResourceDefinition" && o.Action.Verb.Applies()
		if o.Live != nil && (definition || r.plan.Health(o.Live).Status != health.Healthy) {
			ids = append(ids, o.Action.ID)
		}
	}
	return ids
}
