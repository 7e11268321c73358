package bus

import (
	"context"
	"sync"
	"time"
)

// tenures notices that the bucket of leases was made anew, or has lost its last
// writes in a crash of the server, by its revisions going backwards. A holder
// from before may then write on until its guard time is over, so whoever takes
// a lease waits that long before using it.
type tenures struct {
	mu       sync.Mutex
	born     time.Time // of the bucket, by the server's clock
	revision uint64    // newest that was confirmed to this process
	safe     time.Time // leases taken may be used from then on
}

// newest is to be read before a write is sent, for note.
func (t *tenures) newest() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.revision
}

// note takes in the revision of a write that was sent when newest was known;
// safe is the guard time after its confirmation came.
func (t *tenures) note(newest, revision uint64, safe time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if revision <= newest {
		t.revision, t.safe = revision, later(t.safe, safe)
		return
	}
	t.revision = max(t.revision, revision)
}

// see takes in a revision that was read.
func (t *tenures) see(revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revision = max(t.revision, revision)
}

// seeBucket takes in when the bucket was made and its newest revision.
func (t *tenures) seeBucket(born time.Time, revision uint64, safe time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.born.IsZero() && !t.born.Equal(born) {
		t.revision, t.safe = 0, later(t.safe, safe)
	}
	t.born, t.revision = born, max(t.revision, revision)
}

func (t *tenures) safeAt() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.safe
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// settleIn waits until the lease may be used; it is kept alive meanwhile.
func (l *Lease) settleIn(ctx context.Context) error {
	wait := l.bus.tenures.safeAt().Sub(l.bus.o.Now())
	if wait > 0 && !sleep(ctx, wait) {
		return ctx.Err()
	}
	return nil
}
