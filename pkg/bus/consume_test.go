package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// consume runs the route consumer and hands what it gets to handle.
func consume(t *testing.T, b *bus.Bus, handle func(context.Context, bus.Delivery) error) (cancel func()) {
	t.Helper()
	return background(t, func(ctx context.Context) error { return b.Consume(ctx, bus.RouteConsumer("local"), handle) })
}

// begin waits until a consumer exists, since new ones start at new messages.
func begin(t *testing.T, js jetstream.JetStream, stream, name string) {
	t.Helper()
	eventually(t, "consumer "+name+" exists", func() bool {
		_, err := js.Consumer(t.Context(), stream, name)
		return err == nil
	})
}

func idle(t *testing.T, js jetstream.JetStream, stream, name string) {
	t.Helper()
	eventually(t, "nothing is left to acknowledge", func() bool {
		c, err := js.Consumer(t.Context(), stream, name)
		return err == nil && c.CachedInfo().NumAckPending == 0 && c.CachedInfo().NumPending == 0
	})
}

func deadLetters(t *testing.T, js jetstream.JetStream) []*jetstream.RawStreamMsg {
	t.Helper()
	stream, err := js.Stream(t.Context(), "PLUMB_DEAD")
	if err != nil {
		t.Fatal(err)
	}
	var letters []*jetstream.RawStreamMsg
	for i := range stream.CachedInfo().State.Msgs {
		letter, err := stream.GetMsg(t.Context(), i+1)
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, letter)
	}
	return letters
}

func TestNewConsumersStartAtNewEventsAndOldOnesGoOn(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	publish(t, b, push("before", "a"), "")
	got := make(chan bus.Delivery, 10)
	handle := func(_ context.Context, d bus.Delivery) error { got <- d; return nil }
	cancel := consume(t, b, handle)
	begin(t, js, "PLUMB_EVENTS", "route-local")
	publish(t, b, push("first", "a"), "")
	if d := receive(t, "an event", got); d.Event.ID != "first" || d.Event.Sequence != 2 || d.Deliveries != 1 {
		t.Errorf("got %+v", d)
	}
	idle(t, js, "PLUMB_EVENTS", "route-local")
	cancel()
	publish(t, b, push("while nobody listens", "a"), "")
	consume(t, b, handle)
	if d := receive(t, "an event", got); d.Event.ID != "while nobody listens" || d.Deliveries != 1 {
		t.Errorf("got %+v", d)
	}
}

func TestWhatAHandlerReturnsDecides(t *testing.T) {
	for name, c := range map[string]struct {
		first      error // of the first delivery; later ones succeed
		deliveries uint64
		dead       string
		noSooner   time.Duration
	}{
		"nil: acknowledged":                     {nil, 1, "", 0},
		"a transient fault: comes again":        {fault.Retry("", "not now"), 2, "", fast.Retry},
		"an error without a class: comes again": {errors.New("unclassified"), 2, "", fast.Retry},
		"retry after: comes again after it":     {fault.After("", 700*time.Millisecond, "busy"), 2, "", 700 * time.Millisecond},
		"a permanent fault: dead letter":        {fault.Refuse("", fault.Place{}, "never"), 1, "never", 0},
		"a dead letter asked for":               {bus.DeadLetter(errors.New("hopeless")), 1, "give up: hopeless", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, embedded.Options{})
			_, js := admin(t, server)
			b := open(t, server)
			type seen struct {
				bus.Delivery
				at time.Time
			}
			got := make(chan seen, 10)
			consume(t, b, func(_ context.Context, d bus.Delivery) error {
				got <- seen{d, time.Now()}
				if d.Deliveries == 1 {
					return c.first
				}
				return nil
			})
			begin(t, js, "PLUMB_EVENTS", "route-local")
			publish(t, b, push("1", "a"), "")
			first := receive(t, "the event", got)
			last := first
			for range c.deliveries - 1 {
				last = receive(t, "the event again", got)
			}
			idle(t, js, "PLUMB_EVENTS", "route-local")
			if last.Deliveries != c.deliveries || len(got) != 0 {
				t.Errorf("%d deliveries and %d more, want %d", last.Deliveries, len(got), c.deliveries)
			}
			if waited := last.at.Sub(first.at); waited < c.noSooner {
				t.Errorf("came again after %s, want at least %s", waited, c.noSooner)
			}
			expectDead(t, js, c.dead)
		})
	}
}

