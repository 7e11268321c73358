package bus_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func messages(t *testing.T, js jetstream.JetStream, stream string) uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func deleteStreams(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestOneIDIsStoredOnceHoweverOftenItIsPublished(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	sequences := make([]uint64, 100)
	var all sync.WaitGroup
	for i := range sequences {
		all.Go(func() {
			// A redelivered webhook is a new event with the delivery's id.
			sequences[i], _ = b.Publish(t.Context(), push(fmt.Sprint("event-", i), "github.com/acme/config"), "acme/delivery/0")
		})
	}
	all.Wait()
	for _, sequence := range sequences {
		if sequence != 1 {
			t.Errorf("sequence %d, want 1 for all: %v", sequence, sequences)
			break
		}
	}
	publish(t, b, push("other", "github.com/acme/config"), "acme/delivery/1")
	publish(t, b, push("none", "github.com/acme/config"), "")
	publish(t, b, push("none", "github.com/acme/config"), "")
	if got := messages(t, js, "PLUMB_EVENTS"); got != 4 {
		t.Errorf("%d events stored, want 4", got)
	}
}

func TestOfRequestsOnlyTheNewestIsKept(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	for i := range 50 {
		publish(t, b, request(fmt.Sprint(i), "web"), fmt.Sprint("cause-", i, "/local/team/web"))
		publish(t, b, request(fmt.Sprint(i), "db"), "")
	}
	if got := messages(t, js, "PLUMB_SYNC"); got != 2 {
		t.Errorf("%d requests stored, want 2", got)
	}
	got := make(chan string, 10)
	background(t, func(ctx context.Context) error {
		return b.Work(ctx, "local", 4, func(_ context.Context, task *bus.Task) error {
			got <- task.Event.Subject + " " + task.Event.ID
			return nil
		})
	})
	have := map[string]bool{receive(t, "a task", got): true, receive(t, "a task", got): true}
	if diff := cmp.Diff(map[string]bool{"team/web 49": true, "team/db 49": true}, have); diff != "" {
		t.Error(diff)
	}
}

func TestPublishingWhileNATSIsAwayFailsAtOnceAndStoresNothing(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	publish(t, b, push("before", "a"), "")
	server.Stop()
	eventually(t, "the connection is seen to be gone", func() bool { return b.Connected() != nil })
	begun := time.Now()
	for i := range 100 {
		_, err := b.Publish(t.Context(), push("during", "a"), fmt.Sprint(i))
		if class, _ := fault.ClassOf(err); err == nil || class != fault.Transient {
			t.Fatalf("error %v, want a transient fault", err)
		}
		if !strings.Contains(err.Error(), "NATS is away") {
			t.Fatalf("error %q does not say that NATS is away", err)
		}
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("100 failures took %s", took)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bus is connected again", func() bool { return b.Connected() == nil })
	if sequence := publish(t, b, push("after", "a"), ""); sequence != 2 {
		t.Errorf("sequence %d, want 2: nothing was stored meanwhile", sequence)
	}
	eventually(t, "the other client is back", func() bool {
		_, err := js.Stream(t.Context(), "PLUMB_EVENTS")
		return err == nil
	})
	if got := messages(t, js, "PLUMB_EVENTS"); got != 2 {
		t.Errorf("%d events stored, want 2", got)
	}
}

// What was confirmed is stored, and only that can have been confirmed, whatever
// happens to the server in between.
func TestEverythingConfirmedSurvivesRestarts(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	confirmed := map[string]bool{}
	var count atomic.Int64
	stop, published := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(published)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			id := fmt.Sprint(i)
			if _, err := b.Publish(t.Context(), push(id, "a"), id); err == nil {
				confirmed[id] = true
				count.Add(1)
			} else {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	grows := func() {
		t.Helper()
		before := count.Load()
		eventually(t, "events are confirmed", func() bool { return count.Load() > before+10 })
	}
	for range 3 {
		grows()
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	grows()
	close(stop)
	<-published
	stored := map[string]bool{}
	err := b.Replay(t.Context(), bus.Query{}, func(e event.Event) error { stored[e.ID] = true; return nil })
	if err != nil {
		t.Fatal(err)
	}
	for id := range confirmed {
		if !stored[id] {
			t.Errorf("event %s was confirmed and is not stored", id)
		}
	}
}

func TestPublishingMakesStreamsAgainThatAreGone(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	publish(t, b, push("before", "a"), "id")
	deleteStreams(t, js)
	if sequence := publish(t, b, push("after", "a"), "id"); sequence != 1 {
		t.Errorf("sequence %d, want 1 of a new stream", sequence)
	}
	publish(t, b, request("1", "web"), "")
	if err := b.PutState(t.Context(), &eventsv1.ApplicationState{Cluster: "local", Namespace: "team", Name: "web"}); err != nil {
		t.Error(err)
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	large := push("1", "a")
	large.Data.(*eventsv1.GitPush).Pusher = strings.Repeat("x", event.MaxData)
	unknown := push("1", "a")
	unknown.Type = "dev.plumb.unknown.v1"
	nameless := push("", "a")
	for name, e := range map[string]event.Event{
		"data over the limit": large, "an unknown type": unknown, "no id": nameless,
	} {
		_, err := b.Publish(t.Context(), e, "")
		if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
			t.Errorf("%s: error %v, want a permanent fault", name, err)
		}
	}
}

func TestNamesFromOutsideReachNoOtherSubject(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	for i, repo := range []string{"", ".", "*", ">", "a.b", "a b", "a\r\nPUB x 1", "a\x00b", strings.Repeat("x", 10_000), "\u20ac"} {
		publish(t, b, push(fmt.Sprint(i+1), repo+"/x"), "hook/"+repo)
	}
	stream, err := js.Stream(t.Context(), "PLUMB_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	for subject := range info.State.Subjects {
		if strings.Count(subject, ".") != 4 || !strings.HasPrefix(subject, "plumb.events.git.push.") {
			t.Errorf("subject %q", subject)
		}
	}
	if got := len(info.State.Subjects); got != 10 {
		t.Errorf("%d subjects, want 10", got)
	}
}
