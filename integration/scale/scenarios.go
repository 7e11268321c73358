package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plumb-gitops/plumb/integration/scale/model"
)

// scenario is something that happens to a fleet.
type scenario struct {
	name string
	run  func(context.Context, *run) ([]figure, error)
}

// scenarios are in the order in which they run: the later ones need the states that the
// earlier ones stored.
var scenarios = []scenario{
	{"one Application", one},
	{"one cluster", cluster1},
	{"many pushes in a row", row},
	{"all Applications", everything},
	{"half of the workers die", takeoverOfHalf},
	{"everything restarts", restart},
}

// run is a simulation with what is known of its server.
type run struct {
	*simulation
	streams *streams
	costs   model.Costs
	server  int // process id
	pushes  int // of many in a row
	others  int // states that are not of the fleet
}

func one(ctx context.Context, r *run) ([]figure, error) {
	c := r.clusters[len(r.clusters)/2]
	return r.concern(ctx, 1, 1, r.single(1, 1), func() (*pushed, error) {
		return r.push(ctx, change{apps: map[string][]string{c.name: {c.keys[0].Name}}}, 1)
	})
}

func cluster1(ctx context.Context, r *run) ([]figure, error) {
	return r.concern(ctx, 1, r.fleet.Applications, r.single(r.fleet.Applications, 1), func() (*pushed, error) {
		return r.push(ctx, change{clusters: []string{r.clusters[0].name}}, r.fleet.Applications)
	})
}

func everything(ctx context.Context, r *run) ([]figure, error) {
	all := r.fleet.Clusters * r.fleet.Applications
	return r.concern(ctx, 1, all, r.single(all, r.fleet.Clusters), func() (*pushed, error) {
		return r.push(ctx, change{base: true}, all)
	})
}

// row pushes without a pause; each push concerns another Application of any cluster.
func row(ctx context.Context, r *run) ([]figure, error) {
	random := rand.New(rand.NewPCG(r.seed, 0))
	return r.concern(ctx, r.pushes, r.pushes, func(f model.Fleet) model.Times { return f.Row(r.costs, r.pushes) }, func() (*pushed, error) {
		p := newPushed(r.pushes*r.fleet.Clusters, r.pushes)
		for _, i := range random.Perm(r.fleet.Clusters * r.fleet.Applications)[:r.pushes] {
			c := r.clusters[i%r.fleet.Clusters]
			key := c.keys[i/r.fleet.Clusters]
			if err := r.pushInto(ctx, p, change{apps: map[string][]string{c.name: {key.Name}}}, c.name+"/"+key.String()); err != nil {
				return nil, err
			}
		}
		return p, nil
	})
}

// single predicts one push.
func (r *run) single(affected, clusters int) func(model.Fleet) model.Times {
	return func(f model.Fleet) model.Times { return f.Push(r.costs, affected, clusters) }
}

