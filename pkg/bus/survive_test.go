package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
)

// Whatever is broken in the middle, publisher and consumer recover, and every
// event that was confirmed afterwards arrives.
func TestConsumersSurvive(t *testing.T) {
	for name, breakIt := range map[string]func(*testing.T, *embedded.Server, jetstream.JetStream){
		"a restart of NATS": func(t *testing.T, server *embedded.Server, _ jetstream.JetStream) {
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
		},
		"NATS being away for a while": func(t *testing.T, server *embedded.Server, _ jetstream.JetStream) {
			server.Stop()
			time.Sleep(300 * time.Millisecond) // the length of the outage under test
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
		},
		"deletion of all streams": func(t *testing.T, _ *embedded.Server, js jetstream.JetStream) { deleteStreams(t, js) },
		"deletion of the consumer": func(t *testing.T, _ *embedded.Server, js jetstream.JetStream) {
			if err := js.DeleteConsumer(t.Context(), "PLUMB_EVENTS", "route-local"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, embedded.Options{})
			_, js := admin(t, server)
			b, publisher := open(t, server), open(t, server)
			got := make(chan string, 100)
			consume(t, b, func(_ context.Context, d bus.Delivery) error { got <- d.Event.ID; return nil })
			begin(t, js, "PLUMB_EVENTS", "route-local")
			publish(t, publisher, push("before", "a"), "before")
			receive(t, "the event before", got)
			breakIt(t, server, js)
			eventually(t, "publishing works again", func() bool {
				_, err := publisher.Publish(t.Context(), push("after", "a"), "after")
				return err == nil
			})
			for id := ""; id != "after"; {
				id = receive(t, "the event after", got)
			}
		})
	}
}

// A worker whose tasks run over a fault goes on with them, and takes new ones
// afterwards.
func TestWorkSurvives(t *testing.T) {
	for name, breakIt := range map[string]func(*testing.T, *embedded.Server, jetstream.JetStream){
		"a restart of NATS": func(t *testing.T, server *embedded.Server, _ jetstream.JetStream) {
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
		},
		"deletion of all streams": func(t *testing.T, _ *embedded.Server, js jetstream.JetStream) { deleteStreams(t, js) },
		"deletion of the consumer": func(t *testing.T, _ *embedded.Server, js jetstream.JetStream) {
			if err := js.DeleteConsumer(t.Context(), "PLUMB_SYNC", "sync-local"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, embedded.Options{})
			_, js := admin(t, server)
			b := open(t, server)
			got, finish := make(chan string, 100), make(chan struct{})
			work(t, b, 4, func(_ context.Context, task *bus.Task) error {
				got <- task.Event.ID
				if task.Event.ID == "before" {
					<-finish
				}
				return nil
			})
			publish(t, b, request("before", "a"), "")
			receive(t, "the task before", got)
			breakIt(t, server, js)
			eventually(t, "publishing works again", func() bool {
				_, err := b.Publish(t.Context(), request("after", "b"), "after")
				return err == nil
			})
			for id := ""; id != "after"; {
				id = receive(t, "the task after", got)
			}
			close(finish)
			eventually(t, "the queue is empty", func() bool {
				s, err := js.Stream(t.Context(), "PLUMB_SYNC")
				return err == nil && s.CachedInfo().State.Msgs == 0
			})
		})
	}
}
