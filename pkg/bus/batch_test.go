package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// outcome is what the publisher of an event was told.
type outcome struct {
	id       string
	sequence uint64
	err      error
}

// publishTogether publishes events with their ids as message ids, all at once.
func publishTogether(ctx context.Context, b *bus.Bus, events []event.Event) []outcome {
	told := make([]outcome, len(events))
	var all sync.WaitGroup
	for i, e := range events {
		all.Go(func() {
			sequence, err := b.Publish(ctx, e, e.ID)
			told[i] = outcome{e.ID, sequence, err}
		})
	}
	all.Wait()
	return told
}

func pushes(prefix string, n int) (events []event.Event) {
	for i := range n {
		events = append(events, push(fmt.Sprint(prefix, i), "github.com/acme/config"))
	}
	return events
}

// kept is what a stream holds.
type kept struct {
	bySequence map[uint64]string // ids
	times      map[string]int    // an id is stored
	batched    int               // messages that came in a batch
}

func read(t *testing.T, js jetstream.JetStream) kept {
	t.Helper()
	stream, err := js.Stream(t.Context(), "PLUMB_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	k := kept{map[uint64]string{}, map[string]int{}, 0}
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		msg, err := stream.GetMsg(t.Context(), sequence)
		if err != nil {
			t.Fatalf("message %d of %d: %v", sequence, stream.CachedInfo().State.LastSeq, err)
		}
		id := msg.Header.Get("ce-id")
		k.bySequence[sequence] = id
		k.times[id]++
		if msg.Header.Get("Nats-Batch-Id") != "" {
			k.batched++
		}
	}
	return k
}

// check compares what was told with what is stored, and returns how many were confirmed.
func (k kept) check(t *testing.T, told []outcome) (confirmed int) {
	t.Helper()
	for _, o := range told {
		if o.err != nil {
			continue
		}
		confirmed++
		if got := k.bySequence[o.sequence]; got != o.id {
			t.Errorf("event %s was confirmed as %d, where %q is stored", o.id, o.sequence, got)
		}
	}
	for id, times := range k.times {
		if times > 1 {
			t.Errorf("event %s is stored %d times", id, times)
		}
	}
	return confirmed
}

