package receiver_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/service/receiver"
)

// sink takes an answer and keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// What the receiver does about a push, without the connection and without NATS.
func BenchmarkPush(b *testing.B) {
	stored := receiver.PublisherFunc(func(context.Context, event.Event, string) (uint64, error) { return 1, nil })
	r := build(b, hooked(b, "github"), stored, receiver.Options{
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), Registerer: prometheus.NewRegistry(),
	})
	body := payload(b, "github/push")
	q := httptest.NewRequest(http.MethodPost, "/hooks/github", nil)
	q.Header = github(b, "x", "github", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "push", body).Header
	q.ContentLength = int64(len(body))
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		q.Body = io.NopCloser(bytes.NewReader(body))
		r.ServeHTTP(w, q)
		if w.status != http.StatusAccepted {
			b.Fatal(w.status)
		}
	}
}
