package report_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/testing/protocmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/report"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// away is a bus that never answers: each call lasts as long as it may.
type away struct{ asked chan event.Type }

func (a away) Publish(ctx context.Context, e event.Event, _ string) (uint64, error) {
	a.asked <- e.Type
	<-ctx.Done()
	return 0, errors.New("NATS is away")
}
func (away) PutState(ctx context.Context, _ *eventsv1.ApplicationState) error {
	<-ctx.Done()
	return ctx.Err()
}
func (away) DeleteState(ctx context.Context, _ string, _ app.Key) error {
	<-ctx.Done()
	return ctx.Err()
}

// Telling never holds a sync up: in the background not at all, else for Limit.
func TestABusThatHangsHoldsNothingUp(t *testing.T) {
	bus := away{asked: make(chan event.Type, 1)}
	r := report.New(bus, "local", nil, slog.New(slog.DiscardHandler), clock)
	fact := report.Fact{Type: event.SyncStarted, ID: "1", Data: &eventsv1.SyncStarted{Namespace: "a", Name: "b"}}
	for range 10_000 { // far more than the backlog
		r.Later(t.Context(), fact)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	r.Tell(ended, fact) // also when the attempt's own context is over
	if got := <-bus.asked; got != event.SyncStarted {
		t.Errorf("published %s", got)
	}
	if took := time.Since(began); took > 10*report.Limit {
		t.Errorf("telling took %s, the limit is %s", took, report.Limit)
	}
}

func application(last *v1alpha1.LastAttempt, conditions ...metav1.Condition) *v1alpha1.Application {
	a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{LastAttempt: last, Conditions: conditions}}
	a.Namespace, a.Name, a.Spec.Source.Repo = "team-a", "web", "https://example.com/r"
	return a
}

func TestFinishedIsToldOfEndedAttemptsOnly(t *testing.T) {
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "RenderFailed"}
	cases := map[string]struct {
		application *v1alpha1.Application
		want        *eventsv1.SyncFinished
	}{
		"no attempt yet": {application: application(nil)},
		"under way":      {application: application(&v1alpha1.LastAttempt{Result: v1alpha1.ResultRunning})},
		"waiting":        {application: application(&v1alpha1.LastAttempt{Result: v1alpha1.ResultWaiting})},
		"failed, with why": {
			application: application(&v1alpha1.LastAttempt{Number: 3, Result: v1alpha1.ResultFailed, Message: "no", Revision: "r"}, ready),
			want: &eventsv1.SyncFinished{
				Cluster: "local", Namespace: "team-a", Name: "web", Attempt: 3, Result: "failed", Message: "no", Revision: "r",
				ErrorReason: "RenderFailed", Repo: "https://example.com/r",
			},
		},
		"superseded, which is no failure": {
			application: application(&v1alpha1.LastAttempt{Number: 3, Result: v1alpha1.ResultSuperseded}, ready),
			want:        &eventsv1.SyncFinished{Cluster: "local", Namespace: "team-a", Name: "web", Attempt: 3, Result: "superseded", Repo: "https://example.com/r"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, report.Finished("local", c.application), protocmp.Transform()); diff != "" {
				t.Errorf("fact (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetricsCountAttemptsByResultAndReason(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := report.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	r := report.New(nil, "local", metrics, slog.New(slog.DiscardHandler), clock)
	r.Count(&eventsv1.SyncFinished{Result: "failed", ErrorReason: "RenderFailed", Stages: []*eventsv1.Stage{{Name: "fetch"}}})
	r.Count(&eventsv1.SyncFinished{Result: "succeeded"})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
	}
	want := map[string]int{"plumb_attempts_total": 2, "plumb_attempt_stage_seconds": 1}
	if diff := cmp.Diff(want, series); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}