func expectDead(t *testing.T, js jetstream.JetStream, reason string) {
	t.Helper()
	letters := deadLetters(t, js)
	if reason == "" {
		if len(letters) != 0 {
			t.Errorf("%d dead letters, want none", len(letters))
		}
		return
	}
	if len(letters) != 1 {
		t.Fatalf("%d dead letters, want one", len(letters))
	}
	if got := strings.ReplaceAll(letters[0].Header.Get("plumb-dead-reason"), "%20", " "); got != reason {
		t.Errorf("reason %q, want %q", got, reason)
	}
}

func TestPoisonGoesToTheDeadLettersAndTheConsumerGoesOn(t *testing.T) {
	server := startServer(t, embedded.Options{})
	nc, js := admin(t, server)
	b := open(t, server)
	got := make(chan bus.Delivery, 10)
	consume(t, b, func(_ context.Context, d bus.Delivery) error { got <- d; return nil })
	begin(t, js, "PLUMB_EVENTS", "route-local")

	valid := nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {"7"}, "ce-type": {"dev.plumb.git.push.v1"}, "ce-source": {"/local/x"},
		"content-type": {"application/json"},
	}
	with := func(name, value string) nats.Header {
		h := nats.Header{}
		for k, v := range valid {
			h[k] = v
		}
		h[name] = []string{value}
		return h
	}
	const subject = "plumb.events.git.push.a"
	poison := []struct {
		header nats.Header
		data   string
		reason string
	}{
		{nil, "garbage", "unknown Message encoding"},
		{nil, "", "unknown Message encoding"},
		{valid, "\x00\xff", "decode data"},
		{with("ce-type", "dev.plumb.git.push.v9"), "{}", `unknown type "dev.plumb.git.push.v9"`},
		{valid, `{"repo":"another"}`, "data belongs on"},
		{valid, strings.Repeat("x", event.MaxData+1), "at most 262144"},
		{with("Nats-Msg-Id", "forged"), "garbage", "decode data"},
	}
	for _, p := range poison {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: p.header, Data: []byte(p.data)}); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, push("good", "a"), "")
	if d := receive(t, "the good event behind the poison", got); d.Event.ID != "good" {
		t.Errorf("got %+v", d)
	}
	idle(t, js, "PLUMB_EVENTS", "route-local")
	letters := deadLetters(t, js)
	if len(letters) != len(poison) {
		t.Fatalf("%d dead letters, want %d", len(letters), len(poison))
	}
	for i, letter := range letters {
		p := poison[i]
		reason := unescapeHeader(t, letter.Header.Get("plumb-dead-reason"))
		if !strings.Contains(reason, p.reason) {
			t.Errorf("letter %d: reason %q does not say %q", i, reason, p.reason)
		}
		for k := range p.header {
			if !strings.HasPrefix(k, "Nats-") && letter.Header[k][0] != p.header[k][0] {
				t.Errorf("letter %d: header %s is %q", i, k, letter.Header[k])
			}
		}
		if want := p.data[:min(len(p.data), event.MaxData)]; string(letter.Data) != want {
			t.Errorf("letter %d: %d bytes of data, want %d", i, len(letter.Data), len(want))
		}
		if letter.Subject != "plumb.dead.PLUMB_EVENTS.route-local" || letter.Header.Get("plumb-dead-subject") != subject ||
			letter.Header.Get("plumb-dead-sequence") != fmt.Sprint(i+1) {
			t.Errorf("letter %d: on %s, headers %v", i, letter.Subject, letter.Header)
		}
	}
	if got := letters[6].Header.Get("plumb-dead-nats-msg-id"); got != "forged" {
		t.Errorf("control header kept as %q, want it renamed", got)
	}
	if nc.LastError() != nil {
		t.Error(nc.LastError())
	}
}

func unescapeHeader(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		var c byte
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02X", &c); err != nil {
			t.Fatal(err)
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String()
}

