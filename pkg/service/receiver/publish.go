package receiver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	"github.com/plumb-gitops/plumb/pkg/webhook"
)

// publish stores every event of a delivery that the hook may speak of, and
// only then answers 2xx. A sender that goes away meanwhile changes nothing.
func (r *Receiver) publish(ctx context.Context, h hook, d webhook.Delivery) answer {
	id := d.ID
	if id == "" {
		id = r.opts.NewID()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.Limits.Publish)
	defer cancel()
	ctx, end := telemetry.Start(telemetry.Continue(ctx, born(h.name, id)), "receive",
		slog.String("hook", h.name), slog.String("provider", h.provider.Name()), slog.String("delivery", id))
	a, err := r.storeAll(ctx, h, d, id)
	end(err)
	return a
}

// storeAll stores the events in their order. The index in an event's id counts
// all of the delivery, so that it stays when the hook's repos change.
func (r *Receiver) storeAll(ctx context.Context, h hook, d webhook.Delivery, id string) (answer, error) {
	a := answer{outcome: accepted, trace: telemetry.TraceID(ctx)}
	var refused string
	for i, e := range d.Events {
		if !h.admits(e.Subject) {
			refused = e.Subject
			continue
		}
		e.ID = h.name + "/" + id + "/" + strconv.Itoa(i)
		e.Source, e.Time, e.Trace = event.SourceOf(r.opts.Cluster, "receiver"), r.opts.Now(), telemetry.Traceparent(ctx)
		if err := r.store(ctx, e, d.ID != ""); err != nil {
			return r.unstored(ctx, h, err), err
		}
		a.events = append(a.events, e.ID)
	}
	if len(a.events) == 0 {
		return notForUs(d, refused), nil
	}
	r.opts.Log.DebugContext(ctx, "delivery accepted", "hook", h.name, "delivery", id, "events", len(a.events), "first", a.events[0])
	return a, nil
}

// store publishes under the message id that makes a redelivery the same
// message; where the provider sends no id nothing may be taken for a repetition.
func (r *Receiver) store(ctx context.Context, e event.Event, known bool) error {
	messageID := e.ID
	if !known {
		messageID = ""
	}
	_, err := r.publisher.Publish(ctx, e, messageID)
	return err
}

const retryAfter = 5 * time.Second

func (r *Receiver) unstored(ctx context.Context, h hook, err error) answer {
	r.opts.Log.ErrorContext(ctx, "delivery not stored", "hook", h.name, "error", err)
	wait := retryAfter
	if class, after := fault.ClassOf(err); class == fault.RetryAfter {
		wait = after
	}
	return answer{outcome: unpublished, reason: "events cannot be stored now", wait: wait}
}

func notForUs(d webhook.Delivery, refused string) answer {
	a := answer{outcome: ignored, reason: d.Ignored}
	if refused != "" {
		a.reason = fmt.Sprintf("%s is not among the hook's repos", refused)
	}
	return a
}

// born is the traceparent that begins the trace of a delivery
// (https://www.w3.org/TR/trace-context/). It is made from the delivery's id, so
// that a redelivery, whose events are already stored, answers with the trace
// that they carry. The sender's own traceparent is not believed.
func born(hook, id string) string {
	seed := sha256.Sum256([]byte("plumb trace\x00" + hook + "\x00" + id))
	return "00-" + hex.EncodeToString(seed[:16]) + "-" + hex.EncodeToString(seed[16:24]) + "-01"
}
