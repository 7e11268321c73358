package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
)

var webLease = bus.SyncLease("local", "team", "web")

func take(t *testing.T, b *bus.Bus, holder string) *bus.Lease {
	t.Helper()
	lease, err := b.Lease(t.Context(), webLease, holder)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestALeaseHasOneHolder(t *testing.T) {
	server := startServer(t, embedded.Options{})
	first, second := open(t, server), open(t, server)
	lease := take(t, first, "worker-1")
	_, err := second.Lease(t.Context(), webLease, "worker-2")
	if !errors.Is(err, bus.ErrHeld) || !strings.Contains(err.Error(), "worker-1") {
		t.Errorf("error %v, want that worker-1 holds it", err)
	}
	if _, err := second.Lease(t.Context(), bus.SyncLease("local", "team", "db"), "worker-2"); err != nil {
		t.Errorf("another Application's lease: %v", err)
	}
	if err := lease.Guard(); err != nil {
		t.Error(err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if lease.Guard() == nil {
		t.Error("writing is allowed after the release")
	}
	again := take(t, second, "worker-2")
	if err := lease.Release(t.Context()); err != nil {
		t.Errorf("second release: %v", err)
	}
	if err := again.Guard(); err != nil || closed(again.Lost()) {
		t.Errorf("the old holder's release took the lease from the new one: %v", err)
	}
}

func TestALeaseLivesByItsHeartbeats(t *testing.T) {
	server := startServer(t, embedded.Options{})
	first, second := open(t, server), open(t, server)
	lease := take(t, first, "worker-1")
	for end := time.Now().Add(3 * fast.LeaseTTL); time.Now().Before(end); time.Sleep(fast.Heartbeat / 2) {
		if _, err := second.Lease(t.Context(), webLease, "worker-2"); !errors.Is(err, bus.ErrHeld) {
			t.Fatalf("error %v, want that it is held", err)
		}
		if err := lease.Guard(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAReleasedLeaseIsTakenOverAtOnce(t *testing.T) {
	server := startServer(t, embedded.Options{})
	first, second := open(t, server), open(t, server, func(o *bus.Options) { o.Timing.Heartbeat = time.Hour })
	lease := take(t, first, "worker-1")
	// A wish that comes before the server knows that the holder listens is made anew with the
	// next heartbeat, in an hour here. What comes back was sent after the subscription.
	if _, err := first.Held(t.Context(), webLease); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		heir, err := second.AwaitLease(t.Context(), webLease, "worker-2")
		if err == nil && heir.Inherited() {
			err = errors.New("it says that the holder before vanished, who released it")
		}
		got <- err
	}()
	receive(t, "the newcomer's wish", lease.Yielded())
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Only the watch can have told: the next try by time is an hour away.
	if err := receive(t, "the newcomer's lease", got); err != nil {
		t.Error(err)
	}
}

func TestAVanishedHoldersLeaseExpiresAndIsTakenOver(t *testing.T) {
	server := startServer(t, embedded.Options{})
	first, second := open(t, server), open(t, server, func(o *bus.Options) { o.Timing.Heartbeat = time.Hour })
	lease := take(t, first, "worker-1")
	first.Close()
	if lease.Guard() == nil {
		t.Error("writing is allowed after the bus was closed")
	}
	begun := time.Now()
	heir, err := second.AwaitLease(t.Context(), webLease, "worker-2")
	if err != nil {
		t.Fatal(err)
	}
	if !heir.Inherited() {
		t.Error("nothing says that the holder before vanished")
	}
	took := time.Since(begun)
	t.Logf("taken over after %s; the lease lives %s", took, fast.LeaseTTL)
	// 15 s against 10 s, at these intervals.
	if limit := fast.LeaseTTL * 15 / 10; took > limit {
		t.Errorf("taken over after %s, want at most %s", took, limit)
	}
}

func TestAwaitingALeaseEndsWithItsContext(t *testing.T) {
	server := startServer(t, embedded.Options{})
	first, second := open(t, server), open(t, server)
	take(t, first, "worker-1")
	ctx, cancel := context.WithTimeout(t.Context(), fast.Heartbeat/2)
	defer cancel()
	_, err := second.AwaitLease(ctx, webLease, "worker-2")
	if !errors.Is(err, bus.ErrHeld) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that it is held", err)
	}
}

// clock is one that tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func TestTheGuardEndsBeforeTheLeaseDoes(t *testing.T) {
	server := startServer(t, embedded.Options{})
	var c clock
	b := open(t, server, func(o *bus.Options) { o.Now, o.Timing = c.now, bus.Timing{Heartbeat: time.Hour} })
	lease := take(t, b, "worker-1")
	c.advance(5900 * time.Millisecond)
	if err := lease.Guard(); err != nil {
		t.Errorf("after 5.9 s: %v", err)
	}
	c.advance(200 * time.Millisecond)
	if err := lease.Guard(); err == nil || !strings.Contains(err.Error(), "no heartbeat confirmed for 6.1") {
		t.Errorf("after 6.1 s: error %v, want doubt", err)
	}
	if closed(lease.Lost()) {
		t.Error("lost, though it still lives")
	}
}

func TestALeaseIsLostWhenNATSStaysAway(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	lease := take(t, b, "worker-1")
	server.Stop()
	begun := time.Now()
	eventually(t, "writing is refused", func() bool { return lease.Guard() != nil })
	if closed(lease.Lost()) {
		t.Error("lost before it can have expired")
	}
	if took := time.Since(begun); took > fast.Guard+fast.Heartbeat {
		t.Errorf("writing was allowed for %s", took)
	}
	receive(t, "the loss", lease.Lost())
	if err := lease.Release(t.Context()); err != nil {
		t.Errorf("release of a lost lease: %v", err)
	}
}

func TestALeaseOutlivesAShortOutage(t *testing.T) {
	for name, breakIt := range map[string]func(*testing.T, *embedded.Server, jetstream.JetStream){
		"a restart of NATS": func(t *testing.T, server *embedded.Server, _ jetstream.JetStream) {
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
		},
		"deletion of all streams": func(t *testing.T, _ *embedded.Server, js jetstream.JetStream) { deleteStreams(t, js) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, embedded.Options{})
			_, js := admin(t, server)
			// A guard as long as the outage may take on a busy machine.
			slow := func(o *bus.Options) { o.Timing.LeaseTTL, o.Timing.Guard = 10*time.Second, 6*time.Second }
			first, second := open(t, server, slow), open(t, server, slow)
			lease := take(t, first, "worker-1")
			breakIt(t, server, js)
			eventually(t, "the lease is renewed", func() bool {
				if closed(lease.Lost()) {
					t.Fatal("lost")
				}
				kv, err := js.KeyValue(t.Context(), "plumb_leases")
				if err != nil {
					return false
				}
				_, err = kv.Get(t.Context(), webLease)
				return err == nil
			})
			if err := lease.Guard(); err != nil {
				t.Error(err)
			}
			eventually(t, "the newcomer is connected", func() bool { return second.Connected() == nil })
			if _, err := second.Lease(t.Context(), webLease, "worker-2"); !errors.Is(err, bus.ErrHeld) {
				t.Errorf("error %v, want that it is held", err)
			}
		})
	}
}

func TestAHolderWhoseKeyWasTakenLosesIt(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	lease := take(t, b, "worker-1")
	kv, err := js.KeyValue(t.Context(), "plumb_leases")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), webLease, `{"holder":"forger","token":"x"}`); err != nil {
		t.Fatal(err)
	}
	receive(t, "the loss", lease.Lost())
	if lease.Guard() == nil {
		t.Error("writing is allowed")
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if entry, err := kv.Get(t.Context(), webLease); err != nil || !strings.Contains(string(entry.Value()), "forger") {
		t.Errorf("the loser deleted what is not its own: %v", err)
	}
}