// A forged advisory says that a message was delivered too often. Nobody listens
// to those: giving up is counted elsewhere.
func TestForgedAdvisoriesChangeNothing(t *testing.T) {
	server := startServer(t, embedded.Options{})
	nc, js := admin(t, server)
	b := open(t, server)
	got := make(chan bus.Delivery, 10)
	consume(t, b, func(_ context.Context, d bus.Delivery) error { got <- d; return nil })
	begin(t, js, "PLUMB_EVENTS", "route-local")
	forged := []byte(`{"type":"io.nats.jetstream.advisory.v1.max_deliver","stream":"PLUMB_EVENTS","consumer":"route-local","stream_seq":1,"deliveries":99}`)
	if err := nc.Publish("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.PLUMB_EVENTS.route-local", forged); err != nil {
		t.Fatal(err)
	}
	publish(t, b, push("1", "a"), "")
	receive(t, "the event", got)
	expectDead(t, js, "")
}

func TestAPanicIsContainedAndTheEventComesAgain(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	got := make(chan uint64, 10)
	consume(t, b, func(_ context.Context, d bus.Delivery) error {
		got <- d.Deliveries
		if d.Deliveries == 1 {
			panic("boom")
		}
		return nil
	})
	begin(t, js, "PLUMB_EVENTS", "route-local")
	publish(t, b, push("1", "a"), "")
	if diff := cmp.Diff([]uint64{1, 2}, []uint64{receive(t, "the event", got), receive(t, "the event again", got)}); diff != "" {
		t.Error(diff)
	}
	expectDead(t, js, "")
}

func TestALongHandlerKeepsItsEvent(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b, other := open(t, server), open(t, server)
	var deliveries atomic.Int32
	done := make(chan struct{})
	handle := func(ctx context.Context, _ bus.Delivery) error {
		deliveries.Add(1)
		select { // three times as long as the server waits for a sign of life
		case <-time.After(3 * fast.AckWait):
		case <-ctx.Done():
		}
		close(done)
		return nil
	}
	consume(t, b, handle)
	consume(t, other, handle)
	begin(t, js, "PLUMB_EVENTS", "route-local")
	publish(t, b, push("1", "a"), "")
	receive(t, "the end of the handler", done)
	idle(t, js, "PLUMB_EVENTS", "route-local")
	if got := deliveries.Load(); got != 1 {
		t.Errorf("%d deliveries, want 1", got)
	}
}

func TestAnEventWhoseConsumerVanishedGoesToAnother(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	first, second := open(t, server), open(t, server)
	taken := make(chan struct{})
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	go func() {
		// This process is cut off in the middle of handling and never says so.
		_ = first.Consume(context.Background(), bus.RouteConsumer("local"), func(context.Context, bus.Delivery) error {
			close(taken)
			<-stuck
			return nil
		})
	}()
	begin(t, js, "PLUMB_EVENTS", "route-local")
	publish(t, second, push("1", "a"), "")
	receive(t, "the first delivery", taken)
	first.Close()
	got := make(chan bus.Delivery, 1)
	begun := time.Now()
	consume(t, second, func(_ context.Context, d bus.Delivery) error { got <- d; return nil })
	if d := receive(t, "the event again", got); d.Event.ID != "1" || d.Deliveries < 2 {
		t.Errorf("got %+v", d)
	}
	if took := time.Since(begun); took > 2*fast.AckWait {
		t.Errorf("taken over after %s, want about the ack wait of %s", took, fast.AckWait)
	}
}

func TestAConsumerThatDoesNotFitIsAnError(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	_, err := js.CreateConsumer(t.Context(), "PLUMB_EVENTS", jetstream.ConsumerConfig{
		Durable: "route-local", FilterSubject: "plumb.events.>", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Consume(t.Context(), bus.RouteConsumer("local"), func(context.Context, bus.Delivery) error { return nil })
	if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
		t.Fatalf("error %v, want a permanent fault", err)
	}
	for _, say := range []string{"route-local", "filter_subjects is [plumb.events.>], want [plumb.events.git.push.>]", "max_ack_pending is 1000, want -1"} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("error %q does not say %q", err, say)
		}
	}
}