func change(t *testing.T, js jetstream.JetStream, by func(*jetstream.StreamConfig)) {
	t.Helper()
	stream, err := js.Stream(t.Context(), "PLUMB_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	by(&config)
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

func TestPublishingTogether(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(t *testing.T, b *bus.Bus, nc *nats.Conn, js jetstream.JetStream)
		events  []event.Event
		stored  int  // events, after that
		batches bool // some go as batches
	}{
		"each gets its own sequence": {events: pushes("e", 200), stored: 200, batches: true},
		"what was stored before has its first sequence": {
			before: func(t *testing.T, b *bus.Bus, _ *nats.Conn, _ jetstream.JetStream) {
				for _, e := range pushes("e", 200)[150:160] {
					publish(t, b, e, e.ID)
				}
			},
			events: pushes("e", 200), stored: 200,
		},
		"each id is stored once": {events: append(pushes("e", 100), pushes("e", 100)...), stored: 100},
		"large events":           {events: largePushes(60), stored: 60, batches: true},
		"an event over the limit of the stream harms no other": {
			before: func(t *testing.T, _ *bus.Bus, _ *nats.Conn, js jetstream.JetStream) {
				change(t, js, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10_000 })
			},
			events: append(pushes("e", 100), largePushes(1)...), stored: 100,
		},
		"a stream that takes no batches": {
			before: func(t *testing.T, _ *bus.Bus, _ *nats.Conn, js jetstream.JetStream) {
				change(t, js, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false })
			},
			events: pushes("e", 200), stored: 200,
		},
		"a stream that takes no batches any more": {
			before: func(t *testing.T, b *bus.Bus, _ *nats.Conn, js jetstream.JetStream) {
				publishTogether(t.Context(), b, pushes("before", 100))
				change(t, js, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false })
			},
			events: pushes("e", 100), stored: 200, batches: true,
		},
		"a stream that takes batches again": {
			before: func(t *testing.T, b *bus.Bus, _ *nats.Conn, js jetstream.JetStream) {
				change(t, js, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false })
				publishTogether(t.Context(), b, pushes("before", 100))
				change(t, js, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = true })
			},
			events: pushes("e", 100), stored: 200, batches: true,
		},
		"a stream that is gone": {
			before: func(t *testing.T, b *bus.Bus, _ *nats.Conn, js jetstream.JetStream) {
				publishTogether(t.Context(), b, pushes("before", 100))
				deleteStreams(t, js)
			},
			events: pushes("e", 200), stored: 200,
		},
		"a server with as many unfinished batches as it bears": {
			before: func(t *testing.T, _ *bus.Bus, nc *nats.Conn, _ jetstream.JetStream) {
				for i := range 60 { // the server bears 50 in a stream
					begin := nats.NewMsg("plumb.events.git.push.x")
					begin.Header = nats.Header{"Nats-Batch-Id": {fmt.Sprint(i)}, "Nats-Batch-Sequence": {"1"}}
					if err := nc.PublishMsg(begin); err != nil {
						t.Fatal(err)
					}
				}
				if err := nc.Flush(); err != nil {
					t.Fatal(err)
				}
			},
			events: pushes("e", 200), stored: 200,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, embedded.Options{})
			nc, js := admin(t, server)
			b := open(t, server, batching)
			if c.before != nil {
				c.before(t, b, nc, js)
			}
			told := publishTogether(t.Context(), b, c.events)
			k := read(t, js)
			k.check(t, told)
			if len(k.bySequence) != c.stored {
				t.Errorf("%d events stored, want %d", len(k.bySequence), c.stored)
			}
			for _, o := range told {
				if o.err != nil && k.times[o.id] == 0 && !strings.HasPrefix(o.id, "large") {
					t.Errorf("event %s: %v", o.id, o.err)
				}
			}
			if c.batches && k.batched == 0 {
				t.Error("no event came in a batch: nothing was tried")
			}
		})
	}
}

// batching has those who publish at the same time go together.
func batching(o *bus.Options) { o.SyncAlways = true }

// Where the server does not sync each message a batch would be slower.
func TestNoBatchIsSentUnlessTheServerSyncsAlways(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	told := publishTogether(t.Context(), open(t, server), pushes("e", 200))
	k := read(t, js)
	k.check(t, told)
	if k.batched > 0 || len(k.bySequence) != 200 {
		t.Errorf("%d of %d events came in a batch", k.batched, len(k.bySequence))
	}
}

// largePushes are near the limit of an event's data.
func largePushes(n int) []event.Event {
	events := pushes("large", n)
	for _, e := range events {
		e.Data.(*eventsv1.GitPush).Pusher = strings.Repeat("x", event.MaxData-1000)
	}
	return events
}

// What is confirmed is stored, at that place and once, whatever happens to the
// connection amid a batch; and who is told of an error may publish again.
func TestBatchesSurviveCutConnections(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	line := &flaky{server: server}
	b := open(t, server, batching, func(o *bus.Options) { o.InProcess = line })
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var mu sync.Mutex
	var told []outcome
	var all sync.WaitGroup
	for publisher := range 48 {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				e := push(fmt.Sprint(publisher, "-", i), "github.com/acme/config")
				for again := true; again; {
					sequence, err := b.Publish(t.Context(), e, e.ID)
					mu.Lock()
					told = append(told, outcome{e.ID, sequence, err})
					mu.Unlock()
					again = err != nil && ctx.Err() == nil || rand.IntN(1000) == 0
					if err != nil {
						sleepShortly(ctx, 5*time.Millisecond)
					}
				}
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			sleepShortly(ctx, time.Duration(10+rand.IntN(800))*time.Millisecond)
			line.cut()
		}
	})
	all.Wait()
	k := read(t, js)
	confirmed := k.check(t, told)
	t.Logf("%d of %d confirmed, %d stored, %d of them in batches", confirmed, len(told), len(k.bySequence), k.batched)
	if confirmed == len(told) || k.batched < 200 {
		t.Error("nothing was tried")
	}
}

