package service

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkLimit is how long a readiness check may take before it counts as failed.
const checkLimit = 2 * time.Second

// Check says whether something that the program needs is there.
type Check struct {
	Name  string
	Ready func(ctx context.Context) error
}

// Admin answers /healthz (the process runs), /readyz (all checks pass, one line
// each; else 503) and /metrics (Prometheus). Profiles are what a developer asks of a
// process that is slow: they cost it time, so that they are served only when asked for.
func Admin(metrics prometheus.Gatherer, profiles bool, checks ...Check) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, checks) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func ready(w http.ResponseWriter, r *http.Request, checks []Check) {
	ctx, cancel := context.WithTimeout(r.Context(), checkLimit)
	defer cancel()
	results := ask(ctx, checks)
	for _, err := range results {
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			break
		}
	}
	for i, err := range results {
		if err != nil {
			fmt.Fprintf(w, "%s: %v\n", checks[i].Name, err)
			continue
		}
		fmt.Fprintf(w, "%s: ok\n", checks[i].Name)
	}
}

// ask runs the checks side by side; one that does not heed its context fails
// when the time is over.
func ask(ctx context.Context, checks []Check) []error {
	results := make([]error, len(checks))
	var wait sync.WaitGroup
	for i, c := range checks {
		wait.Go(func() {
			answer := make(chan error, 1)
			go func() { answer <- c.Ready(ctx) }()
			select {
			case results[i] = <-answer:
			case <-ctx.Done():
				results[i] = fmt.Errorf("no answer within %s", checkLimit)
			}
		})
	}
	wait.Wait()
	return results
}
