// Scale simulates a fleet: the real routing, queue, leases and facts of many clusters on
// a real JetStream, with Applications whose render and apply is a wait. It prints what it
// measures beside what the cost model predicts from what single operations cost on the
// same server, and ends with an error when a figure is outside of the bound.
// docs/scale.md tells of the model and of what was found.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"github.com/plumb-gitops/plumb/integration/scale/model"
)

// options are the flags.
type options struct {
	fleet  model.Fleet
	seed   uint64
	pushes int
	sample int
	cases  string
	serve  string
	limit  time.Duration
}

func main() {
	o := options{fleet: model.Fleet{Cores: float64(runtime.NumCPU())}}
	flag.IntVar(&o.fleet.Clusters, "clusters", 100, "`number` of clusters")
	flag.IntVar(&o.fleet.Applications, "applications", 500, "`number` of Applications of each cluster")
	flag.IntVar(&o.fleet.Workers, "workers", 2, "`number` of worker processes of each cluster")
	flag.IntVar(&o.fleet.Slots, "slots", 32, "`number` of attempts at a time of each worker")
	flag.DurationVar(&o.fleet.Service, "service", 100*time.Millisecond, "mean `time` that render and apply take")
	flag.IntVar(&o.pushes, "pushes", 100, "`number` of pushes in a row")
	flag.IntVar(&o.sample, "sample", 1000, "`number` of operations of each kind that are measured by themselves first")
	flag.Uint64Var(&o.seed, "seed", 1, "`seed` of the times and of the choice of Applications")
	flag.StringVar(&o.cases, "cases", "", "`expression` of the scenarios to run")
	flag.DurationVar(&o.limit, "limit", 30*time.Minute, "longest `time` that a scenario may take")
	flag.StringVar(&o.serve, "serve", "", "be the NATS server of a simulation, with its streams in `directory`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.main(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func (o options) main(ctx context.Context) (err error) {
	if o.serve != "" {
		return serve(o.serve)
	}
	cases, err := regexp.Compile(o.cases)
	if err != nil {
		return fmt.Errorf("--cases: %w", err)
	}
	if total := o.fleet.Clusters * o.fleet.Applications; o.pushes > total || o.fleet.Workers < 1 {
		return fmt.Errorf("%d pushes to %d Applications with %d workers each: at most a push an Application, and a worker at least", o.pushes, total, o.fleet.Workers)
	}
	dir, err := os.MkdirTemp("", "plumb-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := startServer(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return o.simulate(ctx, s, cases)
}

func (o options) simulate(ctx context.Context, s *server, cases *regexp.Regexp) error {
	costs, err := calibrate(ctx, s.url, s.cmd.Process.Pid, o.sample)
	if err != nil {
		return err
	}
	table(os.Stdout, fmt.Sprintf("what single operations cost here, best of %d rounds of %d of each, %g processors", rounds, o.sample, o.fleet.Cores), single(costs))
	st, err := openStreams(s.url)
	if err != nil {
		return err
	}
	defer st.close()
	fmt.Printf("\n%d clusters of %d Applications, %d workers of %d slots each, %s mean service time\n",
		o.fleet.Clusters, o.fleet.Applications, o.fleet.Workers, o.fleet.Slots, o.fleet.Service)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	fleet, err := newSimulation(ctx, o.fleet, o.seed, s.url, log)
	if err != nil {
		return err
	}
	defer fleet.close()
	if err := fleet.settled(ctx, st); err != nil {
		return err
	}
	return o.play(ctx, &run{simulation: fleet, streams: st, costs: costs, server: s.cmd.Process.Pid, pushes: o.pushes, others: o.sample * rounds}, cases)
}

func (o options) play(ctx context.Context, r *run, cases *regexp.Regexp) error {
	off := 0
	for _, s := range scenarios {
		if !cases.MatchString(s.name) {
			continue
		}
		limited, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done within %s", o.limit))
		figures, err := s.run(limited, r)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		off += table(os.Stdout, s.name, figures)
	}
	if off > 0 {
		return fmt.Errorf("%d figures are not what the model predicts", off)
	}
	return nil
}

// single are the costs as figures.
func single(c model.Costs) []figure {
	var all []figure
	for _, o := range []struct {
		what string
		model.Cost
	}{
		{"a fact published", c.Fact}, {"a request published, handed out, acknowledged", c.Request}, {"a lease taken and released", c.Lease},
		{"a state put", c.State}, {"a fact followed", c.Follow}, {"a fact taken by the alerter", c.Alert}, {"an Application compared", model.Cost{CPU: c.Digest}},
	} {
		all = append(all, told(o.what, "ms", o.Wall.Seconds()*1e3), told("  of it CPU", "ms", o.CPU.Seconds()*1e3))
	}
	return all
}
