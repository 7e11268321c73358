package worker

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// requests publishes what the worker itself asks and tells.
type requests struct {
	bus     *bus.Bus
	cluster string
	now     func() time.Time
}

// publish asks for a sync. The same cause asks each Application once.
func (q *requests) publish(ctx context.Context, cause string, request *eventsv1.SyncRequested) error {
	id := cause + "/" + q.cluster + "/" + request.GetNamespace() + "/" + request.GetName()
	return q.send(ctx, event.SyncRequested, id, cause, request)
}

func (q *requests) send(ctx context.Context, kind event.Type, id, cause string, data proto.Message) error {
	e := event.Event{
		ID: id, Source: event.SourceOf(q.cluster, "worker"), Type: kind, Subject: event.SubjectOf(data),
		Time: q.now(), Trace: telemetry.Traceparent(ctx), Cause: cause, Data: data,
	}
	_, err := q.bus.Publish(ctx, e, id)
	return err
}
