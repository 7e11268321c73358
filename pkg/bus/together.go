package bus

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Where going together begins and ends.
const (
	fewAlone      = 8       // enough to keep the server busy
	leastTogether = 24      // a batch takes as long as some twenty messages one by one
	batchMessages = 256     // the server takes 1,000
	batchBytes    = 1 << 20 // one message is at most a third of it
)

// errAlone says that a message was not confirmed as part of a batch and is to be
// published by itself.
var errAlone = errors.New("publish by itself")

// together sends messages that are published at the same time as batches. A few
// are under way one by one; who comes when they are, or when a batch is, waits
// until half of them or the batch are through and then goes with all who wait.
// So nobody waits for a timer, and where few publish nobody waits at all.
type together struct {
	one func(context.Context, *nats.Msg) (*jetstream.PubAck, error)
	// all returns the sequence of the first message, which the others follow.
	// errAlone: as a batch the messages are not stored.
	all func([]*nats.Msg) (uint64, error)
	// least is how many make a batch. With fewer a busy server would only ever catch up
	// with those who came during the batch before.
	least int

	mu      sync.Mutex
	alone   int                   // under way one by one
	batch   bool                  // one is under way
	waiting []*passenger          // in the order they came
	aboard  map[string]*passenger // by message id: those who wait and those of the batch
}

// passenger is a message that waits for a batch or is part of it.
type passenger struct {
	msg  *nats.Msg
	id   string        // empty: none
	left bool          // its publisher is not there any more
	done chan struct{} // closed at the end, when what follows is set

	sequence uint64
	err      error
}

func newTogether(one func(context.Context, *nats.Msg) (*jetstream.PubAck, error), all func([]*nats.Msg) (uint64, error)) *together {
	return &together{one: one, all: all, least: leastTogether, aboard: map[string]*passenger{}}
}

// publish returns the sequence of a message once the server has confirmed it. The
// end of ctx is the end for this caller only: in a batch, the message goes on.
func (t *together) publish(ctx context.Context, msg *nats.Msg) (uint64, error) {
	if p := t.enter(msg); p != nil {
		err := t.ride(ctx, p, msg)
		if !errors.Is(err, errAlone) {
			return p.sequence, err
		}
	}
	defer t.end()
	ack, err := t.one(ctx, msg)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// enter lets a message go by itself, which counts as under way from then on, or
// returns the passenger to wait for. That is another when a message of the same
// id is aboard: with two of one id the server refuses a batch.
func (t *together) enter(msg *nats.Msg) *passenger {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := msg.Header.Get(jetstream.MsgIDHeader)
	if first := t.aboard[id]; first != nil {
		return first
	}
	if t.alone < fewAlone && !t.batch && len(t.waiting) == 0 {
		t.alone++
		return nil
	}
	p := &passenger{msg: msg, id: id, done: make(chan struct{})}
	t.waiting = append(t.waiting, p)
	if id != "" {
		t.aboard[id] = p
	}
	return p
}

// ride waits for the end of p. After errAlone msg counts as under way.
func (t *together) ride(ctx context.Context, p *passenger, msg *nats.Msg) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		if p.msg == msg {
			t.leave(p)
		}
		return fault.Retry("", "%w", ctx.Err())
	}
	if p.msg == msg {
		return p.err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alone++
	return errAlone
}

// leave takes back a message that is not sent yet.
func (t *together) leave(p *passenger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-p.done:
		if errors.Is(p.err, errAlone) {
			t.alone--
			t.next()
		}
		return
	default:
	}
	p.left = true
	if at := slices.Index(t.waiting, p); at >= 0 {
		t.waiting = slices.Delete(t.waiting, at, at+1)
		t.settle(p, 0, errAlone)
	}
}

// end is that of a message that went by itself.
func (t *together) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alone--
	t.next()
}

// next sends those who wait: as a batch, or one by one when they are few. The lock
// is held.
func (t *together) next() {
	switch {
	case t.batch || len(t.waiting) == 0 || t.alone > fewAlone/2:
		return
	case len(t.waiting) >= t.least:
		t.batch = true
		go t.send(t.board())
		return
	}
	for _, p := range t.waiting {
		t.settle(p, 0, errAlone)
	}
	t.waiting = nil
}

// board takes who goes into the next batch. The lock is held.
func (t *together) board() (batch []*passenger) {
	size := 0
	for _, p := range t.waiting[:min(len(t.waiting), batchMessages)] {
		if size += p.msg.Size(); size > batchBytes {
			break
		}
		batch = append(batch, p)
	}
	t.waiting = slices.Clone(t.waiting[len(batch):])
	return batch
}

func (t *together) send(batch []*passenger) {
	msgs := make([]*nats.Msg, len(batch))
	for i, p := range batch {
		msgs[i] = p.msg
	}
	first, err := t.all(msgs)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.batch = false
	for i, p := range batch {
		t.settle(p, first+uint64(i), err)
	}
	t.next()
}

// settle tells the end of p. One that is to go by itself counts as under way at
// once, lest others take its place. The lock is held.
func (t *together) settle(p *passenger, sequence uint64, err error) {
	if err == nil {
		p.sequence = sequence
	}
	p.err = err
	if t.aboard[p.id] == p {
		delete(t.aboard, p.id)
	}
	if errors.Is(err, errAlone) && !p.left {
		t.alone++
	}
	close(p.done)
}