// concern measures pushes that concern a number of Applications of some clusters.
func (r *run) concern(ctx context.Context, pushes, affected int, predict func(model.Fleet) model.Times, push func() (*pushed, error)) ([]figure, error) {
	before, err := r.observe(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	p, err := push()
	if err != nil {
		return nil, err
	}
	w, err := r.awaited(ctx, p)
	if err != nil {
		return nil, err
	}
	done := time.Since(begun)
	after, err := r.observe(ctx)
	if err != nil {
		return nil, err
	}
	lag, err := r.lag(ctx, before.alerts+int64(2*affected))
	if err != nil {
		return nil, err
	}
	fleet := r.fleet
	fleet.Cores = after.cores(before)
	want := predict(fleet)
	figures := []figure{
		wait("handed out, median", quantile(w.handed, 0.5), want.Median),
		slowest(quantile(w.handed, 0.99), want.P99, after.again > before.again),
		wait("last one done", done, want.Last),
		limit("alerter behind by", lag, r.fleet.Lag(r.costs, affected)),
	}
	return append(append(figures, r.counted(w, before, after, pushes, affected)...), after.since(before)...), nil
}

// slowest is the p99. What was on its way to a pull that its worker had given up, since
// the server was silent for two seconds, comes again after the ack wait.
func slowest(p99, predicted time.Duration, givenUp bool) figure {
	if givenUp {
		return limit("handed out, p99", p99, predicted+model.Takeover)
	}
	return wait("handed out, p99", p99, predicted)
}

func megabytes(bytes int) float64 { return float64(bytes) / 1e6 }

// counted are the numbers of messages.
func (r *run) counted(w waits, before, after observed, pushes, affected int) []figure {
	m := r.fleet.Messages(pushes, affected)
	ever := func(stream string) uint64 { return after.stored[stream].ever - before.stored[stream].ever }
	// What is not told within two seconds is for the repair of a real worker to tell.
	facts, put := count("facts stored", ever(events), m.Events), count("states stored", ever(states), m.States)
	facts.factor, put.factor = within, within
	requests := count("sync requests stored", ever(syncs), m.Requests)
	if pushes > 1 { // each asks again for what those before it have asked for and is not done
		requests = told(requests.what, "", requests.measured)
	}
	return []figure{
		requests,
		count("Applications brought to it", w.carried, affected),
		count("more than once", w.twice, 0),
		facts,
		put,
	}
}

// waits are those of a push, and what became of it.
type waits struct {
	handed         []time.Duration
	carried, twice int
}

// awaited waits until a push is done and the queue is empty.
func (r *run) awaited(ctx context.Context, p *pushed) (w waits, err error) {
	if err := r.ledger.await(ctx, p); err != nil {
		return w, err
	}
	return r.ledger.waits(p), r.streams.idle(ctx)
}

// lag is how long it takes from now until the alerter has taken a number of facts. Those
// that were not told never come, so that it ends when nothing comes any more.
func (r *run) lag(ctx context.Context, want int64) (time.Duration, error) {
	begun, last, at := time.Now(), r.audience.alerts.Load(), time.Now()
	for last < want && time.Since(at) < quiet {
		if !pause(ctx, look) {
			return 0, fmt.Errorf("the alerter took %d of %d facts: %w", last, want, context.Cause(ctx))
		}
		if now := r.audience.alerts.Load(); now > last {
			last, at = now, time.Now()
		}
	}
	return at.Sub(begun), nil
}

// quiet is how long nothing comes when nothing is on its way.
const quiet = 3 * time.Second

// takeoverOfHalf kills one of two workers of some clusters in the middle of their work.
func takeoverOfHalf(ctx context.Context, r *run) ([]figure, error) {
	some := r.clusters[:max(r.fleet.Clusters/10, 1)]
	affected := len(some) * r.fleet.Applications
	var names []string
	for _, c := range some {
		names = append(names, c.name)
	}
	before, err := r.observe(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	p, err := r.push(ctx, change{clusters: names}, affected)
	if err != nil {
		return nil, err
	}
	for r.ledger.progress(p) < affected/5 {
		if !pause(ctx, look) {
			return nil, context.Cause(ctx)
		}
	}
	var all sync.WaitGroup
	for _, w := range r.workers[:len(some)] {
		all.Go(w.kill)
	}
	all.Wait()
	w, err := r.awaited(ctx, p)
	if err != nil {
		return nil, err
	}
	done := time.Since(begun)
	after, err := r.observe(ctx)
	if err != nil {
		return nil, err
	}
	half := r.fleet
	half.Workers, half.Cores = max(half.Workers/2, 1), after.cores(before)
	figures := []figure{
		wait("last one done", done, half.Push(r.costs, affected, len(some)).Last+model.Takeover),
		count("Applications brought to it", w.carried, affected),
		count("more than once", w.twice, 0),
	}
	return append(figures, after.since(before)...), nil
}

// restart ends all workers and starts them again; each reads the states of its cluster
// before anything else, to find out what the bus has lost.
func restart(ctx context.Context, r *run) ([]figure, error) {
	var all sync.WaitGroup
	for _, w := range r.workers {
		all.Go(w.stop)
	}
	all.Wait()
	before, err := r.observe(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := r.hire(ctx); err != nil {
		return nil, err
	}
	connected := time.Since(begun)
	var again, read atomic.Int64
	for _, w := range r.workers {
		all.Go(func() {
			for ctx.Err() == nil {
				list, err := w.bus.States(ctx, w.cluster.name)
				if err == nil {
					read.Add(int64(len(list)))
					return
				}
				again.Add(1)
				pause(ctx, 10*look)
			}
		})
	}
	all.Wait()
	took := time.Since(begun) - connected
	after, err := r.observe(ctx)
	if err != nil {
		return nil, err
	}
	fleet := r.fleet
	fleet.Cores = after.cores(before)
	known := int(after.stored[states].messages) - r.others
	fleet.Applications = known / fleet.Clusters
	return append([]figure{
		told("connected again", "s", connected.Seconds()),
		wait("states read by all", took, fleet.Restart(r.costs)),
		count("states read", read.Load(), known*r.fleet.Workers),
		told("readings repeated", "", float64(again.Load())),
	}, after.since(before)...), ctx.Err()
}
