package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// AwaitLease takes a lease as soon as it is free, asking whoever holds it to
// yield. It ends with ctx's error, as a transient fault, or with one that Lease
// has for another reason than being held.
func (b *Bus) AwaitLease(ctx context.Context, key, holder string) (*Lease, error) {
	lease, err := b.Lease(ctx, key, holder)
	if !errors.Is(err, ErrHeld) {
		return lease, err
	}
	watching, cancel := context.WithCancel(ctx)
	freed, ended := make(chan struct{}, 1), make(chan struct{})
	var vanished atomic.Bool
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		b.watchFreed(watching, key, freed, &vanished)
	}()
	for errors.Is(err, ErrHeld) {
		if err := b.AskToYield(ctx, key); err != nil {
			b.log.Debug("ask for a lease", "lease", key, "error", err)
		}
		if ctx.Err() != nil {
			return nil, fault.Retry("", "wait for lease %s: %w: %w", key, err, ctx.Err())
		}
		b.awaitFreed(ctx, freed)
		lease, err = b.Lease(ctx, key, holder)
	}
	if lease != nil {
		lease.inherited = vanished.Load()
	}
	return lease, err
}

// awaitFreed waits for the watch, but no longer than a heartbeat: the holder
// may have begun to listen after we asked.
func (b *Bus) awaitFreed(ctx context.Context, freed <-chan struct{}) {
	limited, cancel := context.WithTimeout(ctx, b.o.Timing.Heartbeat)
	defer cancel()
	select {
	case <-freed:
	case <-limited.Done():
	}
}

// watchFreed tells of every deletion and expiry of a lease, and whether there was one
// of the latter.
func (b *Bus) watchFreed(ctx context.Context, key string, freed chan<- struct{}, vanished *atomic.Bool) {
	t := &tail{
		bus: b, stream: bucketStream(leasesBucket), subjects: []string{keyPrefix(leasesBucket) + key},
		policy: jetstream.DeliverLastPerSubjectPolicy,
		handle: func(msg jetstream.Msg, _ *jetstream.MsgMetadata) error {
			if expired(msg) {
				vanished.Store(true)
			}
			if deleted(msg) {
				signal(freed)
			}
			return nil
		},
		replaced: func() error { signal(freed); return nil },
	}
	if err := t.run(ctx); err != nil {
		b.log.Warn("watch lease", "lease", key, "error", err)
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// deleted says that a bucket's message marks the end of its key: a deletion, or
// the server's word that it expired.
func deleted(msg jetstream.Msg) bool {
	return msg.Headers().Get("KV-Operation") != "" || expired(msg)
}

func expired(msg jetstream.Msg) bool { return msg.Headers().Get(jetstream.MarkerReasonHeader) != "" }

// AskToYield asks whoever holds a lease to give it up; nobody may be there to hear.
func (b *Bus) AskToYield(_ context.Context, key string) error {
	if _, err := b.session(); err != nil {
		return err
	}
	if err := b.nc.Publish(yieldPrefix+key, nil); err != nil {
		return fault.Retry("", "ask to yield %s: %w", key, fmt.Errorf("%w", err))
	}
	return nil
}
