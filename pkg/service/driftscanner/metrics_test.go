package driftscanner

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestASweepCountsTheTurnsThatAreOver(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	must(t, err)
	m.swept(3)
	m.swept(2)
	if n := testutil.ToFloat64(m.turns); n != 5 {
		t.Errorf("%v turns are counted, want 5", n)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("the metrics of two scanners were registered as one")
	}
	none, err := NewMetrics(nil)
	must(t, err)
	none.swept(1)
}
