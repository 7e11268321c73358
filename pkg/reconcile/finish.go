package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// adoptAfter is how long another worker's wait is left to that worker.
const adoptAfter = 15 * time.Second

// finishLimit is how long the end of a wait may take to be written and told.
const finishLimit = 10 * time.Second

// leastLook is how long health is looked at, however late.
const leastLook = 5 * time.Second

// Finisher ends attempts that wait for health: all is written, the lease is
// free, and the status holds the deadline. Every worker follows its own waits at
// once and those of others when they last; resourceVersion lets one of them write.
type Finisher struct {
	r   *Reconciler
	ctx context.Context // of all waits; they are no part of any request

	mu      sync.Mutex
	known   map[app.Key]known
	cancels map[app.Key]pending
	group   sync.WaitGroup
}

// known is what an attempt of this process saw and did before it waited.
type known struct {
	number  int64
	reports map[object.ID]health.Report
	details details
	veil    veil
	since   time.Time // when the wait began
}

type pending struct {
	number int64
	cancel context.CancelFunc
}

// Run follows waits until ctx ends. Observe must be subscribed to the catalog.
func (f *Finisher) Run(ctx context.Context) error {
	<-ctx.Done()
	f.mu.Lock()
	for _, p := range f.cancels {
		p.cancel()
	}
	f.mu.Unlock()
	f.group.Wait()
	return nil
}

// expect tells of a wait that an attempt of this process is about to store.
func (f *Finisher) expect(key app.Key, k known) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[key] = k
}

// Observe follows the status of an Application.
func (f *Finisher) Observe(old, now *v1alpha1.Application) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := keyOf(old, now)
	number, waits := waiting(now)
	if p, runs := f.cancels[key]; runs && (!waits || p.number != number) {
		p.cancel()
		delete(f.cancels, key)
	}
	if _, runs := f.cancels[key]; !waits || runs {
		if settledFor(now, f.known[key].number) {
			delete(f.known, key)
		}
		return
	}
	delay, mine := adoptAfter, known{number: number, since: f.r.now()}
	if own := f.known[key]; own.number == number {
		delay, mine = 0, own
	} else if old == nil {
		delay = time.Second // whoever followed it may be gone
	}
	ctx, cancel := context.WithCancel(f.ctx)
	f.cancels[key] = pending{number: number, cancel: cancel}
	f.group.Go(func() { f.follow(ctx, key, mine, delay) })
}

func keyOf(old, now *v1alpha1.Application) app.Key {
	if now != nil {
		return now.Key()
	}
	return old.Key()
}

func waiting(a *v1alpha1.Application) (number int64, waits bool) {
	if a == nil || a.Status.LastAttempt == nil {
		return 0, false
	}
	last := a.Status.LastAttempt
	return last.Number, last.Result == v1alpha1.ResultWaiting && a.DeletionTimestamp.IsZero()
}

// settledFor says that the attempt of that number waits no more and never will.
func settledFor(a *v1alpha1.Application, number int64) bool {
	if a == nil || a.Status.LastAttempt == nil {
		return true
	}
	last := a.Status.LastAttempt
	return last.Number > number || last.Number == number &&
		last.Result != v1alpha1.ResultRunning && last.Result != v1alpha1.ResultWaiting
}

// follow ends one wait: all objects settle, or the deadline comes.
func (f *Finisher) follow(ctx context.Context, key app.Key, k known, delay time.Duration) {
	if !sleep(ctx, delay) {
		return
	}
	a, found := f.r.catalog.Get(key)
	if n, waits := waiting(a); !found || !waits || n != k.number || a.Status.LastAttempt.Deadline == nil {
		return
	}
	summary, err := f.settle(ctx, a, k.reports)
	if ctx.Err() != nil {
		return
	}
	summary.Message = k.veil.message(summary.Message)
	f.conclude(ctx, key, k, verdict(a, summary, k.veil.error(err)))
}

// lastLook is when a wait ends that begins now. Its deadline may be over already
// when no worker ran: then it is seen what became of the objects meanwhile.
func lastLook(deadline, now time.Time) time.Time {
	if least := now.Add(leastLook); deadline.Before(least) {
		return least
	}
	return deadline
}

// client is the Application's account. That it cannot be asked for now is no
// failure of the Application.
func (f *Finisher) client(ctx context.Context, a *v1alpha1.Application) (*cluster.Client, error) {
	for {
		client, err := f.r.client(ctx, a)
		if class, _ := fault.ClassOf(err); err == nil || class == fault.Permanent || !sleep(ctx, time.Second) {
			return client, err
		}
	}
}

