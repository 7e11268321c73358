package receiver

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics have labels from the configuration and the code only, never from a request.
type metrics struct {
	deliveries *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer, g *gate) (*metrics, error) {
	m := &metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumb_receiver_deliveries_total",
			Help: "Webhook deliveries by hook, provider and outcome; hook and provider are - where no configured hook is named.",
		}, []string{"hook", "provider", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "plumb_receiver_delivery_seconds",
			Help:    "Time from a delivery's header to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"outcome"}),
	}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "plumb_receiver_deliveries_in_flight", Help: "Deliveries being worked on.",
	}, func() float64 { return float64(len(g.slots)) })
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.deliveries), r.Register(m.seconds), r.Register(inFlight))
}

func (m *metrics) observe(h hook, o outcome, took time.Duration) {
	name, provider := "-", "-"
	if h.name != "" {
		name, provider = h.name, h.provider.Name()
	}
	m.deliveries.WithLabelValues(name, provider, string(o)).Inc()
	m.seconds.WithLabelValues(string(o)).Observe(took.Seconds())
}
