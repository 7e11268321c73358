package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// tailBatch is how many messages one request of a tail asks for.
const tailBatch = 256

// tail reads a stream in order, without acknowledging, over any break of the
// connection. Unlike the client's ordered consumer it notices that a stream was
// made anew (whose sequences begin again) and leaves nothing to be deleted: its
// consumers go by themselves.
type tail struct {
	bus      *Bus
	stream   string
	subjects []string
	policy   jetstream.DeliverPolicy // where to begin
	since    time.Time               // with DeliverByStartTimePolicy

	handle   func(jetstream.Msg, *jetstream.MsgMetadata) error // its error ends the tail
	caughtUp func() error                                      // when nothing is left to read; may be nil
	replaced func() error                                      // when the stream was made anew; may be nil

	born time.Time
	next uint64 // the sequence to go on from; 0: as policy says
}

// stop is an error that ends a tail.
type stop struct{ error }

func (s stop) Unwrap() error { return s.error }

// run reads until ctx ends (nil), a callback fails (its error), or the stream
// does not fit (a permanent fault).
func (t *tail) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.bus.life, cancel)()
	for failures := uint64(1); ; failures++ {
		before := t.next
		err := t.read(ctx)
		var ended stop
		class, _ := fault.ClassOf(err)
		switch {
		case errors.As(err, &ended):
			return ended.error
		case ctx.Err() != nil:
			return nil
		case class == fault.Permanent:
			return err
		}
		if t.next != before {
			failures = 1
		}
		t.bus.log.Debug("reading again", "stream", t.stream, "from", t.next, "error", err)
		t.bus.pause(ctx, failures)
	}
}

// read makes a consumer and reads from it until something breaks.
func (t *tail) read(ctx context.Context) error {
	session, err := t.bus.session()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(session, cancel)()

	consumer, err := t.consumer(ctx)
	if err != nil {
		return err
	}
	if consumer.CachedInfo().NumPending == 0 {
		if err := call(t.caughtUp); err != nil {
			return err
		}
	}
	for expected := uint64(1); ctx.Err() == nil; {
		if err := t.batch(ctx, consumer, &expected); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (t *tail) consumer(ctx context.Context) (consumer jetstream.Consumer, err error) {
	stream, err := t.bus.stream(ctx, t.stream)
	if err != nil {
		return nil, err
	}
	created := stream.CachedInfo().Created
	anew := !t.born.IsZero() && !t.born.Equal(created)
	t.born = created
	if anew {
		t.next, t.policy = 0, jetstream.DeliverAllPolicy
		if err := call(t.replaced); err != nil {
			return nil, err
		}
	}
	err = t.bus.once(ctx, func(ctx context.Context) (err error) {
		consumer, err = stream.CreateConsumer(ctx, t.config())
		return err
	})
	return consumer, err
}

func (t *tail) config() jetstream.ConsumerConfig {
	config := filtered(t.subjects, jetstream.ConsumerConfig{
		DeliverPolicy:     t.policy,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 4 * t.bus.o.Timing.Pull,
	})
	switch {
	case t.next > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, t.next
	case t.policy == jetstream.DeliverByStartTimePolicy:
		config.OptStartTime = &t.since
	}
	return config
}

// batch reads one request's messages; a gap in them is an error.
func (t *tail) batch(ctx context.Context, consumer jetstream.Consumer, expected *uint64) error {
	limited, cancel := context.WithTimeout(ctx, t.bus.o.Timing.Pull)
	defer cancel()
	batch, err := consumer.Fetch(tailBatch, jetstream.FetchContext(limited), jetstream.FetchHeartbeat(t.bus.o.Timing.Pull/5))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		if err := t.one(msg, expected); err != nil {
			return err
		}
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (t *tail) one(msg jetstream.Msg, expected *uint64) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("read %s: %w", t.stream, err)
	}
	if meta.Sequence.Consumer != *expected {
		return fmt.Errorf("read %s: messages lost before %d", t.stream, meta.Sequence.Stream)
	}
	*expected++
	if err := t.handle(msg, meta); err != nil {
		return stop{err}
	}
	t.next = meta.Sequence.Stream + 1
	if meta.NumPending == 0 {
		return call(t.caughtUp)
	}
	return nil
}

// call runs a callback that may be nil; its error ends the tail.
func call(f func() error) error {
	if f == nil {
		return nil
	}
	if err := f(); err != nil {
		return stop{err}
	}
	return nil
}
