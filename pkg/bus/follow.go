package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/event"
)

// Query selects facts of PLUMB_EVENTS.
type Query struct {
	// Subjects may hold wildcards and must not overlap; empty: all. FactsOf makes
	// those of Applications.
	Subjects []string
	// Since is when to begin; zero: Replay at the oldest, Follow at new ones.
	Since time.Time
}

// FactsOf is the subject of all facts about Applications; an empty part stands
// for every one.
func FactsOf(cluster, namespace, name string) string {
	subject := "plumb.events.app"
	for _, part := range []string{cluster, namespace, name} {
		if part == "" {
			subject += ".*"
			continue
		}
		subject += "." + event.Token(part)
	}
	return subject + ".*"
}

// Replay hands out the facts stored so far, oldest first, and returns; handle's
// error ends it. It ends with a transient fault when ctx does.
func (b *Bus) Replay(ctx context.Context, q Query, handle func(event.Event) error) error {
	enough := errors.New("enough")
	t := b.factTail(q, jetstream.DeliverAllPolicy, handle)
	t.caughtUp = func() error { return enough }
	if _, err := b.session(); err != nil {
		return fmt.Errorf("replay events: %w", err)
	}
	switch err := t.run(ctx); {
	case errors.Is(err, enough):
		return nil
	case err == nil:
		return fmt.Errorf("replay events: %w", context.Cause(ctx))
	default:
		return fmt.Errorf("replay events: %w", err)
	}
}

// Follow hands out facts in order as they come, those since q.Since first, until
// ctx ends (nil) or handle fails (its error). Breaks of the connection are
// bridged: every fact is handed out once.
func (b *Bus) Follow(ctx context.Context, q Query, handle func(event.Event) error) error {
	if err := b.factTail(q, jetstream.DeliverNewPolicy, handle).run(ctx); err != nil {
		return fmt.Errorf("follow events: %w", err)
	}
	return nil
}

// factTail leaves out what cannot be read: that is for the consumers that act
// on events to bury.
func (b *Bus) factTail(q Query, otherwise jetstream.DeliverPolicy, handle func(event.Event) error) *tail {
	t := &tail{
		bus: b, stream: eventsStream, subjects: q.Subjects, policy: otherwise, since: q.Since,
		handle: func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
			e, err := decode(msg.Subject(), msg.Headers(), msg.Data())
			if err != nil {
				b.log.Debug("event that cannot be read left out", "subject", msg.Subject(), "error", err)
				return nil
			}
			e.Sequence = meta.Sequence.Stream
			return handle(e)
		},
	}
	if !q.Since.IsZero() {
		t.policy = jetstream.DeliverByStartTimePolicy
	}
	return t
}
