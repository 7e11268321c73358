package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/event"
)

// maxMessageID is the longest id that is sent as it is.
const maxMessageID = 256

// Publish stores an event and returns its sequence in the stream once the server
// has confirmed it, and never earlier. The id, when not empty, makes a second
// publish of the same within the stream's window return the sequence of the
// first. NATS being away is a transient fault, told at once; so is a connection
// lost before the confirmation came, when the event may or may not be stored.
// Facts that come while others are under way may wait for those and be stored
// together, each confirmed as if it came alone.
func (b *Bus) Publish(ctx context.Context, e event.Event, id string) (uint64, error) {
	msg, err := encode(e)
	if err != nil {
		return 0, err
	}
	if id != "" {
		msg.Header[jetstream.MsgIDHeader] = []string{messageID(id)}
	}
	sequence, err := b.store(ctx, msg)
	if err != nil {
		return 0, fmt.Errorf("publish %s: %w", e.Type, err)
	}
	return sequence, nil
}

// store publishes a message to its stream, a fact together with others where that spares
// syncs; elsewhere it would be slower. Requests for syncs go one by one: a batch would
// remove the request that each replaces before the new one is on disk.
func (b *Bus) store(ctx context.Context, msg *nats.Msg) (uint64, error) {
	stream := streamOf(msg.Subject)
	if stream == eventsStream && b.o.SyncAlways {
		return b.events.publish(ctx, msg)
	}
	ack, err := b.publish(ctx, stream, msg)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func streamOf(subject string) string {
	if strings.HasPrefix(subject, syncPrefix) {
		return syncStream
	}
	return eventsStream
}

// publish returns after the confirmation of the stream it is meant for.
func (b *Bus) publish(ctx context.Context, stream string, msg *nats.Msg) (*jetstream.PubAck, error) {
	var ack *jetstream.PubAck
	err := b.withStreams(ctx, func(ctx context.Context) (err error) {
		ack, err = b.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(stream), jetstream.WithRetryAttempts(0))
		return err
	})
	return ack, err
}

// messageID makes an id from outside fit a header: escaped, and hashed when long.
func messageID(id string) string {
	if escaped := escape(id); len(escaped) <= maxMessageID {
		return escaped
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:])
}
