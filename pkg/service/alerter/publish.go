package alerter

import (
	"context"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// publish tells the bus what a channel was told, in the trace of the failure.
// It is a fact for the log; nothing depends on it.
func (t *teller) publish(ctx context.Context, i *incident, m alert.Message) {
	ctx, end := telemetry.Start(telemetry.Continue(ctx, i.GetTraceparent()), "alert")
	id := "alert/" + m.ID() + "/" + t.channel
	_, err := t.a.bus.Publish(ctx, event.Event{
		ID: id, Source: event.SourceOf(t.a.o.Cluster, "alerter"), Type: event.AlertSent, Subject: m.Incident,
		Time: t.a.o.Now(), Trace: telemetry.Traceparent(ctx), Cause: i.GetCause(),
		Data: &eventsv1.AlertSent{Incident: m.Incident, Channel: t.channel, State: m.State},
	}, id)
	end(err)
	if err != nil {
		t.a.o.Log.WarnContext(ctx, "fact not told", "fact", id, "error", err)
	}
}
