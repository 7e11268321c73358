// Package telemetry owns what tells operators about the process: log lines
// (slog), traces (OpenTelemetry, exported over OTLP/HTTP when the standard
// OTEL_* environment says so) and the registry of metrics.
//
// It imports no other package of Plumb. Nothing here blocks or fails the work
// it watches: spans that cannot be exported in time are dropped. Trace ids are
// real and travel in events whether or not anything is exported.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Limits of the export: what does not fit into the queue is dropped, and the
// end of the process waits no longer than flushLimit for the rest.
const (
	queueSize   = 4096
	batchEvery  = time.Second
	exportLimit = 10 * time.Second
	flushLimit  = 2 * time.Second
)

// Tracing starts the export of spans under the service's name when the
// environment asks for it (specification "OpenTelemetry Protocol Exporter"),
// and returns how to end it, which takes two seconds at most. getenv decides
// whether; the SDK itself reads endpoint, headers and sampler.
func Tracing(ctx context.Context, service, version string, getenv func(string) string, log *slog.Logger) (stop func(), err error) {
	export, err := exporting(getenv)
	if err != nil || !export {
		return func() {}, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("start trace export: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(queueSize),
			sdktrace.WithBatchTimeout(batchEvery), sdktrace.WithExportTimeout(exportLimit)),
		sdktrace.WithResource(described(service, version)),
	)
	otel.SetErrorHandler(complaints(log))
	otel.SetTracerProvider(provider)
	return func() { end(provider) }, nil
}

func exporting(getenv func(string) string) (bool, error) {
	endpoint := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") + getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	if endpoint == "" || getenv("OTEL_SDK_DISABLED") == "true" || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := getenv(name); p != "" && p != "http/protobuf" {
			return false, fmt.Errorf("start trace export: %s=%s is not supported; use http/protobuf, port 4318 as a rule", name, p)
		}
	}
	return true, nil
}

// described is the resource; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
func described(service, version string) *resource.Resource {
	own := resource.NewSchemaless(
		attribute.String("service.name", service), attribute.String("service.version", version))
	env := resource.Environment()
	merged, err := resource.Merge(own, env)
	if err != nil {
		return own // the schemas differ; the names above are enough
	}
	return merged
}

func end(provider *sdktrace.TracerProvider) {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	// What could not be sent by now is lost, and was complained about.
	_ = provider.Shutdown(ctx)
}

// complaints logs what the exporter reports, at most once a minute: a collector
// that is away must not fill the log.
func complaints(log *slog.Logger) otel.ErrorHandler {
	var mu sync.Mutex
	var last time.Time
	return otel.ErrorHandlerFunc(func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if errors.Is(err, context.Canceled) || time.Since(last) < time.Minute {
			return
		}
		last = time.Now()
		log.Warn("traces are not exported", "error", err)
	})
}

// Metrics returns a registry with the metrics of the Go runtime and the process.
func Metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
