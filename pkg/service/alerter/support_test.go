package alerter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/alerttest"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/service/alerter"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// world is a NATS server, the clock of everything, and one who publishes facts.
type world struct {
	t      *testing.T
	server *embedded.Server
	bus    *bus.Bus
	ahead  atomic.Int64 // of the real clock
	facts  int
	beside jetstream.JetStream

	user, service string // of connections; empty: may do everything
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server, err := embedded.Start(t.TempDir(), embedded.Options{Listen: "127.0.0.1:0", Log: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	w := &world{t: t, server: server}
	w.bus = w.connect()
	return w
}

func quiet(t *testing.T) *slog.Logger {
	if os.Getenv("PLUMB_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (w *world) connect() *bus.Bus {
	w.t.Helper()
	o := bus.Options{
		InProcess: w.server, Cluster: "prod", Service: w.service, Timeout: 3 * time.Second, Log: quiet(w.t),
		Timing: bus.Timing{AckWait: 1200 * time.Millisecond, Heartbeat: 300 * time.Millisecond, Pull: time.Second, Retry: 20 * time.Millisecond},
	}
	if w.user != "" {
		o.InProcess, o.URL = nil, strings.Replace(w.server.URL(), "//", "//"+w.user+":secret@", 1)
	}
	b, err := bus.Open(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(b.Close)
	return b
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// pass lets time go by without waiting.
func (w *world) pass(d time.Duration) { w.ahead.Add(int64(d)) }

// tell publishes facts as the worker does.
func (w *world) tell(data ...proto.Message) {
	w.t.Helper()
	for _, d := range data {
		w.facts++
		kind := event.SyncFinished
		if _, ok := d.(*eventsv1.HealthChanged); ok {
			kind = event.HealthChanged
		}
		e := event.Event{
			ID: fmt.Sprintf("fact-%d", w.facts), Source: "/prod/worker", Type: kind, Subject: event.SubjectOf(d), Time: w.now(), Data: d,
			Trace: fmt.Sprintf("00-%032x-00f067aa0ba902b7-01", w.facts),
		}
		if _, err := w.bus.Publish(w.t.Context(), e, e.ID); err != nil {
			w.t.Fatal(err)
		}
	}
}

func fails(name string, attempt int64) *eventsv1.SyncFinished {
	return &eventsv1.SyncFinished{
		Cluster: "prod", Namespace: "team-a", Name: name, Attempt: attempt, Result: "failed", ErrorClass: "permanent",
		ErrorReason: "RenderFailed", Message: "x.yaml:3: no such kind", Revision: strings.Repeat("ab", 20), Repo: "https://github.com/acme/config",
	}
}

func stumbles(name string, attempt int64) *eventsv1.SyncFinished {
	f := fails(name, attempt)
	f.ErrorClass, f.ErrorReason = "transient", "FetchFailed"
	return f
}

func succeeds(name string, attempt int64) *eventsv1.SyncFinished {
	return &eventsv1.SyncFinished{
		Cluster: "prod", Namespace: "team-a", Name: name, Attempt: attempt, Result: "succeeded",
		Revision: strings.Repeat("cd", 20), Repo: "https://github.com/acme/config",
	}
}

// is stores the last known state of an Application.
func (w *world) is(name, ready string, attempt int64) {
	w.t.Helper()
	if err := w.bus.PutState(w.t.Context(), &eventsv1.ApplicationState{
		Cluster: "prod", Namespace: "team-a", Name: name, Ready: ready, Attempt: attempt, UpdatedAt: timestamppb.New(w.now()),
		Repo: "https://github.com/acme/config",
	}); err != nil {
		w.t.Fatal(err)
	}
}

// channel is a stand-in with the file that holds its URL.
type channel struct {
	*alerttest.Server
	config.Channel
}

func newChannel(t *testing.T, name, kind string) channel {
	t.Helper()
	check := alerttest.BlockKit
	if kind == "webhook" {
		check = alerttest.PostedJSON
	}
	s := alerttest.NewServer(check)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(s.URL+"/secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return channel{s, config.Channel{Name: name, Type: kind, URLFile: file}}
}

// told is what a webhook channel accepted, as "<name> <state>" each.
func (c channel) told(t *testing.T) []string {
	t.Helper()
	all := []string{}
	for _, r := range c.Accepted() {
		var m struct {
			State       string
			Application struct{ Name string }
		}
		if err := json.Unmarshal(r.Body, &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m.Application.Name+" "+m.State)
	}
	return all
}

func (c channel) expect(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s was told %v", c.Name, want), func() bool { return len(c.told(t)) >= len(want) })
	if diff := cmp.Diff(append([]string{}, want...), c.told(t)); diff != "" {
		t.Fatalf("%s was told:\n%s", c.Name, diff)
	}
}

// routed leads everything to all channels.
func routed(channels ...channel) config.Alerter {
	var c config.Alerter
	var to []string
	for _, ch := range channels {
		c.Channels = append(c.Channels, ch.Channel)
		to = append(to, ch.Name)
	}
	c.Routes = []config.Route{{Match: config.Match{Namespaces: []string{"*"}}, To: to}}
	return c
}

// options are those of production, in a hurry.
func (w *world) options() alerter.Options {
	return alerter.Options{
		Cluster: "prod", Sweep: 50 * time.Millisecond, Settle: 300 * time.Millisecond, Linger: 100 * time.Millisecond,
		Endpoint: endpoint.Options{Timeout: time.Second, Backoff: 5 * time.Millisecond}, Log: quiet(w.t), Now: w.now,
	}
}

// start runs an alerter with a connection of its own until stop, which cuts the
// connection first when kill is true.
func (w *world) start(c config.Alerter, change ...func(*alerter.Options)) (stop func(kill bool)) {
	w.t.Helper()
	b, o := w.connect(), w.options()
	for _, f := range change {
		f(&o)
	}
	a, err := alerter.New(c, b, o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	done := false
	stop = func(kill bool) {
		if done {
			return
		}
		done = true
		if kill {
			b.Close()
		}
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				w.t.Errorf("the alerter ended with %v", err)
			}
		case <-time.After(patience):
			w.t.Error("the alerter does not end")
		}
		b.Close()
	}
	w.t.Cleanup(func() { stop(false) })
	w.consuming()
	return stop
}

// consuming waits until the alerter's consumer exists: what was told before the
// very first one is not its concern.
func (w *world) consuming() {
	w.t.Helper()
	probe := fmt.Sprintf("probe-%d", w.facts)
	eventually(w.t, "facts are consumed", func() bool {
		w.tell(stumbles(probe, 1), succeeds(probe, 2))
		i := w.incident(probe)
		return i.GetState() == alert.Recovered
	})
}

func (w *world) incident(name string) *eventsv1.Incident {
	i, _, err := w.bus.Incidents().Get(w.t.Context(), "prod/team-a/"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// settled waits until everything told so far is folded and told on, by telling
// of one more Application and waiting for that.
func (w *world) settled(c channel) {
	w.t.Helper()
	name := fmt.Sprintf("last-%d", w.facts)
	w.tell(fails(name, 1))
	eventually(w.t, "the last of all is told", func() bool {
		all := c.told(w.t)
		return len(all) > 0 && all[len(all)-1] == name+" opened"
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

func (w *world) alertsSent() (n int) {
	w.t.Helper()
	count := func(event.Event) error { n++; return nil }
	if err := w.bus.Replay(w.t.Context(), bus.Query{Subjects: []string{"plumb.events.alert.*"}}, count); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// js is a client beside the bus, to look at what it does and to break it.
func (w *world) js() jetstream.JetStream {
	w.t.Helper()
	if w.beside != nil {
		return w.beside
	}
	nc, err := nats.Connect("", nats.InProcessServer(w.server))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	if w.beside, err = jetstream.New(nc); err != nil {
		w.t.Fatal(err)
	}
	return w.beside
}

// room is how many incidents there may be from now on.
func (w *world) room(incidents int64) {
	w.t.Helper()
	js := w.js()
	stream, err := js.Stream(w.t.Context(), "KV_plumb_incidents")
	if err != nil {
		w.t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	c.MaxMsgs = incidents
	if _, err := js.UpdateStream(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// redelivered says whether a fact came again and waits still.
func (w *world) redelivered() bool {
	w.t.Helper()
	c, err := w.js().Consumer(w.t.Context(), "PLUMB_EVENTS", "alert")
	if err != nil {
		w.t.Fatal(err)
	}
	return c.CachedInfo().NumRedelivered > 0
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("timed out waiting for %s", what)
	}
}

// recorder is a log whose lines go to a channel.
func recorder(lines chan<- string) *slog.Logger {
	return slog.New(slog.NewTextHandler(writer(func(p []byte) { lines <- string(p) }), nil))
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
