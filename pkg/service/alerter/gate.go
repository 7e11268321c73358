package alerter

import (
	"sync"
	"time"
)

// longestHold is how long a backlog may keep messages back. Telling earlier
// does no harm, since the last known state of an Application is asked, too.
const longestHold = 30 * time.Second

// gate keeps messages back until the facts that wait are folded, so that what
// went wrong and recovered meanwhile is not told. It is closed at the start.
type gate struct {
	settle time.Duration
	now    func() time.Time

	mu     sync.Mutex
	behind bool
	since  time.Time // behind
	last   time.Time // a fact was folded
}

func newGate(o Options) *gate {
	g := &gate{settle: o.Settle, now: o.Now}
	g.close()
	return g
}

// saw tells of a fact that was folded, and how many are left for anybody.
func (g *gate) saw(pending uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = g.now()
	if pending > 0 && !g.behind {
		g.since = g.last
	}
	g.behind = pending > 0
}

// close waits for facts anew, after NATS was away.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.behind, g.last, g.since = true, g.now(), g.now()
}

// closed is how much longer it is at most; 0: open. Of a backlog others may
// take the last fact, so silence ends it, too.
func (g *gate) closed() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	left := min(g.last.Add(g.settle).Sub(now), g.since.Add(longestHold).Sub(now))
	if !g.behind || left <= 0 {
		g.behind = false
		return 0
	}
	return left
}
