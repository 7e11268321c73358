package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// counter is a server that answers when it is told to.
type counter struct {
	mu       sync.Mutex
	stored   uint64
	alone    []string // ids, as they were sent
	batches  [][]string
	refusal  error // of every batch
	singles  chan struct{}
	together chan struct{}
}

func (c *counter) one(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	c.mu.Lock()
	c.alone = append(c.alone, msg.Header.Get(jetstream.MsgIDHeader))
	c.mu.Unlock()
	select {
	case <-c.singles:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stored++
	return &jetstream.PubAck{Sequence: c.stored}, nil
}

func (c *counter) all(msgs []*nats.Msg) (uint64, error) {
	ids := make([]string, len(msgs))
	for i, msg := range msgs {
		ids[i] = msg.Header.Get(jetstream.MsgIDHeader)
	}
	c.mu.Lock()
	c.batches = append(c.batches, ids)
	c.mu.Unlock()
	<-c.together
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal != nil {
		return 0, c.refusal
	}
	first := c.stored + 1
	c.stored += uint64(len(msgs))
	return first, nil
}

// crowd publishes to a counter and keeps what each was told.
type crowd struct {
	*counter
	t       *testing.T
	way     *together
	members sync.WaitGroup
	mu      sync.Mutex
	told    map[string]string
}

// come publishes messages at the same time and returns when all wait for something.
func (c *crowd) come(ctx context.Context, size int, ids ...string) {
	for _, id := range ids {
		msg := &nats.Msg{Subject: "s", Header: nats.Header{jetstream.MsgIDHeader: {id}}, Data: make([]byte, size)}
		c.members.Go(func() {
			sequence, err := c.way.publish(ctx, msg)
			told := fmt.Sprint(sequence)
			if err != nil {
				told = err.Error()
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.told[id] += told
		})
		synctest.Wait() // so that they come in this order
	}
}

func (c *crowd) answer(turn chan struct{}, times int) {
	for range times {
		turn <- struct{}{}
		synctest.Wait()
	}
}

// finish answers everything that is still asked.
func (c *crowd) finish() {
	close(c.singles)
	close(c.together)
	c.members.Wait()
	if c.way.alone != 0 || c.way.batch || len(c.way.waiting) > 0 || len(c.way.aboard) > 0 {
		c.t.Errorf("left over: %d alone, batch %v, %d waiting, %d aboard", c.way.alone, c.way.batch, len(c.way.waiting), len(c.way.aboard))
	}
}

func names(prefix string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint(prefix, i))
	}
	return ids
}

