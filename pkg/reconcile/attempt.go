package reconcile

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/report"
	"github.com/plumb-gitops/plumb/pkg/source"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// attempt is one run for one Application, under its lease. Its fields are what
// was given at the start; what the steps find travels between them as values.
type attempt struct {
	r        *Reconciler
	key      app.Key
	request  *eventsv1.SyncRequested
	cause    string          // id of the request's event
	asked    time.Time       // when that was
	again    bool            // the request was handed out before, or who held the lease vanished
	mark     uint64          // a fetch that began after it is new enough
	life     context.Context // of the attempt, without its own time limit
	slot     *bus.Slot
	presumes bool         // what is in no inventory is applied without a look whether it exists
	guard    func() error // no write unless it is nil
	stages   *stages
}

// carry carries the attempt to its end. The error says what becomes of the request.
func (t *attempt) carry(ctx context.Context) error {
	a, err := t.open(ctx)
	if err != nil {
		return err
	}
	return t.of(ctx, a, false)
}

// open reads the Application. The first write tells when that was old; what may end the
// attempt without one is read afresh.
func (t *attempt) open(ctx context.Context) (*v1alpha1.Application, error) {
	a, err := t.r.catalog.Look(ctx, t.key)
	if err != nil || a == nil || a.DeletionTimestamp.IsZero() && heldBack(a, t.request, t.r.now()) == nil {
		return a, err
	}
	return t.r.catalog.Read(ctx, t.key)
}

// of is the attempt of the Application as it was read; nil when it is gone. Unless that is
// certain it may be old: that there is nothing to write is believed only when it is not.
func (t *attempt) of(ctx context.Context, a *v1alpha1.Application, certain bool) (err error) {
	switch {
	case a == nil:
		t.r.report.Gone(ctx, t.key)
		return nil
	case !a.DeletionTimestamp.IsZero():
		return t.teardown(ctx, a)
	}
	if !untouched(a) { // else the first write adds it
		if a, err = t.r.catalog.AddFinalizer(ctx, a); err != nil {
			return err
		}
	}
	b := t.begin(ctx, a)
	if why := heldBack(a, t.request, t.r.now()); why != nil {
		return t.hold(ctx, a, b, why)
	}
	t.life = ctx
	limited, cancel := context.WithTimeoutCause(ctx, timeout(a), errTimeout)
	defer cancel()
	a, o, err := t.sync(limited, a, b)
	if err != nil {
		return err
	}
	if o.result == "" && !certain {
		switch now, err := t.r.catalog.Read(ctx, t.key); {
		case err != nil:
			return err
		case now == nil || now.ResourceVersion != a.ResourceVersion:
			return t.of(ctx, now, true)
		}
	}
	return t.conclude(ctx, a, b, o)
}

// begin names the attempt.
func (t *attempt) begin(ctx context.Context, a *v1alpha1.Application) begun {
	b := begun{
		number: 1, reason: t.reason(a), trace: telemetry.TraceID(ctx),
		requested: a.Annotations[v1alpha1.SyncAnnotation], startedAt: t.r.now(),
	}
	if last := a.Status.LastAttempt; last != nil {
		b.number = last.Number + 1
	}
	return b
}

// reason is why there is an attempt. What a person asks counts also when a newer
// request replaced theirs on the queue.
func (t *attempt) reason(a *v1alpha1.Application) string {
	if asked(a, t.request) || owed(a) {
		return event.ReasonManual
	}
	return t.request.GetReason()
}

