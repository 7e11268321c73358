package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Delivery is one event as it is handed out.
type Delivery struct {
	Event event.Event
	// Deliveries counts how often it was handed out, this time included.
	Deliveries uint64
	// Pending is how many events the consumer has not seen yet: a backlog.
	Pending uint64
}

// Consume hands the events of a durable consumer to handle until ctx ends; then
// it waits for the handlers and returns nil. What handle returns decides:
// nil acknowledges, a permanent fault makes a dead letter, any other error
// brings the event back later. Events that cannot be read are dead letters too.
// A handler that panics has failed transiently. Only streams or a consumer that
// do not fit end it with an error.
func (b *Bus) Consume(ctx context.Context, c Consumer, handle func(context.Context, Delivery) error) error {
	in := &intake{
		bus: b, puller: newPuller(b, eventsStream, c.config(b.o.Timing)), slots: newSlots(max(c.Concurrency, 1)),
		handle: func(ctx context.Context, t *Task) error { return handle(ctx, t.Delivery) },
		buries: func(class fault.Class) bool { return class == fault.Permanent },
	}
	return in.run(ctx)
}

// parting is how long a message that is given up at the end stays away. The request for
// messages that ends at that moment must not get it: nobody would handle it, and it
// would come again only after the ack wait.
const parting = 50 * time.Millisecond

// intake takes messages from a puller, handles each in a slot of its own and is
// the one place that turns an outcome into an acknowledgement.
type intake struct {
	bus     *Bus
	puller  *puller
	slots   *slots
	handle  func(context.Context, *Task) error
	buries  func(fault.Class) bool // errors of which class make dead letters
	running sync.WaitGroup
}

func (in *intake) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(in.bus.life, cancel)()
	defer in.running.Wait()
	return in.puller.loop(ctx, in.slots, func(msg jetstream.Msg) { in.take(ctx, msg) })
}

// take starts handling a message. One that comes after the end, or whose slot a
// waiting task has taken meanwhile, goes back at once for whoever is free.
func (in *intake) take(ctx context.Context, msg jetstream.Msg) {
	if ctx.Err() != nil {
		in.report(msg, msg.NakWithDelay(parting))
		return
	}
	if !in.slots.try() {
		in.report(msg, msg.Nak())
		return
	}
	slot := &Slot{slots: in.slots, held: true}
	in.running.Go(func() {
		defer slot.Release()
		in.process(ctx, msg, slot)
	})
}

func (in *intake) process(ctx context.Context, msg jetstream.Msg, slot *Slot) {
	meta, err := msg.Metadata()
	if err != nil {
		in.bus.log.Error("message without JetStream metadata ignored", "subject", msg.Subject(), "error", err)
		return
	}
	in.puller.begin(meta.Sequence.Stream)
	defer in.puller.finish(meta.Sequence.Stream)

	e, err := decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		in.settle(ctx, msg, meta, DeadLetter(err))
		return
	}
	e.Sequence = meta.Sequence.Stream
	task := &Task{Delivery: Delivery{Event: e, Deliveries: meta.NumDelivered, Pending: meta.NumPending}, Slot: slot}
	stop := in.keepAlive(msg)
	err = in.contained(ctx, task)
	stop()
	in.settle(ctx, msg, meta, err)
}

// contained runs the handler; a panic is its transient failure.
func (in *intake) contained(ctx context.Context, t *Task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			in.bus.log.Error("handler panicked", "event", t.Event.ID, "panic", p, "stack", string(debug.Stack()))
			err = fault.Retry("", "handle %s %s: panic: %v", t.Event.Type, t.Event.ID, p)
		}
	}()
	return in.handle(ctx, t)
}

// keepAlive tells the server that the message is being worked on until stopped.
func (in *intake) keepAlive(msg jetstream.Msg) (stop func()) {
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		ticker := time.NewTicker(in.bus.o.Timing.Heartbeat)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				in.report(msg, msg.InProgress())
			case <-done:
				return
			}
		}
	})
	return func() { close(done); beating.Wait() }
}

// settle turns what a handler returned into an acknowledgement. A message whose
// dead letter could not be stored comes back.
func (in *intake) settle(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, err error) {
	class, wait := fault.ClassOf(err)
	var asked deadLetter
	switch {
	case err == nil:
		in.report(msg, msg.Ack())
		return
	case errors.As(err, &asked) || in.buries(class):
		if err = in.bus.bury(msg, meta, err); err == nil {
			in.report(msg, msg.Ack())
			return
		}
		class = fault.Transient
	case class == fault.Permanent:
		in.report(msg, msg.Ack())
		return
	case ctx.Err() != nil:
		in.report(msg, msg.NakWithDelay(parting)) // ours to give up, another's to take
		return
	}
	if class != fault.RetryAfter {
		wait = in.bus.o.Timing.backoff(meta.NumDelivered, rand.Float64())
	}
	in.bus.log.Debug("event comes again", "subject", msg.Subject(), "in", wait, "error", err)
	in.report(msg, msg.NakWithDelay(max(wait, time.Millisecond)))
}

// report tells of an acknowledgement that could not be sent. Nothing is lost by
// it: the message comes again after the ack wait.
func (in *intake) report(msg jetstream.Msg, err error) {
	if err != nil && in.bus.life.Err() == nil {
		in.bus.log.Debug("acknowledgement not sent; the message will come again", "subject", msg.Subject(), "error", err)
	}
}

// deadLetter is an error that asks for a dead letter.
type deadLetter struct{ error }

func (d deadLetter) Unwrap() error { return d.error }

// DeadLetter makes err a permanent fault whose message goes to PLUMB_DEAD
// wherever it is returned, also from Work.
func DeadLetter(err error) error {
	return fault.Refuse("", fault.Place{}, "%w", deadLetter{fmt.Errorf("give up: %w", err)})
}
