package driftscanner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// publisher publishes what the scanner found, as traces of their own.
type publisher struct {
	bus     *bus.Bus
	cluster string
	now     func() time.Time
	newID   func() string
}

// request asks for an attempt; the same cause asks once, whoever found it.
func (p *publisher) request(ctx context.Context, cause string, key app.Key, reason string) error {
	return p.send(ctx, event.SyncRequested, cause+"/"+p.cluster+"/"+key.String(), cause, &eventsv1.SyncRequested{
		Cluster: p.cluster, Namespace: key.Namespace, Name: key.Name, Reason: reason,
	})
}

// send publishes; an empty id makes the event one of its own.
func (p *publisher) send(ctx context.Context, kind event.Type, id, cause string, data proto.Message) error {
	if telemetry.Traceparent(ctx) == "" {
		var end func(error)
		ctx, end = telemetry.Start(ctx, "scan")
		defer end(nil)
	}
	e := event.Event{
		ID: id, Source: event.SourceOf(p.cluster, "drift-scanner"), Type: kind, Subject: event.SubjectOf(data),
		Time: p.now(), Trace: telemetry.Traceparent(ctx), Cause: cause, Data: data,
	}
	if id == "" {
		e.ID = p.newID()
	}
	_, err := p.bus.Publish(ctx, e, id)
	return err
}

// signature names a difference, so that the same one is told once.
func signature(drifted []*eventsv1.DriftedObject) string {
	h := sha256.New()
	for _, d := range drifted {
		fmt.Fprintf(h, "%s %s %s %d\n", d.GetId(), d.GetKind(), d.GetManager(), d.GetTime().GetSeconds())
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// pause is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