// A confirmation that gets lost leaves a revision that the holder does not know.
func TestAHolderKnowsItsOwnHeartbeatAgain(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	lease := take(t, b, "worker-1")
	kv, err := js.KeyValue(t.Context(), "plumb_leases")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), webLease)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := kv.Put(t.Context(), webLease, entry.Value())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is renewed", func() bool {
		entry, err := kv.Get(t.Context(), webLease)
		return err == nil && entry.Revision() > foreign
	})
	if err := lease.Guard(); err != nil || closed(lease.Lost()) {
		t.Errorf("lost: %v", err)
	}
}

// A bucket made anew knows nothing of those who hold leases and may be writing:
// who takes one there waits until they must have stopped.
func TestALeaseOfANewBucketIsNotUsedBeforeOldHoldersHaveStopped(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	first := open(t, server, func(o *bus.Options) { o.Timing.Heartbeat = time.Hour }) // notices nothing
	second := open(t, server)
	for i := range 5 { // so that second has seen the old bucket's revisions
		lease, err := second.Lease(t.Context(), bus.SyncLease("local", "team", fmt.Sprint(i)), "worker-2")
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	old := take(t, first, "worker-1")
	if err := js.DeleteStream(t.Context(), "KV_plumb_leases"); err != nil {
		t.Fatal(err)
	}
	lease := take(t, second, "worker-2")
	if old.Guard() == nil {
		t.Error("both may write")
	}
	if err := lease.Guard(); err != nil {
		t.Error(err)
	}
}

func TestAskingToYieldReachesOnlyTheHolder(t *testing.T) {
	server := startServer(t, embedded.Options{})
	first, second := open(t, server), open(t, server)
	web := take(t, first, "worker-1")
	db, err := first.Lease(t.Context(), bus.SyncLease("local", "team", "db"), "worker-1")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is heard", func() bool {
		if err := second.AskToYield(t.Context(), webLease); err != nil {
			t.Fatal(err)
		}
		return closed(web.Yielded())
	})
	if closed(db.Yielded()) {
		t.Error("another lease was asked for, too")
	}
}
