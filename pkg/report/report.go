// Package report tells the rest of Plumb what became of an Application: facts on
// PLUMB_EVENTS and the last known state in plumb_apps.
//
// It may import bus, event and the Application API. It never fails and never
// holds an attempt up for longer than Limit: what could not be told is logged,
// and Repair tells it again from the status, which holds the truth.
package report

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Limit is the longest that telling one fact may take.
const Limit = 2 * time.Second

// backlog is how many facts may wait to be told in the background.
const backlog = 4096

// Bus is what a Reporter needs of the bus.
type Bus interface {
	Publish(ctx context.Context, e event.Event, id string) (sequence uint64, err error)
	PutState(ctx context.Context, s *eventsv1.ApplicationState) error
	DeleteState(ctx context.Context, cluster string, key app.Key) error
}

// Reporter tells facts of one cluster.
type Reporter struct {
	bus     Bus
	cluster string
	log     *slog.Logger
	now     func() time.Time
	waiting chan func()
	metrics *Metrics
}

// New returns a Reporter of a cluster's worker; metrics may be nil. Run must run
// for facts told in the background.
func New(bus Bus, cluster string, metrics *Metrics, log *slog.Logger, now func() time.Time) *Reporter {
	return &Reporter{bus: bus, cluster: cluster, metrics: metrics, log: log, now: now, waiting: make(chan func(), backlog)}
}

// Count counts the end of an attempt.
func (r *Reporter) Count(f *eventsv1.SyncFinished) { r.metrics.finished(f) }

// Run tells what waits until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case tell := <-r.waiting:
			tell()
		}
	}
}

// Fact is something that happened, with the id that makes telling it twice one fact.
type Fact struct {
	Type  event.Type
	ID    string
	Cause string
	Data  proto.Message
}

// Tell publishes a fact, within Limit.
func (r *Reporter) Tell(ctx context.Context, f Fact) {
	r.publish(ctx, r.event(ctx, f))
}

// Later publishes a fact in the background; it is dropped when too many wait.
func (r *Reporter) Later(ctx context.Context, f Fact) {
	e := r.event(ctx, f)
	select {
	case r.waiting <- func() { r.publish(context.WithoutCancel(ctx), e) }:
	default:
		r.log.WarnContext(ctx, "fact dropped: too many wait", "fact", e.Describe())
	}
}

func (r *Reporter) event(ctx context.Context, f Fact) event.Event {
	return event.Event{
		ID: f.ID, Source: event.SourceOf(r.cluster, "worker"), Type: f.Type, Subject: event.SubjectOf(f.Data),
		Time: r.now(), Trace: telemetry.Traceparent(ctx), Cause: f.Cause, Data: f.Data,
	}
}

// publish goes on when the attempt's context has ended: the fact stands.
func (r *Reporter) publish(ctx context.Context, e event.Event) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Limit)
	defer cancel()
	if _, err := r.bus.Publish(ctx, e, e.ID); err != nil {
		r.log.WarnContext(ctx, "fact not told", "fact", e.Describe(), "error", err)
	}
}

// Saw stores the state of an Application, as last written.
func (r *Reporter) Saw(ctx context.Context, a *v1alpha1.Application) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Limit)
	defer cancel()
	if err := r.bus.PutState(ctx, State(r.cluster, a, r.now())); err != nil {
		r.log.WarnContext(ctx, "state not stored", "application", a.Key().String(), "error", err)
	}
}

// Gone removes the state of a deleted Application.
func (r *Reporter) Gone(ctx context.Context, key app.Key) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Limit)
	defer cancel()
	if err := r.bus.DeleteState(ctx, r.cluster, key); err != nil {
		r.log.WarnContext(ctx, "state not removed", "application", key.String(), "error", err)
	}
}

// AttemptID names one thing that happened in an attempt.
func AttemptID(a *v1alpha1.Application, number int64, what string) string {
	return fmt.Sprintf("%s/%d/%s", a.UID, number, what)
}