// settle watches until every object is healthy or degraded, or the deadline comes.
func (f *Finisher) settle(ctx context.Context, a *v1alpha1.Application, reports map[object.ID]health.Report) (health.Summary, error) {
	limited, cancel := context.WithDeadline(ctx, lastLook(a.Status.LastAttempt.Deadline.Time, f.r.now()))
	defer cancel()
	client, err := f.client(limited, a)
	if err != nil {
		return health.Summary{}, err
	}
	owned, err := inventory.Of(a)
	if err != nil {
		return health.Summary{}, err
	}
	judged, open := awaited(owned, reports, f.r.judgeOf(a))
	err = follow(limited, client, a.Key(), open, judged.see)
	if limited.Err() != nil {
		err = nil // the deadline; what is healthy until then says it all
	}
	return f.r.explain(ctx, client, judged.all(), open), err
}

// awaited are the API versions of the objects whose health is waited for, and what
// is known of all. Nobody waits for what was pruned and is held by a finalizer, or
// for hooks.
func awaited(owned inventory.Inventory, reports map[object.ID]health.Report, judge func(*unstructured.Unstructured) health.Report) (*judged, map[object.ID]string) {
	j, open := newJudged(judge), map[object.ID]string{}
	for _, e := range owned.Entries() {
		if e.Fields == "" || e.Hook != "" {
			continue
		}
		r, known := reports[e.ID]
		if !known {
			r = health.Report{Message: "not seen yet"}
		}
		if j.reports[e.ID] = r; r.Status != health.Healthy {
			open[e.ID] = e.Version
		}
	}
	return j, open
}

// verdict is the outcome of a wait.
func verdict(a *v1alpha1.Application, s health.Summary, err error) outcome {
	o := outcome{
		result: v1alpha1.ResultSucceeded, revision: a.Status.LastAttempt.Revision,
		inputs: a.Status.Inputs, applied: true, health: s, finishing: true, note: s.Describe(),
	}
	if fetched := a.Status.LastAttempt.FetchedAt; fetched != nil {
		o.fetched = fetched.Time
	}
	switch {
	case err != nil:
		o.result, o.err = v1alpha1.ResultFailed, fault.As(fault.HealthFailed, err)
	case s.Status == health.Degraded:
		o.result, o.err = v1alpha1.ResultFailed, unhealthy(fault.HealthFailed, s)
	case s.Status != health.Healthy && s.Total > 0:
		o.result, o.err = v1alpha1.ResultFailed, unhealthy(fault.HealthTimeout, s)
	}
	return o
}

func unhealthy(reason fault.Reason, s health.Summary) error {
	what := "not healthy"
	if reason == fault.HealthTimeout {
		what = "not healthy in time"
	}
	return fault.Refuse(reason, fault.Place{}, "%s: %s", what, s.Describe())
}

// conclude writes the end of a wait, unless somebody else did or a newer attempt
// began.
func (f *Finisher) conclude(ctx context.Context, key app.Key, k known, o outcome) {
	for {
		err := f.write(ctx, key, k, o)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case errors.Is(err, catalog.ErrConflict):
			continue
		}
		f.r.log.WarnContext(ctx, "end of a wait not written; trying again", "application", key.String(), "error", err)
		if !sleep(ctx, time.Second) {
			return
		}
	}
}

func (f *Finisher) write(ctx context.Context, key app.Key, k known, o outcome) error {
	a, err := f.r.catalog.Read(ctx, key)
	if n, waits := waiting(a); err != nil || !waits || n != k.number {
		return err
	}
	last := a.Status.LastAttempt
	b := begun{number: k.number, reason: last.Reason, trace: last.Trace, requested: a.Status.Requested, startedAt: last.StartedAt.Time}
	d := k.details
	d.stages = append(slices.Clone(d.stages), &eventsv1.Stage{Name: "health", Duration: durationpb.New(f.r.now().Sub(k.since))})
	// The watch may show this write, and with it end ctx, before the answer is here;
	// what it says has to be told all the same.
	writing, cancel := context.WithTimeout(context.WithoutCancel(traced(ctx, d.trace, last.Trace)), finishLimit)
	defer cancel()
	return f.r.store(writing, a, b, o, d)
}

// traced goes on with the attempt's trace; of another worker's only the id is known.
func traced(ctx context.Context, traceparent, id string) context.Context {
	if traceparent != "" {
		return telemetry.Continue(ctx, traceparent)
	}
	return telemetry.Resume(ctx, id)
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
