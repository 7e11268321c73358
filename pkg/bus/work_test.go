package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

func work(t *testing.T, b *bus.Bus, slots int, handle func(context.Context, *bus.Task) error) (cancel func()) {
	t.Helper()
	return background(t, func(ctx context.Context) error { return b.Work(ctx, "local", slots, handle) })
}

func TestWhatAttemptsReturnDecides(t *testing.T) {
	for name, c := range map[string]struct {
		first      error
		deliveries uint64
		dead       string
	}{
		"nil: done": {nil, 1, ""},
		"a permanent fault: done, it is in the status": {fault.Refuse(fault.RenderFailed, fault.Place{}, "bad chart"), 1, ""},
		"a dead letter asked for":                      {bus.DeadLetter(errors.New("no such Application")), 1, "give up: no such Application"},
		"a transient fault: comes again":               {fault.Retry("", "not now"), 2, ""},
		"retry after: comes again":                     {fault.After("", 10*time.Millisecond, "busy"), 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, embedded.Options{})
			_, js := admin(t, server)
			b := open(t, server)
			got := make(chan uint64, 10)
			work(t, b, 1, func(_ context.Context, task *bus.Task) error {
				got <- task.Deliveries
				if task.Deliveries == 1 {
					return c.first
				}
				return nil
			})
			publish(t, b, request("1", "web"), "")
			for i := range c.deliveries {
				if n := receive(t, "the request", got); n != i+1 {
					t.Errorf("delivery %d, want %d", n, i+1)
				}
			}
			eventually(t, "the queue is empty", func() bool { return messages(t, js, "PLUMB_SYNC") == 0 })
			if len(got) > 0 {
				t.Errorf("delivery %d, want no more than %d", <-got, c.deliveries)
			}
			expectDead(t, js, c.dead)
		})
	}
}

func TestRequestsOfAnotherClusterAreNotTaken(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	got := make(chan string, 10)
	work(t, b, 1, func(_ context.Context, task *bus.Task) error { got <- task.Event.ID; return nil })
	foreign := request("foreign", "web")
	foreign.Data = requestData("other", "web")
	publish(t, b, foreign, "")
	publish(t, b, request("ours", "web"), "")
	if id := receive(t, "our request", got); id != "ours" {
		t.Errorf("took %q", id)
	}
}

func TestANewerRequestIsHandedOutWhileTheOlderIsHandled(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	got := make(chan string, 10)
	finish := make(chan struct{})
	work(t, b, 2, func(_ context.Context, task *bus.Task) error {
		got <- task.Event.ID
		<-finish
		return nil
	})
	publish(t, b, request("older", "web"), "")
	receive(t, "the older request", got)
	publish(t, b, request("newer", "web"), "")
	if id := receive(t, "the newer request", got); id != "newer" {
		t.Errorf("got %q", id)
	}
	close(finish)
	eventually(t, "the queue is empty", func() bool { return messages(t, js, "PLUMB_SYNC") == 0 })
}

func TestNoMoreTasksThanSlotsAndAReleasedSlotLetsAnotherRun(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	started, resume := make(chan string, 10), make(chan struct{})
	finished := make(chan string, 10)
	second := make(chan struct{})
	work(t, b, 1, func(ctx context.Context, task *bus.Task) error {
		started <- task.Event.ID
		if task.Event.ID == "waits" {
			task.Slot.Release()
			task.Slot.Release() // does nothing
			<-resume
			if err := task.Slot.Acquire(ctx); err != nil {
				return err
			}
		} else {
			<-second
		}
		finished <- task.Event.ID
		return nil
	})
	publish(t, b, request("waits", "a"), "")
	receive(t, "the first task", started)
	publish(t, b, request("runs", "b"), "")
	receive(t, "the second task, while the first waits without its slot", started)
	publish(t, b, request("third", "c"), "")
	close(resume)
	select {
	case id := <-finished:
		t.Errorf("%s went on though the only slot is taken", id)
	case id := <-started:
		t.Errorf("%s started though the only slot is taken", id)
	case <-time.After(3 * fast.Heartbeat):
	}
	close(second)
	for _, want := range []string{"runs", "waits", "third"} {
		if id := receive(t, want, finished); id != want {
			t.Errorf("%s finished, want %s: who waits for a slot goes before new tasks", id, want)
		}
	}
}

func TestATaskWithoutItsSlotKeepsItsRequest(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	started, finish := make(chan uint64, 10), make(chan struct{})
	work(t, b, 1, func(_ context.Context, task *bus.Task) error {
		started <- task.Deliveries
		task.Slot.Release()
		<-finish
		return nil
	})
	publish(t, b, request("1", "web"), "")
	receive(t, "the task", started)
	select {
	case n := <-started:
		t.Errorf("delivery %d while the first is handled", n)
	case <-time.After(3 * fast.AckWait):
	}
	close(finish)
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	released, taken, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	work(t, b, 1, func(ctx context.Context, task *bus.Task) error {
		if task.Event.ID == "takes the slot" {
			close(taken)
			<-ctx.Done()
			return nil
		}
		task.Slot.Release()
		close(released)
		<-taken
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		result <- task.Slot.Acquire(short)
		return nil
	})
	publish(t, b, request("waits", "a"), "")
	receive(t, "the slot is released", released)
	publish(t, b, request("takes the slot", "b"), "")
	if err := receive(t, "the end of Acquire", result); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline", err)
	}
}

func TestWorkEndsWithItsContextAndGivesItsTasksBackAtOnce(t *testing.T) {
	server := startServer(t, embedded.Options{})
	first, second := open(t, server), open(t, server)
	started := make(chan struct{}, 10)
	cancel := work(t, first, 4, func(ctx context.Context, _ *bus.Task) error {
		started <- struct{}{}
		<-ctx.Done()
		return fmt.Errorf("interrupted: %w", ctx.Err())
	})
	for _, name := range []string{"a", "b", "c"} {
		publish(t, first, request(name, name), "")
		receive(t, "a task", started)
	}
	got := make(chan string, 10)
	begun := time.Now()
	cancel()
	work(t, second, 4, func(_ context.Context, task *bus.Task) error { got <- task.Event.ID; return nil })
	for range 3 {
		receive(t, "a task given back", got)
	}
	if took := time.Since(begun); took >= fast.AckWait {
		t.Errorf("taken over after %s, want it at once and not after the ack wait", took)
	}
}

func TestARequestWhoseWorkerVanishedGoesToAnother(t *testing.T) {
	server := startServer(t, embedded.Options{})
	first, second := open(t, server), open(t, server)
	taken, stuck := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	go func() {
		_ = first.Work(context.Background(), "local", 1, func(context.Context, *bus.Task) error {
			close(taken)
			<-stuck
			return nil
		})
	}()
	publish(t, second, request("1", "web"), "")
	receive(t, "the first delivery", taken)
	first.Close()
	got := make(chan uint64, 1)
	work(t, second, 1, func(_ context.Context, task *bus.Task) error { got <- task.Deliveries; return nil })
	if n := receive(t, "the request again", got); n < 2 {
		t.Errorf("delivery %d, want a later one", n)
	}
}
