package receiver

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/webhook"
)

// publish stores every event of a delivery that the hook may speak of, and
// only then answers 2xx. A sender that goes away meanwhile changes nothing.
func (r *Receiver) publish(ctx context.Context, h hook, d webhook.Delivery) answer {
	id, known := d.ID, d.ID != ""
	if !known {
		id = r.opts.NewID()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.Limits.Publish)
	defer cancel()
	ctx, span := r.opts.Tracer.Start(born(ctx, h.name, id), "receive", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("plumb.hook", h.name), attribute.String("plumb.provider", h.provider.Name())))
	defer span.End()
	a := answer{outcome: accepted, trace: span.SpanContext().TraceID().String()}
	var refused string
	for i, e := range d.Events {
		if !h.admits(e.Subject) {
			refused = e.Subject
			continue
		}
		e.ID = fmt.Sprintf("%s/%s/%d", h.name, id, i)
		e.Source, e.Time, e.Trace = event.SourceOf(r.opts.Cluster, "receiver"), r.opts.Now(), traceparent(span)
		if err := r.store(ctx, e, known); err != nil {
			span.SetStatus(codes.Error, "publish")
			return r.unstored(h, a.trace, err)
		}
		a.events = append(a.events, e.ID)
	}
	if len(a.events) == 0 {
		return notForUs(d, refused)
	}
	r.opts.Log.Info("delivery accepted", "hook", h.name, "delivery", id, "events", len(a.events), "about", d.Events[0].Describe(), "trace", a.trace)
	return a
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

func (r *Receiver) unstored(h hook, traceID string, err error) answer {
	r.opts.Log.Error("delivery not stored", "hook", h.name, "trace", traceID, "error", err)
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

// born begins the trace of a delivery. It is made from the delivery's id, so
// that a redelivery, whose events are already stored, answers with the trace
// that they carry. The sender's own traceparent is not believed.
func born(ctx context.Context, hook, id string) context.Context {
	seed := sha256.Sum256([]byte("plumb trace\x00" + hook + "\x00" + id))
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(seed[:16]), SpanID: trace.SpanID(seed[16:24]), TraceFlags: trace.FlagsSampled, Remote: true,
	}))
}

// traceparent is the W3C header of a span (https://www.w3.org/TR/trace-context/).
func traceparent(span trace.Span) string {
	sc := span.SpanContext()
	return fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), sc.SpanID(), sc.TraceFlags())
}
