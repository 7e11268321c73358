package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of an atomic batch (NATS ADR-50). The server keeps them in the stream.
const (
	batchID       = "Nats-Batch-Id"
	batchSequence = "Nats-Batch-Sequence"
	batchCommit   = "Nats-Batch-Commit"
)

// batches remembers in which connection a server said that it takes batches. One that
// knows nothing of them would store each message by itself and confirm only the last,
// so none is sent before the stream was seen to allow them.
type batches struct {
	mu    sync.Mutex
	taken context.Context // the session
}

// publishAll stores messages in PLUMB_EVENTS as one atomic batch and returns the
// sequence of the first. errAlone says that it was refused as a whole, or
// confirmed as something else; all other errors are those of once.
func (b *Bus) publishAll(msgs []*nats.Msg) (first uint64, err error) {
	err = b.once(b.life, func(ctx context.Context) (err error) {
		if !b.batches.allowed(ctx, b.line.session(), b.js) {
			return errAlone
		}
		first, err = b.commit(ctx, msgs)
		return err
	})
	if gone(err) {
		return 0, errAlone // one by one they make the stream again
	}
	return first, err
}

// allowed says whether the stream takes batches. A no is asked for again: it may
// have changed.
func (s *batches) allowed(ctx context.Context, session context.Context, js jetstream.JetStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session == nil {
		return false
	}
	if session == s.taken {
		return true
	}
	stream, err := js.Stream(ctx, eventsStream)
	if err != nil || !stream.CachedInfo().Config.AllowAtomicPublish {
		return false
	}
	s.taken = session
	return true
}

func (s *batches) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = nil
}

// commit sends a batch. Only its last message has a reply; without that, which
// is not sent when another could not be, the server drops it.
func (b *Bus) commit(ctx context.Context, msgs []*nats.Msg) (first uint64, err error) {
	id, last := rand.Text(), len(msgs)-1
	for i, msg := range msgs[:last] {
		if err := b.nc.PublishMsg(batched(msg, id, i+1)); err != nil {
			return 0, fmt.Errorf("%w: %w", errAlone, err)
		}
	}
	end := batched(msgs[last], id, len(msgs))
	end.Header[batchCommit] = []string{"1"}
	reply, err := b.nc.RequestMsgWithContext(ctx, end)
	if err != nil {
		return 0, err
	}
	first, err = confirmed(reply.Data, id, len(msgs))
	if err != nil {
		b.batches.forget()
		b.log.Debug("publishing one by one", "messages", len(msgs), "error", err)
	}
	return first, err
}

// batched is a message as the nth of a batch.
func batched(msg *nats.Msg, id string, n int) *nats.Msg {
	header := make(nats.Header, len(msg.Header)+4)
	maps.Copy(header, msg.Header)
	header[jetstream.ExpectedStreamHeader] = []string{eventsStream}
	header[batchID] = []string{id}
	header[batchSequence] = []string{strconv.Itoa(n)}
	return &nats.Msg{Subject: msg.Subject, Header: header, Data: msg.Data}
}

// confirmed reads the answer to a batch: the first of the sequences, which follow
// one another. An answer that does not confirm this batch and all of it is errAlone.
func confirmed(answer []byte, id string, count int) (first uint64, err error) {
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Stream   string              `json:"stream"`
		Sequence uint64              `json:"seq"`
		Batch    string              `json:"batch"`
		Count    int                 `json:"count"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return 0, fmt.Errorf("%w: read the answer to a batch: %w", errAlone, err)
	}
	switch {
	case ack.Error != nil:
		return 0, fmt.Errorf("%w: %w", errAlone, ack.Error)
	case ack.Stream != eventsStream || ack.Batch != id || ack.Count != count || ack.Sequence < uint64(count):
		return 0, fmt.Errorf("%w: %s confirmed %d of %d messages of the batch", errAlone, ack.Stream, ack.Count, count)
	}
	return ack.Sequence - uint64(count) + 1, nil
}
