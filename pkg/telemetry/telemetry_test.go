package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/telemetry"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestATraceGoesOnAcrossProcesses(t *testing.T) {
	for sentence, c := range map[string]struct{ traceparent, want string }{
		"from a valid header":                       {parent, "4bf92f3577b34da6a3ce929d0e0e4736"},
		"a new one, without a header":               {"", ""},
		"a new one, from a header of zeros":         {"00-00000000000000000000000000000000-0000000000000000-01", ""},
		"a new one, from a header with a line feed": {parent + "\nx: y", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			ctx, end := telemetry.Start(telemetry.Continue(t.Context(), c.traceparent), "route")
			defer end(nil)
			id := telemetry.TraceID(ctx)
			if len(id) != 32 || id == strings.Repeat("0", 32) || c.want != "" && id != c.want {
				t.Errorf("trace id %q, want %q", id, c.want)
			}
			next := telemetry.Traceparent(ctx)
			if !strings.HasPrefix(next, "00-"+id+"-") || next == c.traceparent {
				t.Errorf("traceparent %q does not lead from a new span of %s", next, id)
			}
		})
	}
}

func TestATraceIsResumedByItsID(t *testing.T) {
	for sentence, c := range map[string]struct{ id, want string }{
		"from an id":              {"4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736"},
		"not without one":         {"", ""},
		"not from zeros":          {strings.Repeat("0", 32), ""},
		"not from something else": {"../../etc/passwd", ""},
		"not from half of an id":  {"4bf92f3577b34da6", ""},
		"not from a whole header": {parent, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			ctx := telemetry.Resume(t.Context(), c.id)
			if got := telemetry.TraceID(ctx); got != c.want {
				t.Errorf("trace id %q, want %q", got, c.want)
			}
			if got := telemetry.Traceparent(ctx); (got != "") != (c.want != "") {
				t.Errorf("traceparent %q", got)
			}
		})
	}
}

func TestWithoutASpanThereIsNoTrace(t *testing.T) {
	if got := telemetry.Traceparent(t.Context()) + telemetry.TraceID(t.Context()); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestLogLinesCarryTheTrace(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.Logger(&out, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	log.With("service", "worker").InfoContext(telemetry.Continue(t.Context(), parent), "applied")
	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["trace"] != "4bf92f3577b34da6a3ce929d0e0e4736" || line["service"] != "worker" {
		t.Errorf("got %v", line)
	}
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, c := range [][2]string{{"xml", "info"}, {"text", "loud"}} {
		if _, err := telemetry.Logger(io.Discard, c[0], c[1]); err == nil {
			t.Errorf("%v: accepted", c)
		}
	}
}

func TestExportIsDecidedByTheEnvironment(t *testing.T) {
	for sentence, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"no endpoint":            {nil, ""},
		"switched off":           {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, ""},
		"no traces":              {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, ""},
		"a protocol not spoken":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported"},
		"the protocol of traces": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json is not supported"},
	} {
		t.Run(sentence, func(t *testing.T) {
			stop, err := telemetry.Tracing(t.Context(), "worker", "v0", func(k string) string { return c.env[k] }, slog.New(slog.DiscardHandler))
			if c.want == "" && err == nil {
				stop()
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || c.want == "" {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// exportTo starts tracing against an endpoint and puts the global state back.
func exportTo(t *testing.T, url string) (stop func()) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url}
	stop, err := telemetry.Tracing(t.Context(), "worker", "v0", func(k string) string { return env[k] }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	return stop
}

func TestSpansAreExportedWithTheirError(t *testing.T) {
	got := make(chan *collector.ExportTraceServiceRequest, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		request := &collector.ExportTraceServiceRequest{}
		if err := proto.Unmarshal(body, request); err != nil {
			t.Error(err)
		}
		got <- request
	}))
	defer server.Close()
	stop := exportTo(t, server.URL)

	_, end := telemetry.Start(telemetry.Continue(t.Context(), parent), "fetch", slog.String("repo", "h/a"), slog.Int("tries", 2))
	end(errors.New("no route"))
	stop()

	spans := (<-got).GetResourceSpans()[0]
	span := spans.GetScopeSpans()[0].GetSpans()[0]
	if span.GetName() != "fetch" || span.GetStatus().GetMessage() != "no route" || len(span.GetAttributes()) != 2 {
		t.Errorf("got %v", span)
	}
	if !strings.Contains(spans.GetResource().String(), `"worker"`) {
		t.Errorf("resource %v does not name the service", spans.GetResource())
	}
}

// More spans than the queue holds, to an endpoint that takes connections and
// never answers: each end returns at once, and so does the end of the process.
func TestAnEndpointThatHangsBlocksNothing(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	stop := exportTo(t, server.URL)

	const spans = 20_000
	began := time.Now()
	for range spans {
		_, end := telemetry.Start(context.Background(), "apply")
		end(nil)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%d spans took %s", spans, took)
	}
	began = time.Now()
	stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stop took %s", took)
	}
}

func TestMetricsDescribeTheProcess(t *testing.T) {
	families, err := telemetry.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "go_goroutines" {
			return
		}
	}
	t.Error("no go_goroutines")
}
