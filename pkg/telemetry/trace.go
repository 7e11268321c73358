package telemetry

import (
	"context"
	"log/slog"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const header = "traceparent"

// Continue makes ctx part of the trace that a W3C traceparent names. Without a
// valid one the next Start begins a trace.
func Continue(ctx context.Context, traceparent string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{header: traceparent})
}

// Resume makes ctx part of a trace of which only the id is kept, as in the status
// of an Application: 32 hex digits. Another id leaves ctx as it is.
func Resume(ctx context.Context, id string) context.Context {
	t, err := trace.TraceIDFromHex(id)
	if err != nil {
		return ctx
	}
	parent := trace.SpanContextConfig{TraceID: t, SpanID: trace.SpanID(t[8:]), TraceFlags: trace.FlagsSampled, Remote: true}
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(parent))
}

// Traceparent is the W3C header of the span in ctx; empty when there is none.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[header]
}

// TraceID is the trace of ctx as 32 hex digits; empty when there is none.
func TraceID(ctx context.Context) string {
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		return id.String()
	}
	return ""
}

// Start begins a span, as a rule one stage of the work, below the one in ctx.
// end takes the stage's error, which marks the span as failed. Neither blocks.
func Start(ctx context.Context, name string, attrs ...slog.Attr) (_ context.Context, end func(error)) {
	ctx, span := provider().Tracer("github.com/plumb-gitops/plumb").Start(ctx, name)
	if span.IsRecording() {
		span.SetAttributes(attributes(attrs)...)
	}
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

func attributes(attrs []slog.Attr) []attribute.KeyValue {
	out := make([]attribute.KeyValue, len(attrs))
	for i, a := range attrs {
		switch v := a.Value.Resolve(); v.Kind() {
		case slog.KindInt64:
			out[i] = attribute.Int64(a.Key, v.Int64())
		case slog.KindBool:
			out[i] = attribute.Bool(a.Key, v.Bool())
		default:
			out[i] = attribute.String(a.Key, v.String())
		}
	}
	return out
}

// provider is the one that exports or, without export, one that only gives ids;
// OpenTelemetry's own default would give none.
func provider() trace.TracerProvider {
	if p, ok := otel.GetTracerProvider().(*sdktrace.TracerProvider); ok {
		return p
	}
	return silent()
}

var silent = sync.OnceValue(func() *sdktrace.TracerProvider { return sdktrace.NewTracerProvider() })
