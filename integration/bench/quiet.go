package main

import (
	"context"
	"fmt"
	"time"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
	"github.com/plumb-gitops/plumb/integration/gitserver"
)

// quiet are Applications to which nothing happens: a commit that touches none of them,
// and sweeps that find nothing.
type quiet struct {
	applications int
	sweep        time.Duration // driftScanner.interval
}

// quietRound is what was asked of the API server, and what was rendered.
type quietRound struct {
	commit  requests // from the webhook of the unrelated commit until a whole sweep later
	renders float64  // meanwhile
	sweep   requests // in a whole sweep after the commit was routed
}

// The metrics that the worker and the drift-scanner tell these things by.
const (
	rendersMetric = "plumb_renders_total"
	turnsMetric   = "plumb_sweep_turns_total"
)

// calmFor is how long nothing is asked about objects before a round begins.
const calmFor = 3 * time.Second

func (b *bench) quiet(ctx context.Context, q quiet) error {
	counting, err := b.startProxy("quiet")
	if err != nil {
		return err
	}
	defer counting.stop()
	p, err := b.startPlumbAs(ctx, "quiet", setup{kubeconfig: counting.kubeconfig, sweep: q.sweep})
	if err != nil {
		return err
	}
	defer p.stop()
	rounds, first, err := b.quietRounds(ctx, q, p, counting)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.tail())
	}
	b.add(append(q.figures(rounds), figures.Figure{
		Case: fmt.Sprintf("first sync of %d: requests about objects, per Application", q.applications),
		Unit: figures.Requests, Values: []float64{first},
	})...)
	return nil
}

// quietRounds also tells how many requests the first sync took per Application: where that
// is nothing, nothing is counted at all.
func (b *bench) quietRounds(ctx context.Context, q quiet, p *plumb, counting *proxy) (rounds []quietRound, first float64, err error) {
	repo, err := b.repository(ctx, q.applications, "quiet")
	if err != nil {
		return nil, 0, err
	}
	if err := b.namespace(ctx, "quiet"); err != nil {
		return nil, 0, err
	}
	told, err := p.facts(ctx, time.Now())
	if err != nil {
		return nil, 0, err
	}
	defer told.end()
	_, err = b.untilReady(ctx, "quiet", q.applications, "", func() error { return b.createApplications(ctx, "quiet", q.applications, repo.Name) })
	if err != nil {
		return nil, 0, err
	}
	all := counting.requests()
	fmt.Printf("  %s first sync: the API server was asked: %s\n", time.Now().Format(time.TimeOnly), all)
	if all.writes() < q.applications {
		return nil, 0, fmt.Errorf("the proxy counts %d writes of a first sync of %d Applications", all.writes(), q.applications)
	}
	first = float64(all.kind(ofObjects)) / float64(q.applications)
	for n := range b.rounds {
		r, err := q.round(ctx, n, repo, p, told, counting)
		if err != nil {
			return nil, 0, fmt.Errorf("round %d: %w", n+1, err)
		}
		fmt.Printf("  %s round %d of %d: the API server was asked: %s\n", time.Now().Format(time.TimeOnly), n+1, b.rounds, r.commit)
		rounds = append(rounds, r)
	}
	return rounds, first, nil
}

func (q quiet) round(ctx context.Context, n int, repo *gitserver.Repo, p *plumb, told *facts, counting *proxy) (r quietRound, err error) {
	if err := settled(ctx, counting); err != nil {
		return r, err
	}
	sha, err := repo.CommitAndPush(ctx, "Change nothing", map[string][]byte{"README.md": fmt.Appendf(nil, "%d\n", n)})
	if err != nil {
		return r, err
	}
	rendered, err := p.metric(ctx, rendersMetric)
	if err != nil {
		return r, err
	}
	before := counting.requests()
	if err := p.announce(ctx, repo, sha); err != nil {
		return r, err
	}
	routed, err := told.routed(ctx, sha)
	if err != nil {
		return r, err
	}
	if routed.affected != 0 || routed.unaffected != q.applications {
		return r, fmt.Errorf("the unrelated commit affects %d Applications and not %d, of %d", routed.affected, routed.unaffected, q.applications)
	}
	begun := counting.requests()
	if err := q.swept(ctx, p); err != nil {
		return r, err
	}
	ended := counting.requests()
	r.commit, r.sweep = ended.since(before), ended.since(begun)
	now, err := p.metric(ctx, rendersMetric)
	r.renders = now - rendered
	return r, err
}

// swept returns when a sweep has looked at every Application. Each has a turn in an
// interval, give or take a tenth: once there were two turns for each, every single one has
// had one at least.
func (q quiet) swept(ctx context.Context, p *plumb) error {
	turns, err := p.metric(ctx, turnsMetric)
	if err != nil {
		return err
	}
	return p.until(ctx, turnsMetric, turns+float64(2*q.applications))
}

// settled returns when nothing was asked about objects for a while: what a round
// counts has to be its own.
func settled(ctx context.Context, counting *proxy) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("requests about objects do not stop: %s", counting.requests()))
	defer cancel()
	ticker := time.NewTicker(looking)
	defer ticker.Stop()
	for counting.calm() < calmFor {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (q quiet) figures(rounds []quietRound) []figures.Figure {
	var renders, writes, sweep, watches, others []float64
	for _, r := range rounds {
		renders, writes = append(renders, r.renders), append(writes, float64(r.commit.writes()))
		sweep = append(sweep, float64(r.sweep.kind(ofObjects)))
		watches, others = append(watches, float64(r.sweep.kind(ofWatches))), append(others, float64(r.sweep.kind(ofSelf)))
	}
	name := func(what string) string { return fmt.Sprintf(what, q.applications) }
	none := []figures.Goal{figures.AtMost(1, 0)}
	return []figures.Figure{
		{Case: name("unrelated commit, %d Applications: renders"), Unit: figures.Requests, Values: renders, Goals: none},
		{Case: name("unrelated commit, %d Applications: writes to the API server"), Unit: figures.Requests, Values: writes, Goals: none},
		{Case: name("sweep with nothing to do, %d Applications: requests about objects"), Unit: figures.Requests, Values: sweep, Goals: none},
		{Case: name("sweep with nothing to do, %d Applications: watches begun anew"), Unit: figures.Requests, Values: watches},
		{Case: name("sweep with nothing to do, %d Applications: discovery, reviews and leases"), Unit: figures.Requests, Values: others},
	}
}
