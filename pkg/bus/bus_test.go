package bus_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// fast are the intervals of the design, shortened about eight times. The server
// takes no marker shorter than a second.
var fast = bus.Timing{
	AckWait:   1200 * time.Millisecond,
	LeaseTTL:  1200 * time.Millisecond,
	Heartbeat: 300 * time.Millisecond,
	Guard:     700 * time.Millisecond,
	Pull:      time.Second,
	Retry:     50 * time.Millisecond,
}

func testLog(t *testing.T) *slog.Logger {
	if os.Getenv("PLUMB_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func startServer(t *testing.T, o embedded.Options) *embedded.Server {
	t.Helper()
	o.Log = testLog(t)
	server, err := embedded.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

func open(t *testing.T, server *embedded.Server, change ...func(*bus.Options)) *bus.Bus {
	t.Helper()
	o := bus.Options{Cluster: "local", Timing: fast, Timeout: 3 * time.Second, Log: testLog(t)}
	if server != nil {
		o.InProcess = server
	}
	for _, f := range change {
		f(&o)
	}
	b, err := bus.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// admin is a client beside the bus, to look at what it does and to break it.
func admin(t *testing.T, server *embedded.Server, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("", append(opts, nats.InProcessServer(server), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// eventually waits for a condition without a fixed sleep in the test itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

// background runs f until the test ends and checks how it ended.
func background(t *testing.T, f func(context.Context) error) (cancel func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	done := false
	cancel = func() {
		stop()
		if done {
			return
		}
		done = true
		if err := receive(t, "the end of a background task", ended); err != nil {
			t.Errorf("background task: %v", err)
		}
	}
	t.Cleanup(cancel)
	return cancel
}

func push(id, repo string) event.Event {
	return event.Event{
		ID: id, Source: event.SourceOf("local", "receiver"), Type: event.GitPush, Subject: repo, Time: time.Now(),
		Data: &eventsv1.GitPush{Repo: repo, Ref: "refs/heads/main", DeliveryId: id},
	}
}

func request(id, name string) event.Event {
	data := requestData("local", name)
	return event.Event{
		ID: id, Source: event.SourceOf("local", "worker"), Type: event.SyncRequested, Subject: event.SubjectOf(data),
		Time: time.Now(), Data: data,
	}
}

func requestData(cluster, name string) *eventsv1.SyncRequested {
	return &eventsv1.SyncRequested{Cluster: cluster, Namespace: "team", Name: name, Reason: "push"}
}

func publish(t *testing.T, b *bus.Bus, e event.Event, id string) uint64 {
	t.Helper()
	sequence, err := b.Publish(t.Context(), e, id)
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}
