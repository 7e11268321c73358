package receiver_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumb-gitops/plumb/pkg/service/receiver"
)

// counted reads the counter as "hook provider outcome" to count.
func counted(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "plumb_receiver_deliveries_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			counts[fmt.Sprint(labels["hook"], " ", labels["provider"], " ", labels["outcome"])] = m.GetCounter().GetValue()
		}
	}
	return counts
}

func TestMetricsCountByHookProviderAndOutcome(t *testing.T) {
	registry := prometheus.NewRegistry()
	out := &recorder{}
	addr, _ := serve(t, build(t, hooked(t, "github"), out, receiver.Options{Registerer: registry}))
	send(t, githubPush(t, addr, "github", "a"))
	send(t, githubPush(t, addr, "github", "b"))
	send(t, githubPush(t, addr, "somebody-elses-hook", "b"))
	send(t, github(t, addr, "github", "c", "ping", payload(t, "github/ping")))
	send(t, github(t, addr, "github", "c", "push", []byte("null")))
	wrong := githubPush(t, addr, "github", "a")
	wrong.Header.Set("X-Hub-Signature-256", "sha256=00")
	send(t, wrong)
	other := githubPush(t, addr, "github", "a")
	other.Method = http.MethodGet
	send(t, other)

	want := map[string]float64{
		"- - misaddressed": 1, "- - unauthentic": 1, "github github accepted": 2,
		"github github ignored": 1, "github github malformed": 1, "github github unauthentic": 1,
	}
	// The last answer is out before it is counted.
	eventually(t, "all are counted", func() bool { return cmp.Equal(want, counted(t, registry)) })
	if _, err := receiver.New(hooked(t, "github"), out, receiver.Options{Registerer: registry}); err == nil {
		t.Error("metrics of two receivers are mixed up")
	}
}
