package git

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// flights let callers share fetches: at most one runs for a key, and at most one
// waits to begin after it.
type flights struct {
	mu   sync.Mutex
	keys map[string]*queue
	mark uint64

	ctx  context.Context // of the store: ends every flight
	stop context.CancelCauseFunc
	wait sync.WaitGroup
}

type queue struct {
	running, next *flight
	last          Commit // of the newest success
}

// flight is one fetch for everyone who waits for it.
type flight struct {
	begun   uint64 // 0 before it begins
	waiters int
	ctx     context.Context // of the fetch, set when it begins
	cancel  context.CancelFunc
	done    chan struct{}
	commit  Commit
	err     error
}

// abandoned flights have begun and were given up by everyone.
func (fl *flight) abandoned() bool { return fl.begun > 0 && fl.waiters == 0 }

var errClosed = errors.New("the Git store is closed")

// maxKeys bounds how many refs are remembered without a flight.
const maxKeys = 10_000

func newFlights() *flights {
	ctx, stop := context.WithCancelCause(context.Background())
	return &flights{keys: map[string]*queue{}, ctx: ctx, stop: stop}
}

// now is a mark: flights that begin later have a higher one.
func (f *flights) now() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mark++
	return f.mark
}

// do returns the commit of a fetch that began after the mark, sharing it with
// others. The fetch ends early only when nobody waits for it any more.
func (f *flights) do(ctx context.Context, key string, after uint64, fetch func(ctx context.Context, mark uint64) (Commit, error)) (Commit, error) {
	f.mu.Lock()
	if f.ctx.Err() != nil {
		f.mu.Unlock()
		return Commit{}, errClosed
	}
	q := f.queue(key)
	if q.last.Sequence > after {
		defer f.mu.Unlock()
		return q.last, nil
	}
	fl := q.running
	if fl == nil || fl.begun <= after || fl.abandoned() {
		fl = f.enqueue(q, fetch)
	}
	fl.waiters++
	f.mu.Unlock()
	select {
	case <-fl.done:
		return fl.commit, fl.err
	case <-ctx.Done():
		f.leave(q, fl)
		return Commit{}, context.Cause(ctx)
	}
}

func (f *flights) queue(key string) *queue {
	q := f.keys[key]
	if q == nil {
		f.forget()
		q = &queue{}
		f.keys[key] = q
	}
	return q
}

// forget makes room by dropping what only saves a fetch.
func (f *flights) forget() {
	for key, q := range f.keys {
		if len(f.keys) < maxKeys {
			return
		}
		if q.running == nil {
			delete(f.keys, key)
		}
	}
}

// enqueue returns the flight that begins next.
func (f *flights) enqueue(q *queue, fetch func(context.Context, uint64) (Commit, error)) *flight {
	if q.next != nil {
		return q.next
	}
	fl := &flight{done: make(chan struct{})}
	before := q.running
	if before == nil {
		f.begin(q, fl)
	} else {
		q.next = fl
	}
	f.wait.Go(func() {
		if before != nil {
			<-before.done
		}
		fl.run(fetch)
		f.finish(q, fl)
	})
	return fl
}

func (f *flights) begin(q *queue, fl *flight) {
	f.mark++
	fl.begun = f.mark
	fl.ctx, fl.cancel = context.WithCancel(f.ctx)
	if before := q.running; before != nil && fl.waiters == 0 {
		fl.cancel()
	}
	q.running = fl
}

// run contains a panic: what comes from a repository must not end the process.
func (fl *flight) run(fetch func(context.Context, uint64) (Commit, error)) {
	defer fl.cancel()
	defer func() {
		if p := recover(); p != nil {
			fl.err = fmt.Errorf("fetch panicked: %v\n%s", p, debug.Stack())
		}
	}()
	fl.commit, fl.err = fetch(fl.ctx, fl.begun)
}

// finish lets the next flight begin before anyone sees this one done.
func (f *flights) finish(q *queue, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.err == nil {
		q.last = fl.commit
	}
	q.running = nil
	if q.next != nil {
		f.begin(q, q.next)
		q.next = nil
	}
	close(fl.done)
}

func (f *flights) leave(q *queue, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiters--; fl.abandoned() {
		fl.cancel()
	}
}

// close ends all flights and waits for them.
func (f *flights) close() {
	f.mu.Lock()
	f.stop(errClosed)
	f.mu.Unlock()
	f.wait.Wait()
}
