package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

type reply = func(proto.Message) error

func answer(t *testing.T, b *bus.Bus, cluster string, handle func(context.Context, *eventsv1.AskSync, reply) error) {
	t.Helper()
	background(t, func(ctx context.Context) error {
		return b.Answer(ctx, cluster, "sync", &eventsv1.AskSync{}, func(ctx context.Context, req proto.Message, reply func(proto.Message) error) error {
			return handle(ctx, req.(*eventsv1.AskSync), reply)
		})
	})
}

func ask(b *bus.Bus, ctx context.Context, name string) (string, error) {
	got := &eventsv1.AnswerSync{}
	err := b.Ask(ctx, "lo.cal", "sync", &eventsv1.AskSync{Name: name}, got)
	return got.GetRequestId(), err
}

func TestAQuestionIsAnsweredByOneWorkerOfItsCluster(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	var mu sync.Mutex
	answered := map[string]int{}
	for _, cluster := range []string{"lo.cal", "lo.cal", "edge"} {
		answer(t, open(t, server), cluster, func(_ context.Context, req *eventsv1.AskSync, reply reply) error {
			mu.Lock()
			answered[cluster]++
			mu.Unlock()
			return reply(&eventsv1.AnswerSync{RequestId: "for " + req.GetName()})
		})
	}
	eventually(t, "somebody answers", func() bool { _, err := ask(b, t.Context(), "x"); return err == nil })
	mu.Lock()
	clear(answered)
	mu.Unlock()
	for range 20 {
		if got, err := ask(b, t.Context(), "web"); got != "for web" || err != nil {
			t.Fatalf("%q, error %v", got, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if answered["lo.cal"] != 20 || answered["edge"] != 0 {
		t.Errorf("answered %v, want 20 by lo.cal", answered)
	}
}

func TestAnswersGoWrongClearly(t *testing.T) {
	for name, c := range map[string]struct {
		handle func(context.Context, *eventsv1.AskSync, reply) error
		class  fault.Class
		says   string
	}{
		"a permanent fault keeps its class and text": {
			func(context.Context, *eventsv1.AskSync, reply) error {
				return fault.Refuse("", fault.Place{}, "no such \u201cApplication\u201d\r\nNats-Rollup: all")
			}, fault.Permanent, "no such \u201cApplication\u201d\r\nNats-Rollup: all",
		},
		"any other is transient": {
			func(context.Context, *eventsv1.AskSync, reply) error { return errors.New("busy") }, fault.Transient, "busy",
		},
		"a panic is transient, and its text stays there": {
			func(context.Context, *eventsv1.AskSync, reply) error { panic("secret") }, fault.Transient, "its log says how",
		},
		"a reply over the limit is refused": {
			func(_ context.Context, _ *eventsv1.AskSync, reply reply) error {
				return reply(&eventsv1.AnswerSync{RequestId: strings.Repeat("x", 300_000)})
			}, fault.Permanent, "at most 262144",
		},
		"two replies where one is wanted": {
			func(_ context.Context, _ *eventsv1.AskSync, reply reply) error {
				return errors.Join(reply(&eventsv1.AnswerSync{RequestId: "1"}), reply(&eventsv1.AnswerSync{RequestId: "2"}))
			}, fault.Permanent, "2 replies, want one",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, embedded.Options{})
			b := open(t, server)
			answer(t, b, "lo.cal", c.handle)
			var err error
			eventually(t, "somebody is there", func() bool {
				_, err = ask(b, t.Context(), "web")
				return err == nil || !strings.Contains(err.Error(), "no worker is there")
			})
			if class, _ := fault.ClassOf(err); err == nil || class != c.class || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v of class %s, want %s and %q", err, class, c.class, c.says)
			}
		})
	}
}

func TestALongAnswerArrivesWholeAndInOrder(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	const parts = 50
	answer(t, b, "local", func(_ context.Context, _ *eventsv1.AskSync, reply reply) error {
		for i := range parts {
			if err := reply(&eventsv1.AnswerSync{RequestId: fmt.Sprint(i), Error: strings.Repeat("x", 100_000)}); err != nil {
				return err
			}
		}
		return nil
	})
	var got []string
	part := &eventsv1.AnswerSync{}
	eventually(t, "somebody answers", func() bool {
		got = nil
		return b.AskEach(t.Context(), "local", "sync", &eventsv1.AskSync{}, part, func() error {
			got = append(got, part.GetRequestId())
			return nil
		}) == nil
	})
	if len(got) != parts || got[0] != "0" || got[parts-1] != fmt.Sprint(parts-1) {
		t.Errorf("got %v", got)
	}
}

func TestAPartThatGotLostIsNoticed(t *testing.T) {
	server := startServer(t, embedded.Options{})
	nc, _ := admin(t, server)
	b := open(t, server)
	if _, err := nc.Subscribe("plumb.ask.lo=2Ecal.sync", func(m *nats.Msg) {
		end := nats.NewMsg(m.Reply)
		end.Header.Set("plumb-parts", "2")
		_ = m.Respond([]byte(`{"requestId":"1"}`)) // the test fails without it
		_ = m.RespondMsg(end)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err := ask(b, t.Context(), "web")
	if class, _ := fault.ClassOf(err); err == nil || class != fault.Transient || !strings.Contains(err.Error(), "1 of 2 parts") {
		t.Errorf("error %v", err)
	}
}

func TestNobodyThereAndNobodyInTime(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	_, err := ask(b, t.Context(), "web")
	if class, _ := fault.ClassOf(err); err == nil || class != fault.Transient || !strings.Contains(err.Error(), "no worker is there to answer") {
		t.Errorf("error %v", err)
	}
	answer(t, b, "lo.cal", func(ctx context.Context, _ *eventsv1.AskSync, _ reply) error { <-ctx.Done(); return ctx.Err() })
	eventually(t, "the limit is what ends it", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := ask(b, ctx, "web")
		return errors.Is(err, context.DeadlineExceeded)
	})
}

func TestAQuestionThatCannotBeReadIsRefused(t *testing.T) {
	server := startServer(t, embedded.Options{})
	nc, _ := admin(t, server)
	b := open(t, server)
	answer(t, b, "lo.cal", func(context.Context, *eventsv1.AskSync, reply) error { return errors.New("reached") })
	var end *nats.Msg
	eventually(t, "it is answered", func() (ok bool) {
		var err error
		end, err = nc.Request("plumb.ask.lo=2Ecal.sync", []byte("\xff"), time.Second)
		return err == nil
	})
	if len(end.Data) != 0 || end.Header.Get("plumb-error-class") != "permanent" {
		t.Errorf("answer %q with %v", end.Data, end.Header)
	}
}
