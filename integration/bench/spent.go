package main

import (
	"context"
	"fmt"
	"time"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
)

// spent is what something took.
type spent struct {
	time  time.Duration
	kube  time.Duration // processor time of the control plane meanwhile
	plumb time.Duration // and of plumb up
}

// spending is what do took. Without a plumb up, plumb is 0.
func (w *world) spending(p *plumb, do func() (time.Duration, error)) (s spent, err error) {
	processes := map[int]*time.Duration{w.kube: &s.kube}
	if p != nil {
		processes[p.cmd.Process.Pid] = &s.plumb
	}
	for pid, of := range processes {
		before, err := cpuOf(pid)
		if err != nil {
			return s, err
		}
		*of = -before
	}
	if s.time, err = do(); err != nil {
		return s, err
	}
	for pid, of := range processes {
		after, err := cpuOf(pid)
		if err != nil {
			return s, err
		}
		*of += after
	}
	return s, nil
}

// mostCommits are how many commits that change all Applications a round measures at most.
const mostCommits = 3

// commits are how many a round measures: one commit of few Applications takes about as
// long as a step of the API server's garbage collector, so that what it meets is luck.
func commits(applications int) int { return min(max(600/applications, 1), mostCommits) }

// changes is the mean of what each of the commits took, named by what it changes.
func changes(applications int, one func(change string) (spent, error)) (mean spent, err error) {
	count := commits(applications)
	for n := range count {
		s, err := one(changeName(n))
		if err != nil {
			return spent{}, fmt.Errorf("a commit that changes all: %w", err)
		}
		mean.time += s.time / time.Duration(count)
		mean.kube += s.kube / time.Duration(count)
		mean.plumb += s.plumb / time.Duration(count)
	}
	return mean, nil
}

func changeName(n int) string { return fmt.Sprintf("change-%d", n) }

// At rest is a control plane that takes no more of a processor than atRest, for restSpan.
const (
	atRest   = 0.15
	restSpan = 4 * time.Second
)

// settle returns when the control plane and, if there is one, plumb up are at rest: what
// controllers still do for the measurement before is no part of the next.
func (w *world) settle(ctx context.Context, p *plumb) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		s, err := w.spending(p, func() (time.Duration, error) {
			if wait(ctx, restSpan); ctx.Err() != nil {
				return 0, fmt.Errorf("control plane and plumb up do not come to rest: %w", ctx.Err())
			}
			return restSpan, nil
		})
		if err != nil || (s.kube+s.plumb).Seconds() < atRest*restSpan.Seconds() {
			return err
		}
	}
}

// versus is what one round took of Plumb, next to the floor.
type versus struct {
	floors floors // that leave the statuses that Plumb does
	lean   floor  // that leaves statuses of one condition
	first  spent  // from the creation of the first Application until all are Ready
	all    spent  // from the webhook until all are Ready at the commit, the mean of some
}

// versusFigures are the ratios of the rounds and the processor times behind them. The
// names of the cases end with variant.
func versusFigures(applications int, variant string, rounds []versus, goals ...figures.Goal) []figures.Figure {
	of := func(what func(versus) time.Duration) (values []float64) {
		for _, r := range rounds {
			values = append(values, what(r).Seconds())
		}
		return values
	}
	each := func(name string, what func(versus) time.Duration) figures.Figure {
		f := figures.Figure{Case: name, Unit: figures.Milliseconds}
		for _, seconds := range of(what) {
			f.Values = append(f.Values, seconds*1000/float64(applications))
		}
		return f
	}
	firstWidth := bestWidth(rounds, func(f floor) time.Duration { return f.first.time })
	allWidth := bestWidth(rounds, func(f floor) time.Duration { return f.all.time })
	first := fmt.Sprintf("first sync of %d%s", applications, variant)
	all := fmt.Sprintf("one commit changes all %d%s", applications, variant)
	return []figures.Figure{
		figures.Ratio(first+", until Ready", "x F1",
			of(func(r versus) time.Duration { return r.floors[firstWidth].first.time }), of(func(r versus) time.Duration { return r.first.time }), goals...),
		figures.Ratio(all+", until Ready", "x F2",
			of(func(r versus) time.Duration { return r.floors[allWidth].all.time }), of(func(r versus) time.Duration { return r.all.time }), goals...),
		figures.Ratio(first+", until Ready, beside statuses of one condition", "x lean F1",
			of(func(r versus) time.Duration { return r.lean.first.time }), of(func(r versus) time.Duration { return r.first.time })),
		figures.Ratio(first+", until Ready, beside a floor that creates the Applications too", "x F1 and creation",
			of(func(r versus) time.Duration { return r.floors[firstWidth].whole() }), of(func(r versus) time.Duration { return r.first.time })),
		figures.Ratio(all+", until Ready, beside statuses of one condition", "x lean F2",
			of(func(r versus) time.Duration { return r.lean.all.time }), of(func(r versus) time.Duration { return r.all.time })),
		figures.Ratio("processor time of the control plane, "+first, "x F1",
			of(func(r versus) time.Duration { return r.floors[firstWidth].first.kube }), of(func(r versus) time.Duration { return r.first.kube })),
		figures.Ratio("processor time of the control plane, "+all, "x F2",
			of(func(r versus) time.Duration { return r.floors[allWidth].all.kube }), of(func(r versus) time.Duration { return r.all.kube })),
		each("processor time of plumb up per Application, "+first, func(r versus) time.Duration { return r.first.plumb }),
		each("processor time of plumb up per Application, "+all, func(r versus) time.Duration { return r.all.plumb }),
	}
}
