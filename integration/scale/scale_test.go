package main

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/scale/model"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
)

// patience is how long a scenario may take before the test fails.
const patience = 90 * time.Second

// small is a fleet of 300 Applications, on a server of this process.
func small(t *testing.T) (*run, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("not done within %s", patience))
	t.Cleanup(cancel)
	server, err := embedded.Start(t.TempDir(), embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	st, err := openStreams(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.close)
	fleet := model.Fleet{Clusters: 3, Applications: 100, Workers: 2, Slots: 8, Service: 2 * time.Millisecond}
	s, err := newSimulation(t.Context(), fleet, 1, server.URL(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if err := s.settled(ctx, st); err != nil {
		t.Fatal(err)
	}
	return &run{simulation: s, streams: st, pushes: 10}, ctx
}

// outcome is what a push led to, told without times.
type outcome struct {
	Affected, Unaffected int
	Requests             uint64 // stored in PLUMB_SYNC
	HandedOut            int    // different Applications
	Carried              int    // different Applications
	MoreThanOnce         int
	Dead                 uint64 // letters
}

func TestAPushAsksOncePerAffectedApplicationAndNoOther(t *testing.T) {
	r, ctx := small(t)
	web := r.clusters[1].keys[7]
	for _, c := range []struct {
		name   string
		change change
		want   outcome
	}{
		{"one Application", change{apps: map[string][]string{r.clusters[1].name: {web.Name}}}, outcome{Affected: 1, Unaffected: 299, Requests: 1, HandedOut: 1, Carried: 1}},
		{"one cluster", change{clusters: []string{r.clusters[2].name}}, outcome{Affected: 100, Unaffected: 200, Requests: 100, HandedOut: 100, Carried: 100}},
		{"nothing", change{}, outcome{Unaffected: 300}},
		{"all", change{base: true}, outcome{Affected: 300, Requests: 300, HandedOut: 300, Carried: 300}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, r.outcome(ctx, t, c.change, c.want.Carried)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

func (r *run) outcome(ctx context.Context, t *testing.T, c change, want int) outcome {
	t.Helper()
	before, err := r.streams.look(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.push(ctx, c, want)
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.awaited(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	after, err := r.streams.look(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return outcome{
		Affected: p.affected, Unaffected: p.unaffected, Requests: after[syncs].ever - before[syncs].ever,
		HandedOut: len(w.handed), Carried: w.carried, MoreThanOnce: w.twice, Dead: after[dead].ever,
	}
}

// Pushes that come together ask for the same Application several times; it is brought to
// the newest of them once.
func TestPushesInARowBringEachApplicationThereOnce(t *testing.T) {
	r, ctx := small(t)
	figures, err := row(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	exact(t, figures)
}

func TestTheWorkOfDeadWorkersIsTakenOverAndDoneOnce(t *testing.T) {
	r, ctx := small(t)
	figures, err := takeoverOfHalf(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	exact(t, figures)
}

func TestWorkersThatRestartReadAllStates(t *testing.T) {
	r, ctx := small(t)
	for _, s := range []func(context.Context, *run) ([]figure, error){everything, restart} {
		figures, err := s(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		exact(t, figures)
	}
}

// exact compares the counts among figures; times are for the program to judge.
func exact(t *testing.T, figures []figure) {
	t.Helper()
	for _, f := range figures {
		if f.factor == 1 && !f.holds() {
			t.Errorf("%s: %g, want %g", f.what, f.measured, f.predicted)
		}
	}
}

func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		figure
		want bool
	}{
		"twice as long holds":                {wait("", 4*time.Second, 2*time.Second), true},
		"longer does not":                    {wait("", 5*time.Second, 2*time.Second), false},
		"half as long holds":                 {wait("", time.Second, 2*time.Second), true},
		"less than half does not":            {wait("", time.Second, 4*time.Second), false},
		"short times may be off by more":     {wait("", 200*time.Millisecond, time.Millisecond), true},
		"a count holds":                      {count("", 3, 3), true},
		"one more does not":                  {count("", 4, 3), false},
		"one less does not":                  {count("", 2, 3), false},
		"what is only told holds in any way": {told("", "", 9), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.holds(); got != c.want {
				t.Errorf("holds: %v", got)
			}
		})
	}
}
