package main

import (
	"context"
	"fmt"
	"time"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
)

// resting are many Applications to which nothing happens any more.
type resting struct {
	applications int
	rounds       int // at most: what is used differs little from one to the next
}

// restFor is how long plumb up tells nothing before its memory at rest is taken.
const restFor = time.Minute

// restingRound is the memory of plumb up.
type restingRound struct {
	start memory // before there is an Application
	peak  memory // most that was seen in the first sync
	rest  memory // a minute after the last fact
}

func (b *bench) memory(ctx context.Context, m resting) error {
	var start, peak, rest []float64
	for n := range min(b.rounds, m.rounds) {
		var r restingRound
		err := b.onFresh(ctx, func() (err error) {
			r, err = b.memoryRound(ctx, m, fmt.Sprintf("memory-%d", n))
			return err
		})
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		start, peak, rest = append(start, r.start.megabytes()), append(peak, r.peak.megabytes()), append(rest, r.rest.megabytes())
	}
	name := func(what string) string { return fmt.Sprintf(what, m.applications) }
	b.add(
		figures.Figure{Case: "memory of plumb up without Applications", Unit: figures.Megabytes, Values: start},
		figures.Figure{Case: name("memory of plumb up, at its peak in the first sync of %d"), Unit: figures.Megabytes, Values: peak, Goals: []figures.Goal{figures.AtMost(1, 300)}},
		figures.Figure{Case: name("memory of plumb up a minute after the last event, %d Applications"), Unit: figures.Megabytes, Values: rest, Goals: []figures.Goal{figures.AtMost(1, 150)}},
	)
	return nil
}

func (b *bench) memoryRound(ctx context.Context, m resting, label string) (r restingRound, err error) {
	p, err := b.startPlumb(ctx, label)
	if err != nil {
		return r, err
	}
	defer p.stop()
	repo, err := b.repository(ctx, m.applications, label)
	if err != nil {
		return r, err
	}
	if err := b.namespace(ctx, label); err != nil {
		return r, err
	}
	if r.start, err = memoryOf(p.cmd.Process.Pid); err != nil {
		return r, err
	}
	watched := p.watchMemory()
	_, err = b.untilReady(ctx, label, m.applications, "", func() error { return b.createApplications(ctx, label, m.applications, repo.Name) })
	r.peak = watched()
	if err != nil {
		return r, fmt.Errorf("%w\n%s", err, p.tail())
	}
	if err := p.rest(ctx); err != nil {
		return r, err
	}
	r.rest, err = memoryOf(p.cmd.Process.Pid)
	return r, err
}

// rest returns once nothing was told for restFor.
func (p *plumb) rest(ctx context.Context) error {
	told, err := p.facts(ctx, time.Now())
	if err != nil {
		return err
	}
	defer told.end()
	return told.silence(ctx, restFor)
}