func TestWhoGoesTogether(t *testing.T) {
	few := names("few", fewAlone)
	many := names("many", 20)
	type result struct {
		Alone   []string
		Batches [][]string
	}
	for name, c := range map[string]struct {
		play func(c *crowd)
		want result
		told map[string]string // what some were told
	}{
		"a few go at once, each by itself": {
			play: func(c *crowd) { c.come(c.t.Context(), 1, few...) },
			want: result{Alone: few},
		},
		"who comes meanwhile waits for half of them and goes together": {
			play: func(c *crowd) {
				c.come(c.t.Context(), 1, append(few, many...)...)
				c.answer(c.singles, fewAlone/2-1)
				if n := len(c.batches); n > 0 {
					c.t.Errorf("%d batches before half were through", n)
				}
				c.answer(c.singles, 1)
				c.answer(c.together, 1)
			},
			want: result{Alone: few, Batches: [][]string{many}},
			told: map[string]string{"many0": "5", "many19": "24"},
		},
		"a few who come meanwhile go one by one": {
			play: func(c *crowd) {
				c.come(c.t.Context(), 1, append(few, many[:3]...)...)
				c.answer(c.singles, fewAlone/2)
			},
			want: result{Alone: append(few, many[:3]...)},
		},
		"who comes while a batch is under way goes in the next": {
			play: func(c *crowd) {
				c.come(c.t.Context(), 1, append(few, many[:10]...)...)
				c.answer(c.singles, fewAlone)
				c.come(c.t.Context(), 1, many[10:]...)
				c.answer(c.together, 2)
			},
			want: result{Alone: few, Batches: [][]string{many[:10], many[10:]}},
			told: map[string]string{"many0": "9", "many19": "28"},
		},
		"the second of one id goes by itself after the batch of the first": {
			play: func(c *crowd) {
				c.come(c.t.Context(), 1, append(few, many...)...)
				c.come(c.t.Context(), 1, "many7")
				c.answer(c.singles, fewAlone)
				c.come(c.t.Context(), 1, "many7")
				c.answer(c.together, 1)
			},
			want: result{Alone: append(few, "many7", "many7"), Batches: [][]string{many}},
		},
		"messages without an id share nothing": {
			play: func(c *crowd) {
				c.come(c.t.Context(), 1, append(few, strings.Split(strings.Repeat(",", 9), ",")...)...)
				c.answer(c.singles, fewAlone)
			},
			want: result{Alone: few, Batches: [][]string{make([]string, 10)}},
		},
		"a refused batch goes one by one": {
			play: func(c *crowd) {
				c.refusal = fmt.Errorf("%w: too many", errAlone)
				c.come(c.t.Context(), 1, append(few, many...)...)
				c.answer(c.singles, fewAlone)
				c.answer(c.together, 1)
				c.answer(c.singles, len(many))
			},
			want: result{Alone: append(few, many...), Batches: [][]string{many}},
		},
		"an answer that got lost is told to all of the batch": {
			play: func(c *crowd) {
				c.refusal = errors.New("connection lost")
				c.come(c.t.Context(), 1, append(few, many...)...)
				c.answer(c.singles, fewAlone)
				c.answer(c.together, 1)
			},
			want: result{Alone: few, Batches: [][]string{many}},
			told: map[string]string{"many0": "connection lost", "many19": "connection lost", "few0": "1"},
		},
		"who gives up before the batch is not sent": {
			play: func(c *crowd) {
				ctx, cancel := context.WithCancel(c.t.Context())
				c.come(c.t.Context(), 1, append(few, many[:10]...)...)
				c.come(ctx, 1, many[10])
				c.come(c.t.Context(), 1, many[10]) // waits for the one before
				c.come(c.t.Context(), 1, many[11:]...)
				cancel()
				synctest.Wait()
				c.answer(c.singles, fewAlone)
				c.answer(c.together, 1)
			},
			want: result{Alone: append(few, many[10]), Batches: [][]string{append(names("many", 10), many[11:]...)}},
			told: map[string]string{"many9": "18", "many11": "19"},
		},
		"who gives up amid the batch is told at once and the others go on": {
			play: func(c *crowd) {
				ctx, cancel := context.WithCancel(c.t.Context())
				c.come(c.t.Context(), 1, append(few, many[:10]...)...)
				c.come(ctx, 1, many[10])
				c.come(c.t.Context(), 1, many[11:]...)
				c.answer(c.singles, fewAlone)
				cancel()
				synctest.Wait()
				if got := c.told[many[10]]; got != context.Canceled.Error() {
					c.t.Errorf("told %q before the batch was answered", got)
				}
				c.answer(c.together, 1)
			},
			want: result{Alone: few, Batches: [][]string{many}},
			told: map[string]string{"many9": "18", "many10": context.Canceled.Error(), "many11": "20"},
		},
		"too few to make a batch go one by one once half are through": {
			play: func(c *crowd) {
				c.way.least = len(many) + 1
				c.come(c.t.Context(), 1, append(few, many...)...)
				c.answer(c.singles, fewAlone/2-1)
				if n := len(c.alone); n != fewAlone {
					c.t.Errorf("%d went by themselves before half were through", n)
				}
				c.answer(c.singles, 1)
			},
			want: result{Alone: append(few, many...)},
		},
		"a batch that is too large is sent in parts": {
			play: func(c *crowd) { // and what is left is few
				c.come(c.t.Context(), 1, few...)
				c.come(c.t.Context(), batchBytes*2/7, many[:12]...)
				c.answer(c.singles, fewAlone)
				c.answer(c.together, 1)
			},
			want: result{Alone: append(few, many[6:12]...), Batches: [][]string{many[:3], many[3:6]}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &counter{singles: make(chan struct{}), together: make(chan struct{})}
				crowd := &crowd{counter: server, t: t, way: newTogether(server.one, server.all), told: map[string]string{}}
				crowd.way.least = fewAlone + 1
				c.play(crowd)
				crowd.finish()
				got := result{server.alone, server.batches}
				if diff := cmp.Diff(c.want, got, cmpopts.SortSlices(strings.Compare), cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
				for id, told := range c.told {
					if crowd.told[id] != told {
						t.Errorf("%s was told %q, want %q", id, crowd.told[id], told)
					}
				}
			})
		})
	}
}
