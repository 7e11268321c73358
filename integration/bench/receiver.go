package main

import (
	"context"
	"fmt"
	"time"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
)

// Receiver and floor take turns: what else happens on the machine hits both.
const (
	turns       = 4
	turnSpan    = 900 * time.Millisecond
	latencySpan = 3 * time.Second
)

// many are the webhooks between two looks at the receiver's memory.
const many = 20_000

// receiverGoal is the share of the floor's rate that the receiver reaches.
const receiverGoal = 0.8

// receiverRound is what one round measured.
type receiverRound struct {
	synced   pair // with sync_interval: always; the floor are bare publishes
	buffered pair // with NATS' default; the floor is a bare receiver

	memory, later memory // of the receiver, before and after many webhooks
}

// pair is a receiver beside its floor.
type pair struct {
	floor, plumb side
	p99          float64 // ms, of the receiver at half of its rate
}

// side is what was measured of a process that answers.
type side struct {
	rates []float64 // per second, turn by turn
	done  int64
	cpu   time.Duration
}

func (s side) rate() float64         { return figures.Quantile(s.rates, 0.5) }
func (s side) microseconds() float64 { return float64(s.cpu.Microseconds()) / float64(s.done) }

// receiver measures webhooks that are stored before they are answered.
func (b *bench) receiver(ctx context.Context) error {
	seedDeliveries()
	var rounds []receiverRound
	for n := range b.rounds {
		r, err := b.receiverRound(ctx, n)
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		fmt.Printf("  %s round %d of %d: %.0f of %.0f per second synced, %.0f of %.0f buffered\n", time.Now().Format(time.TimeOnly), n+1, b.rounds,
			r.synced.plumb.rate(), r.synced.floor.rate(), r.buffered.plumb.rate(), r.buffered.floor.rate())
		rounds = append(rounds, r)
	}
	b.add(receiverFigures(rounds)...)
	return nil
}

func (b *bench) receiverRound(ctx context.Context, n int) (r receiverRound, err error) {
	r.synced, err = b.synced(ctx, n)
	if err != nil {
		return r, fmt.Errorf("sync_interval: always: %w", err)
	}
	in, err := b.startIntake(ctx, fmt.Sprint("buffered-", n), false)
	if err != nil {
		return r, err
	}
	defer in.stop()
	r.buffered, err = in.measure(ctx, n, in.bare, func() (tally, error) { return flood(ctx, in.floor, turnSpan) })
	if err != nil {
		return r, err
	}
	r.memory, r.later, err = in.growth(ctx)
	return r, err
}

func (b *bench) synced(ctx context.Context, n int) (pair, error) {
	in, err := b.startIntake(ctx, fmt.Sprint("synced-", n), true)
	if err != nil {
		return pair{}, err
	}
	defer in.stop()
	return in.measure(ctx, n, in.bare, func() (tally, error) { return in.message.publish(ctx, in.js, turnSpan) })
}

// measure measures the receiver beside a floor. Who goes first changes from round to
// round: the second finds more in the stream.
func (in *intake) measure(ctx context.Context, n int, floor process, load func() (tally, error)) (p pair, err error) {
	steps := []func() error{
		func() error { return p.floor.turn(floor, load) },
		func() error {
			return p.plumb.turn(in.receiver, func() (tally, error) { return flood(ctx, in.address, turnSpan) })
		},
	}
	for i := range turns * len(steps) {
		if err := steps[(i+n)%len(steps)](); err != nil {
			return p, err
		}
	}
	took, err := latencies(ctx, in.address, p.plumb.rate()/2, latencySpan)
	p.p99 = figures.Quantile(took, 0.99) * 1000
	return p, err
}

// turn adds what a load did, and the processor time that it took of the process.
func (s *side) turn(p process, load func() (tally, error)) error {
	before, err := cpuOf(p.cmd.Process.Pid)
	if err != nil {
		return err
	}
	t, err := load()
	if err != nil {
		return err
	}
	after, err := cpuOf(p.cmd.Process.Pid)
	s.rates, s.done, s.cpu = append(s.rates, t.rate), s.done+t.done, s.cpu+after-before
	return err
}

// growth is the memory of the receiver, which has worked hard already, before and after
// many more webhooks.
func (in *intake) growth(ctx context.Context) (before, after memory, err error) {
	if before, err = memoryOf(in.receiver.cmd.Process.Pid); err != nil {
		return 0, 0, err
	}
	for sent := int64(0); sent < many; {
		t, err := flood(ctx, in.address, turnSpan)
		if err != nil {
			return 0, 0, err
		}
		sent += t.done
	}
	after, err = memoryOf(in.receiver.cmd.Process.Pid)
	return before, after, err
}

// receiverGrowth is how much of its memory many webhooks may add to the receiver's: what
// the garbage collector leaves differs by some megabytes, and keeping no more than the
// message of each would add ten.
const receiverGrowth = 1.15

func receiverFigures(rounds []receiverRound) []figures.Figure {
	of := func(value func(receiverRound) float64) (all []float64) {
		for _, r := range rounds {
			all = append(all, value(r))
		}
		return all
	}
	return []figures.Figure{
		figures.Ratio("webhooks per second, each synced to disk", "of bare publishes",
			of(func(r receiverRound) float64 { return r.synced.floor.rate() }),
			of(func(r receiverRound) float64 { return r.synced.plumb.rate() }), figures.AtLeast(0.5, receiverGoal)),
		figures.Ratio("webhooks per second, synced as NATS does", "of a bare handler",
			of(func(r receiverRound) float64 { return r.buffered.floor.rate() }),
			of(func(r receiverRound) float64 { return r.buffered.plumb.rate() }), figures.AtLeast(0.5, receiverGoal)),
		figures.Ratio("processor time of the receiver per webhook, in us", "of a bare handler",
			of(func(r receiverRound) float64 { return r.buffered.floor.microseconds() }),
			of(func(r receiverRound) float64 { return r.buffered.plumb.microseconds() })),
		{Case: "p99 of a webhook at half of that rate, each synced to disk", Unit: figures.Milliseconds,
			Values: of(func(r receiverRound) float64 { return r.synced.p99 }), Goals: []figures.Goal{figures.Median(50)}},
		{Case: "p99 of a webhook at half of that rate, synced as NATS does", Unit: figures.Milliseconds,
			Values: of(func(r receiverRound) float64 { return r.buffered.p99 }), Goals: []figures.Goal{figures.Median(50)}},
		figures.Ratio(fmt.Sprintf("memory of the receiver after %d webhooks more, in MB", many), "of before",
			of(func(r receiverRound) float64 { return r.memory.megabytes() }),
			of(func(r receiverRound) float64 { return r.later.megabytes() }), figures.Median(receiverGrowth)),
	}
}
