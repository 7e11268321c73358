package main

import (
	"context"
	"fmt"
	"time"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
)

// spans of the measurements of one round.
const (
	rateSpan    = 3 * time.Second
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

// pair is a rate beside its floor, and the p99 of the latency at half of it.
type pair struct {
	floor, rate float64 // per second
	p99         float64 // ms
}

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
			r.synced.rate, r.synced.floor, r.buffered.rate, r.buffered.floor)
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
	in, err := b.startIntake(ctx, fmt.Sprint("buffered-", n), "")
	if err != nil {
		return r, err
	}
	defer in.stop()
	if r.buffered, err = in.measure(ctx, n, func() (float64, error) { return perSecond(ctx, in.floor, rateSpan) }); err != nil {
		return r, err
	}
	r.memory, r.later, err = in.growth(ctx)
	return r, err
}

func (b *bench) synced(ctx context.Context, n int) (pair, error) {
	in, err := b.startIntake(ctx, fmt.Sprint("synced-", n), "always")
	if err != nil {
		return pair{}, err
	}
	defer in.stop()
	return in.measure(ctx, n, func() (float64, error) { return in.message.publishes(ctx, in.js, rateSpan) })
}

// measure measures the receiver beside a floor. Who goes first changes from round to
// round: the second finds more in the stream.
func (in *intake) measure(ctx context.Context, n int, floor func() (float64, error)) (p pair, err error) {
	steps := []func() error{
		func() (err error) { p.floor, err = floor(); return err },
		func() (err error) { p.rate, err = perSecond(ctx, in.address, rateSpan); return err },
	}
	for i := range steps {
		if err := steps[(i+n)%len(steps)](); err != nil {
			return p, err
		}
	}
	took, err := latencies(ctx, in.address, p.rate/2, latencySpan)
	p.p99 = figures.Quantile(took, 0.99) * 1000
	return p, err
}

// growth is the memory of the receiver, which has worked hard already, before and after
// many more webhooks.
func (in *intake) growth(ctx context.Context) (before, after memory, err error) {
	if before, err = memoryOf(in.receiver.cmd.Process.Pid); err != nil {
		return 0, 0, err
	}
	for sent := 0.; sent < many; {
		rate, err := perSecond(ctx, in.address, rateSpan)
		if err != nil {
			return 0, 0, err
		}
		sent += rate * rateSpan.Seconds()
	}
	after, err = memoryOf(in.receiver.cmd.Process.Pid)
	return before, after, err
}

// receiverGrowth is how much of its memory many webhooks may add to the receiver's: what
// the garbage collector leaves differs by some megabytes, and keeping as little as a
// webhook's id would add more.
const receiverGrowth = 1.15

func receiverFigures(rounds []receiverRound) []figures.Figure {
	var published, synced, syncedP99, bare, buffered, bufferedP99, before, after []float64
	for _, r := range rounds {
		published, synced, syncedP99 = append(published, r.synced.floor), append(synced, r.synced.rate), append(syncedP99, r.synced.p99)
		bare, buffered, bufferedP99 = append(bare, r.buffered.floor), append(buffered, r.buffered.rate), append(bufferedP99, r.buffered.p99)
		before, after = append(before, r.memory.megabytes()), append(after, r.later.megabytes())
	}
	late := figures.AtMost(1, 50)
	return []figures.Figure{
		figures.Ratio("webhooks per second, synced one by one", "of bare publishes", published, synced, figures.AtLeast(0.5, receiverGoal)),
		figures.Ratio("webhooks per second, NATS' own sync", "of a bare handler", bare, buffered, figures.AtLeast(0.5, receiverGoal)),
		{Case: "p99 of a webhook at half of that rate, synced one by one", Unit: figures.Milliseconds, Values: syncedP99, Goals: []figures.Goal{late}},
		{Case: "p99 of a webhook at half of that rate, NATS' own sync", Unit: figures.Milliseconds, Values: bufferedP99, Goals: []figures.Goal{late}},
		figures.Ratio(fmt.Sprintf("memory of the receiver after %d webhooks more", many), "of before", before, after, figures.Median(receiverGrowth)),
	}
}