// conclude stores the outcome, tells it, and decides about the request. Who
// supersedes an attempt that has not written yet leaves no trace of it.
func (t *attempt) conclude(ctx context.Context, a *v1alpha1.Application, b begun, o outcome) error {
	switch {
	case o.result == "" && o.held != nil:
		return t.hold(ctx, a, b, o.held)
	case o.result == "":
		return nil // nothing was to be done
	case errors.Is(context.Cause(ctx), errLeaseLost):
		return errLeaseLost
	case o.result == v1alpha1.ResultFailed && errors.Is(context.Cause(ctx), context.Canceled):
		// This process ends, which is no failure of the Application. The request
		// goes to another worker at once.
		return fault.Retry("", "sync %s: the worker ends: %w", t.key, o.err)
	case o.result == v1alpha1.ResultSuperseded && o.opened == withStatus && (a.Status.LastAttempt == nil || a.Status.LastAttempt.Number < b.number):
		return o.err
	}
	if err := failpoint.Hit(failpoint.StatusLast); err != nil {
		return err
	}
	// The newcomer waits for the lease, so this write comes before its own.
	written := context.WithoutCancel(ctx)
	if err := t.guard(); err != nil {
		return err
	}
	if err := t.r.store(written, a, b, o, t.details(ctx, o)); err != nil {
		return superseded(err)
	}
	if o.tidy != nil && !o.deferred { // hooks that are there are known to have run
		o.tidy()
	}
	switch {
	case o.deferred:
		return fault.After(fault.Progressing, handoverRetry, "sync %s: objects that it no longer renders may be taken over by another Application", t.key)
	case o.result != v1alpha1.ResultFailed && o.held != nil:
		return o.held.fault(t)
	case o.result != v1alpha1.ResultFailed:
		return nil
	}
	return t.r.repeat(written, t.key, o)
}

// superseded turns the loss of the race for the status into the end of the attempt.
func superseded(err error) error {
	if errors.Is(err, catalog.ErrConflict) {
		return errors.Join(errSuperseded, err)
	}
	return err
}

// first is the write before the first object, as the opening says. It carries the
// resourceVersion of the read, so of two attempts that overlap against all odds, one
// stops here. A brief attempt leaves it out: its last write does the same.
func (t *attempt) first(ctx context.Context, a *v1alpha1.Application, b begun, made source.Assembly, owned inventory.Inventory, how opening) (*v1alpha1.Application, error) {
	if err := failpoint.Hit(failpoint.StatusFirst); err != nil {
		return a, err
	}
	if err := t.guard(); err != nil {
		return a, err
	}
	if ctx.Err() != nil {
		return a, context.Cause(ctx)
	}
	// Once begun it is carried to its answer: an attempt that is asked to yield
	// meanwhile must know whether its number stands in the status, to end it there.
	written, err := t.r.announce(context.WithoutCancel(ctx), a, b, made, owned, how)
	if err != nil {
		return a, superseded(err)
	}
	t.r.report.Later(ctx, report.Fact{
		Type: event.SyncStarted, ID: report.AttemptID(a, b.number, "started"), Cause: t.cause,
		Data: &eventsv1.SyncStarted{
			Cluster: t.r.o.Cluster, Namespace: a.Namespace, Name: a.Name,
			Attempt: b.number, Reason: b.reason, Revision: made.Revision,
		},
	})
	return written, nil
}

// stages are how long the steps of an attempt took, in their order.
type stages struct {
	now  func() time.Time
	list []*eventsv1.Stage
	veil veil // over what the render said is secret, from then on
}

// queued begins with the time since the request was made. The clocks of two
// machines may make it negative, which is nothing.
func queued(since time.Time, now func() time.Time) *stages {
	waited := max(now().Sub(since), 0)
	return &stages{now: now, list: []*eventsv1.Stage{{Name: "queue", Duration: durationpb.New(waited)}}}
}

// stage times one step and gives it a span. Its error tells no secret.
func (s *stages) stage(ctx context.Context, name string, step func(context.Context) error) error {
	began := s.now()
	ctx, end := telemetry.Start(ctx, name)
	err := step(ctx)
	err = s.veil.error(err)
	end(err)
	s.list = append(s.list, &eventsv1.Stage{Name: name, Duration: durationpb.New(s.now().Sub(began))})
	return err
}

const defaultTimeout = 5 * time.Minute

var errTimeout = errors.New("the attempt took longer than spec.sync.timeout")

func timeout(a *v1alpha1.Application) time.Duration {
	if given := a.Spec.Sync.Timeout; given != nil {
		return given.Duration
	}
	return defaultTimeout
}
