package alerter

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumb-gitops/plumb/pkg/alert"
)

// metrics have labels from the configuration and the code only.
type metrics struct {
	messages  *prometheus.CounterVec
	incidents *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumb_alerter_messages_total",
			Help: "Messages by channel, state told (opened, recovered) and outcome: sent, refused for good, failed and to be tried again.",
		}, []string{"channel", "state", "outcome"}),
		incidents: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "plumb_alerter_incidents", Help: "Incidents by state.",
		}, []string{"state"}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.messages), r.Register(m.incidents))
}

func (m *metrics) set(counts map[string]int) {
	for _, state := range []string{alert.Pending, alert.Open, alert.Recovered} {
		m.incidents.WithLabelValues(state).Set(float64(counts[state]))
	}
}
