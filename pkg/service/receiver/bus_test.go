package receiver_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/service/receiver"
)

func jetStream(t *testing.T) (*embedded.Server, *bus.Bus) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := embedded.Start(t.TempDir(), embedded.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := bus.Open(t.Context(), bus.Options{InProcess: server, Cluster: "local", Timeout: 2 * time.Second, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return server, b
}

// stored is what the stream holds, oldest first.
func stored(t *testing.T, b *bus.Bus) (events []event.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Replay(ctx, bus.Query{}, func(e event.Event) error { events = append(events, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return events
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not in %s: %s", patience, what)
		}
	}
}

func TestOnJetStreamADeliveryIsStoredBeforeItIsAnswered(t *testing.T) {
	_, b := jetStream(t)
	addr, _ := serve(t, build(t, hooked(t, "github"), b, receiver.Options{}))
	got := send(t, githubPush(t, addr, "github", "one"))
	if got.Status != http.StatusAccepted {
		t.Fatalf("answer %+v", got)
	}
	events := stored(t, b)
	if len(events) != 1 || events[0].ID != got.Events[0] || !strings.Contains(events[0].Trace, got.Trace) || events[0].Subject != "github.com/codertocat/hello-world" {
		t.Errorf("stored %+v", events)
	}
}

func TestOnJetStreamOneDeliveryAHundredTimesIsOneEvent(t *testing.T) {
	_, b := jetStream(t)
	addr, _ := serve(t, build(t, hooked(t, "github"), b, receiver.Options{}))
	var all sync.WaitGroup
	var answers [100]reply
	for i := range answers {
		q := githubPush(t, addr, "github", "again")
		all.Go(func() { answers[i] = send(t, q) })
	}
	all.Wait()
	for _, got := range answers {
		if got.Status != http.StatusAccepted || !slices.Equal(got.Events, answers[0].Events) || got.Trace != answers[0].Trace {
			t.Fatalf("answer %+v differs from %+v", got, answers[0])
		}
	}
	events := stored(t, b)
	if len(events) != 1 || !strings.Contains(events[0].Trace, answers[0].Trace) {
		t.Errorf("stored %+v; answered trace %s", events, answers[0].Trace)
	}
}

// A new id is a new delivery, also with the same body: pushes A, B, A in quick
// succession must not be swallowed.
func TestOnJetStreamTheSameBodyWithANewIDIsANewEvent(t *testing.T) {
	_, b := jetStream(t)
	addr, _ := serve(t, build(t, hooked(t, "github"), b, receiver.Options{}))
	for _, id := range []string{"a", "b", "a", "c"} {
		send(t, githubPush(t, addr, "github", id))
	}
	if events := stored(t, b); len(events) != 3 {
		t.Errorf("stored %+v", events)
	}
}

func TestOnJetStreamNATSAwayIs503AndTheRetryIsStoredOnce(t *testing.T) {
	server, b := jetStream(t)
	addr, _ := serve(t, build(t, hooked(t, "github"), b, receiver.Options{}))
	server.Stop()
	for range 3 {
		got := send(t, githubPush(t, addr, "github", "one"))
		if got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || got.Events != nil {
			t.Fatalf("with NATS away: %+v", got)
		}
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the retry is accepted", func() bool { return send(t, githubPush(t, addr, "github", "one")).Status == http.StatusAccepted })
	send(t, githubPush(t, addr, "github", "one"))
	if events := stored(t, b); len(events) != 1 {
		t.Errorf("stored %+v", events)
	}
}

// The confirmation gets lost on its way: the sender hears 503 and sends again.
func TestOnJetStreamALostConfirmationDoublesNothing(t *testing.T) {
	_, b := jetStream(t)
	var calls atomic.Int32
	lossy := receiver.PublisherFunc(func(ctx context.Context, e event.Event, id string) (uint64, error) {
		sequence, err := b.Publish(ctx, e, id)
		if calls.Add(1)%2 == 1 && err == nil {
			return 0, errors.New("connection lost before the confirmation")
		}
		return sequence, err
	})
	addr, _ := serve(t, build(t, hooked(t, "github"), lossy, receiver.Options{}))
	first, second := send(t, githubPush(t, addr, "github", "one")), send(t, githubPush(t, addr, "github", "one"))
	if first.Status != http.StatusServiceUnavailable || second.Status != http.StatusAccepted {
		t.Fatalf("answers %+v, %+v", first, second)
	}
	if events := stored(t, b); len(events) != 1 || events[0].ID != second.Events[0] {
		t.Errorf("stored %+v", events)
	}
}

// Of a push of two refs the second fails once: the retry stores what lacks.
func TestOnJetStreamAHalfStoredPushIsCompletedByItsRetry(t *testing.T) {
	_, b := jetStream(t)
	var calls atomic.Int32
	flaky := receiver.PublisherFunc(func(ctx context.Context, e event.Event, id string) (uint64, error) {
		if calls.Add(1) == 2 {
			return 0, errors.New("no responders")
		}
		return b.Publish(ctx, e, id)
	})
	addr, _ := serve(t, build(t, hooked(t, "bitbucket"), flaky, receiver.Options{}))
	body := []byte(strings.Replace(string(payload(t, "bitbucket/push")), `"changes":[`,
		`"changes":[{"new": null, "old": {"type": "branch", "name": "gone", "target": {"hash": "6113728f27ae82c7b1a177c8d03f9e96e0adf246"}}},`, 1))
	var statuses []int
	for range 2 {
		q := github(t, addr, "bitbucket", "", "", body)
		q.Header.Set("X-Hub-Signature", sign(body))
		q.Header.Set("X-Event-Key", "repo:push")
		q.Header.Set("X-Request-UUID", "d08c")
		statuses = append(statuses, send(t, q).Status)
	}
	var ids []string
	for _, e := range stored(t, b) {
		ids = append(ids, e.ID)
	}
	if !slices.Equal(statuses, []int{503, 202}) || !slices.Equal(ids, []string{"bitbucket/d08c/0", "bitbucket/d08c/1"}) {
		t.Errorf("statuses %v, stored %v", statuses, ids)
	}
}
