package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// takeover is the longest that a newcomer waits for the holder of a lease: the
// holder's lease expires within this when the holder is dead.
const takeover = 15 * time.Second

// Handle carries one request of PLUMB_SYNC to its end. The error says what
// becomes of the request: nil and permanent errors end it, others bring it back.
func (r *Reconciler) Handle(ctx context.Context, task *bus.Task) error {
	request, ok := task.Event.Data.(*eventsv1.SyncRequested)
	if !ok {
		return fault.Refuse("", fault.Place{}, "handle %s: not a sync request", task.Event.Describe())
	}
	key := app.Key{Namespace: request.GetNamespace(), Name: request.GetName()}
	ctx = telemetry.Continue(ctx, task.Event.Trace)
	ctx, end := telemetry.Start(ctx, "sync")
	lease, waited, err := r.hold(ctx, key, task.Slot)
	if err != nil {
		end(err)
		return err
	}
	defer lease.Release(context.WithoutCancel(ctx)) // after a panic, too: its heartbeats would hold it for ever
	err = r.attempt(ctx, r.newAttempt(key, request, task, lease, waited), lease)
	end(err)
	return err
}

// hold takes the lease of the Application, asking its holder to yield. It gives
// the worker slot away while it waits: a holder needs one to come to its end.
func (r *Reconciler) hold(ctx context.Context, key app.Key, slot *bus.Slot) (lease *bus.Lease, waited bool, err error) {
	name := bus.SyncLease(r.o.Cluster, key.Namespace, key.Name)
	if lease, err = r.bus.Lease(ctx, name, r.o.Holder); !errors.Is(err, bus.ErrHeld) {
		return lease, false, err
	}
	slot.Release()
	limited, cancel := context.WithTimeout(ctx, takeover)
	defer cancel()
	if lease, err = r.bus.AwaitLease(limited, name, r.o.Holder); err != nil {
		return nil, true, err
	}
	if err := slot.Acquire(ctx); err != nil {
		lease.Release(context.WithoutCancel(ctx))
		return nil, true, err
	}
	return lease, true, nil
}

// attempt runs one attempt under the lease and turns its outcome into the
// request's.
func (r *Reconciler) attempt(ctx context.Context, t *attempt, lease *bus.Lease) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-lease.Lost():
			cancel(errLeaseLost)
		case <-lease.Yielded():
			cancel(errSuperseded)
		case <-ctx.Done():
		}
	}()
	err := t.carry(ctx)
	switch {
	case errors.Is(err, errLeaseLost), errors.Is(context.Cause(ctx), errLeaseLost):
		return fault.Retry("", "sync %s: %w", t.key, errLeaseLost)
	case errors.Is(err, catalog.ErrConflict):
		// A newer request has replaced this one; if it was something else, this one comes back.
		return fault.Retry("", "sync %s: %w", t.key, err)
	case errors.Is(err, errSuperseded):
		return nil
	}
	return err
}

func (r *Reconciler) newAttempt(key app.Key, request *eventsv1.SyncRequested, task *bus.Task, lease *bus.Lease, waited bool) *attempt {
	return &attempt{
		r: r, key: key, request: request, cause: task.Event.ID, asked: task.Event.Time, again: task.Deliveries > 1 || lease.Inherited(), mark: r.mark(request, waited),
		slot: task.Slot, guard: lease.Guard, presumes: true, stages: queued(task.Event.Time, r.now),
	}
}

// mark is after when a fetch has to begin to serve the request; 0: from now on.
// Whoever waited for the lease may have an older request than the one before it.
func (r *Reconciler) mark(request *eventsv1.SyncRequested, waited bool) uint64 {
	switch {
	case waited:
		return 0
	case request.GetEventSequence() > 0:
		return r.heads.Saw(request.GetEventSequence())
	case request.GetReason() == event.ReasonSpec:
		return r.heads.Recently()
	}
	return 0
}

// again is how long a failed attempt waits before it is repeated; false when it
// is not: the failure is permanent, or there were enough of them.
func again(a *v1alpha1.Application, failures int32, err error) (time.Duration, bool) {
	class, after := fault.ClassOf(err)
	policy := retryPolicy(a)
	if class == fault.Permanent || failures > policy.limit {
		return 0, false
	}
	wait := policy.base << min(max(failures-1, 0), 20)
	if wait > policy.max || wait <= 0 {
		wait = policy.max
	}
	return max(wait, after), true
}

type retry struct {
	limit     int32
	base, max time.Duration
}

// retryPolicy repeats the defaults of the schema for Applications that were
// stored before it had them.
func retryPolicy(a *v1alpha1.Application) retry {
	p := retry{limit: 5, base: 5 * time.Second, max: 3 * time.Minute}
	if given := a.Spec.Sync.Retry; given != nil {
		if given.Limit != nil {
			p.limit = *given.Limit
		}
		if given.Base != nil {
			p.base = given.Base.Duration
		}
		if given.Max != nil {
			p.max = given.Max.Duration
		}
	}
	return p
}
