package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// puller asks one durable consumer for messages, and makes the consumer (and
// the stream) again when it is gone.
type puller struct {
	bus    *Bus
	stream string
	config jetstream.ConsumerConfig

	consumer jetstream.Consumer // nil: look it up
	born     time.Time          // of the stream the consumer was seen on

	mu      sync.Mutex
	next    uint64              // the stream sequence after the newest message seen
	pending map[uint64]struct{} // sequences being handled
}

func newPuller(b *Bus, stream string, config jetstream.ConsumerConfig) *puller {
	return &puller{bus: b, stream: stream, config: config, pending: map[uint64]struct{}{}}
}

// pull asks for up to n messages and gives each to take as it arrives. It
// returns when all have come, the request has run out, or something failed.
func (p *puller) pull(ctx context.Context, n int, take func(jetstream.Msg)) error {
	session, err := p.bus.session()
	if err != nil {
		return err
	}
	if err := p.locate(ctx); err != nil {
		return fmt.Errorf("find consumer %s of %s: %w", p.config.Durable, p.stream, err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.bus.o.Timing.Pull)
	defer cancel()
	defer context.AfterFunc(session, cancel)()

	batch, err := p.consumer.Fetch(n, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(p.bus.o.Timing.Pull/5))
	if err != nil {
		return p.failed(err)
	}
	for msg := range batch.Messages() {
		take(msg)
	}
	return p.failed(batch.Error())
}

// loop pulls as many messages as there are free slots until ctx ends, whatever
// happens to NATS meanwhile. Only a consumer that does not fit ends it earlier.
func (p *puller) loop(ctx context.Context, slots *slots, take func(jetstream.Msg)) error {
	for failures := uint64(0); ; {
		free, err := slots.available(ctx)
		if err != nil {
			return nil
		}
		err = p.pull(ctx, free, take)
		switch class, _ := fault.ClassOf(err); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failures = 0
			continue
		case class == fault.Permanent:
			return err
		}
		if failures++; failures == 1 {
			p.bus.log.Warn("pull failed; trying again", "consumer", p.config.Durable, "error", err)
		}
		p.bus.pause(ctx, failures)
	}
}

// failed forgets the consumer after an error that may mean it is gone.
func (p *puller) failed(err error) error {
	if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	p.consumer = nil
	return fault.Retry("", "pull from %s: %w", p.config.Durable, err)
}

// locate finds the consumer or creates it.
func (p *puller) locate(ctx context.Context) error {
	if p.consumer != nil {
		return nil
	}
	stream, err := p.bus.stream(ctx, p.stream)
	if err != nil {
		return err
	}
	return p.bus.once(ctx, func(ctx context.Context) error {
		consumer, err := stream.Consumer(ctx, p.config.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			consumer, err = p.create(ctx, stream)
		}
		if err != nil {
			return err
		}
		return p.adopt(stream, consumer)
	})
}

// create makes the consumer. On a stream that this process has not read yet it
// starts as configured. Later it starts where this process was, or at the
// beginning of a stream that was made anew meanwhile: all of it is new.
func (p *puller) create(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	config := p.config
	if config.DeliverPolicy == jetstream.DeliverNewPolicy && !p.born.IsZero() {
		config.DeliverPolicy = jetstream.DeliverAllPolicy
		if from := p.floor(); p.born.Equal(stream.CachedInfo().Created) && from > 0 {
			config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
		}
	}
	consumer, err := stream.CreateConsumer(ctx, config)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return stream.Consumer(ctx, config.Durable)
	}
	if err == nil {
		p.bus.log.Info("created consumer", "stream", p.stream, "consumer", config.Durable)
	}
	return consumer, err
}

// adopt takes a consumer into use when it delivers what ours would.
func (p *puller) adopt(stream jetstream.Stream, consumer jetstream.Consumer) error {
	info := consumer.CachedInfo()
	if refused := p.differences(info.Config); len(refused) > 0 {
		return fault.Refuse("", fault.Place{}, "%s; delete the consumer", tell(refused))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if created := stream.CachedInfo().Created; !p.born.Equal(created) {
		p.born, p.next = created, 0
		clear(p.pending)
	}
	p.next = max(p.next, info.Delivered.Stream+1)
	p.consumer = consumer
	return nil
}

func (p *puller) differences(got jetstream.ConsumerConfig) []difference {
	return changed([]difference{
		{"filter_subjects", fmt.Sprint(filters(p.config)), fmt.Sprint(filters(got))},
		{"ack_policy", p.config.AckPolicy, got.AckPolicy},
		{"max_deliver", p.config.MaxDeliver, got.MaxDeliver},
		{"max_ack_pending", p.config.MaxAckPending, got.MaxAckPending},
		{"headers_only", false, got.HeadersOnly},
		{"deliver_subject", "", got.DeliverSubject},
	})
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return slices.Sorted(slices.Values(c.FilterSubjects))
}

// begin and finish note which messages are being handled, for floor.
func (p *puller) begin(sequence uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending[sequence] = struct{}{}
	p.next = max(p.next, sequence+1)
}

func (p *puller) finish(sequence uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pending, sequence)
}

// floor is the first sequence that this process may not have finished.
func (p *puller) floor() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) == 0 {
		return p.next
	}
	return min(p.next, slices.Min(slices.Collect(maps.Keys(p.pending))))
}