func TestABatchThatIsNotStoredIsToGoOneByOne(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	if first, _, err := b.PublishBatch(pushes("before", 20)...); err != nil || first != 1 {
		t.Fatalf("first batch begins at %d, %v", first, err)
	}
	deleteStreams(t, js)
	if _, refused, err := b.PublishBatch(pushes("gone", 20)...); !refused {
		t.Errorf("to a stream that is gone: %v", err)
	}
	server.Stop()
	eventually(t, "the connection is seen to be gone", func() bool { return b.Connected() != nil })
	begun := time.Now()
	_, refused, err := b.PublishBatch(pushes("away", 20)...)
	if class, _ := fault.ClassOf(err); refused || class != fault.Transient || time.Since(begun) > time.Second {
		t.Errorf("while NATS is away: %v after %s, want a transient fault at once", err, time.Since(begun))
	}
}

// A server that knows nothing of batches would store their messages one by one and
// confirm the last alone.
func TestNoBatchIsSentToAStreamThatTakesNone(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server, batching)
	if _, _, err := b.PublishBatch(pushes("before", 20)...); err != nil {
		t.Fatal(err)
	}
	// What was said in the connection before counts no more.
	server.Stop()
	eventually(t, "the connection is seen to be gone", func() bool { return b.Connected() != nil })
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bus is connected again", func() bool { return b.Connected() == nil })
	nc, js := admin(t, server)
	change(t, js, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false })
	sent, err := nc.SubscribeSync("plumb.events.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	publishTogether(t.Context(), b, pushes("e", 200))
	for range 200 {
		msg, err := sent.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if id := msg.Header.Get("Nats-Batch-Id"); id != "" {
			t.Fatalf("event %s was sent in batch %s", msg.Header.Get("ce-id"), id)
		}
	}
}

func TestBatchIsReadAsConfirmedOnlyWhole(t *testing.T) {
	for name, c := range map[string]struct {
		answer map[string]any
		first  uint64
	}{
		"all of it":                         {map[string]any{"stream": "PLUMB_EVENTS", "seq": 12, "batch": "id", "count": 3}, 10},
		"a part of it":                      {map[string]any{"stream": "PLUMB_EVENTS", "seq": 12, "batch": "id", "count": 2}, 0},
		"another":                           {map[string]any{"stream": "PLUMB_EVENTS", "seq": 12, "batch": "other", "count": 3}, 0},
		"the last message, without a batch": {map[string]any{"stream": "PLUMB_EVENTS", "seq": 12}, 0},
		"a duplicate":                       {map[string]any{"stream": "PLUMB_EVENTS", "seq": 12, "duplicate": true}, 0},
		"another stream":                    {map[string]any{"stream": "OTHER", "seq": 12, "batch": "id", "count": 3}, 0},
		"a sequence that cannot be":         {map[string]any{"stream": "PLUMB_EVENTS", "seq": 2, "batch": "id", "count": 3}, 0},
		"an error beside it": {map[string]any{
			"stream": "PLUMB_EVENTS", "seq": 12, "batch": "id", "count": 3, "error": map[string]any{"code": 400, "err_code": 10201},
		}, 0},
	} {
		answer, err := json.Marshal(c.answer)
		if err != nil {
			t.Fatal(err)
		}
		first, err := bus.Confirmed(answer, "id", 3)
		if first != c.first || (err == nil) != (c.first > 0) {
			t.Errorf("%s: first %d, %v; want %d", name, first, err, c.first)
		}
	}
	if _, err := bus.Confirmed([]byte("+ACK"), "id", 3); err == nil {
		t.Error("an answer that is no JSON was taken for a confirmation")
	}
}

// 64 publishers at a server that syncs each write.
func BenchmarkPublishAtOnce(b *testing.B) {
	for name, together := range map[string]bool{"one by one": false, "together": true} {
		b.Run(name, func(b *testing.B) {
			one := benchBus(b, together)
			ids := make(chan string)
			var all sync.WaitGroup
			for range 64 {
				all.Go(func() {
					for id := range ids {
						if _, err := one.Publish(b.Context(), push(id, "github.com/acme/config"), id); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				ids <- fmt.Sprint(i)
			}
			close(ids)
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
