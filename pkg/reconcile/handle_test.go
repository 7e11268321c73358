package reconcile

import (
	"log/slog"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func TestAPanicReleasesTheLease(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	server, err := embedded.Start(t.TempDir(), embedded.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := bus.Open(t.Context(), bus.Options{InProcess: server, Cluster: "local", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	r := New(Parts{Bus: b}, Options{Cluster: "local", Holder: "worker-1", Log: log}) // it has no catalog to read from
	request := &eventsv1.SyncRequested{Cluster: "local", Namespace: "team-a", Name: "web", Reason: event.ReasonManual}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the attempt did not panic")
			}
		}()
		task := &bus.Task{Delivery: bus.Delivery{Event: event.Event{Time: time.Now(), Data: request}}}
		t.Errorf("handled: %v", r.Handle(t.Context(), task))
	}()
	if held, err := b.Held(t.Context(), bus.SyncLease("local", "team-a", "web")); held || err != nil {
		t.Errorf("held = %v, error %v", held, err)
	}
}
