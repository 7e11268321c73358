package driftscanner

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what the scanner did. No label holds a name from outside.
type Metrics struct {
	turns prometheus.Counter
}

// NewMetrics registers the metrics of a scanner; nil registers nothing, and nothing is
// counted.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	if r == nil {
		return nil, nil
	}
	m := &Metrics{turns: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "plumb_sweep_turns_total",
		Help: "Applications that a sweep has looked at: each once in its interval, give or take a tenth.",
	})}
	return m, r.Register(m.turns)
}

// swept counts Applications whose turn is over.
func (m *Metrics) swept(applications int) {
	if m != nil {
		m.turns.Add(float64(applications))
	}
}
