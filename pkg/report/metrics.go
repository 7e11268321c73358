package report

import (
	"github.com/prometheus/client_golang/prometheus"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Metrics count attempts. No label holds a name from outside.
type Metrics struct {
	attempts *prometheus.CounterVec
	stages   *prometheus.HistogramVec
	renders  *prometheus.CounterVec
}

// NewMetrics registers the metrics of attempts; nil registers nothing, and
// nothing is counted.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	if r == nil {
		return nil, nil
	}
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumb_attempts_total", Help: "Attempts that ended, by result and by the reason of the Ready condition.",
		}, []string{"result", "reason"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "plumb_attempt_stage_seconds", Help: "Time that one stage of an attempt took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"stage"}),
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumb_renders_total", Help: "Renders, by whether an earlier one of the same inputs served (hit) or not (miss).",
		}, []string{"cache"}),
	}
	for _, c := range []prometheus.Collector{m.attempts, m.stages, m.renders} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) finished(f *eventsv1.SyncFinished) {
	if m == nil {
		return
	}
	m.attempts.WithLabelValues(f.GetResult(), f.GetErrorReason()).Inc()
	for _, s := range f.GetStages() {
		m.stages.WithLabelValues(s.GetName()).Observe(s.GetDuration().AsDuration().Seconds())
	}
}

// Rendered counts a render, and whether the cache served it.
func (m *Metrics) Rendered(hit bool) {
	if m == nil {
		return
	}
	served := "miss"
	if hit {
		served = "hit"
	}
	m.renders.WithLabelValues(served).Inc()
}
