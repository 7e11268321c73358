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
	revision uint64    // newest that was confirmed to this process
	safe     time.Time // leases taken may be used from then on
}

// newest is to be read before a write is sent, for note.
func (t *tenures) newest() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.revision
}

// note takes in the revision of a write that was sent when newest was known.
func (t *tenures) note(newest, revision uint64, safe time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if revision <= newest {
		t.revision, t.safe = revision, safe
		return
	}
	t.revision = max(t.revision, revision)
}

func (t *tenures) safeAt() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.safe
}

// settleIn waits until the lease may be used; it is kept alive meanwhile.
func (l *Lease) settleIn(ctx context.Context) error {
	wait := l.bus.tenures.safeAt().Sub(l.bus.o.Now())
	if wait > 0 && !sleep(ctx, wait) {
		return ctx.Err()
	}
	return nil
}
