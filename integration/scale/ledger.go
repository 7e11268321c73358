package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// ledger notes what became of each push.
type ledger struct {
	mu     sync.Mutex
	pushes map[string]*pushed // by event id
}

// pushed is what became of one push, or of several that come together: then each may
// find what another one changed, so that they are one.
type pushed struct {
	routes int // times that some cluster has to route one of them
	want   int // Applications that have to be brought to them

	since      map[string]time.Time // when what concerns an Application was pushed; "" of all others
	routed     map[string]bool      // by push and cluster
	affected   int
	unaffected int
	handed     map[string]time.Duration // after how long each Application was handed out first
	carried    map[string]int           // how often each was brought to a push
	complete   chan struct{}
}

func newLedger() *ledger { return &ledger{pushes: map[string]*pushed{}} }

func newPushed(routes, want int) *pushed {
	return &pushed{
		routes: routes, want: want, since: map[string]time.Time{}, routed: map[string]bool{},
		handed: map[string]time.Duration{}, carried: map[string]int{}, complete: make(chan struct{}),
	}
}

// begin is to be called just before a push is made. application is the one that it
// concerns, empty when there are several.
func (l *ledger) begin(id, application string, p *pushed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pushes[id], p.since[application] = p, time.Now()
}

// routed notes that a cluster has routed a push and published its requests.
func (l *ledger) routed(id, cluster string, affected, unaffected int) {
	l.note(id, func(p *pushed) {
		if by := id + "/" + cluster; !p.routed[by] {
			p.routed[by] = true
			p.affected, p.unaffected = p.affected+affected, p.unaffected+unaffected
		}
	})
}

// handed notes that a worker was given the request for an Application.
func (l *ledger) handed(id, application string) {
	l.note(id, func(p *pushed) {
		since, own := p.since[application]
		if !own {
			since = p.since[""]
		}
		if _, before := p.handed[application]; !before {
			p.handed[application] = time.Since(since)
		}
	})
}

// carried notes that an Application was brought to a push.
func (l *ledger) carried(id, application string) {
	l.note(id, func(p *pushed) { p.carried[application]++ })
}

func (l *ledger) note(id string, what func(*pushed)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pushes[id]
	if p == nil {
		return // of another time, as a request that outlived its push
	}
	before := p.finished()
	if what(p); p.finished() && !before {
		close(p.complete)
	}
}

func (p *pushed) finished() bool { return len(p.routed) >= p.routes && len(p.carried) >= p.want }

// await returns when all clusters have routed the push and all its Applications are done.
func (l *ledger) await(ctx context.Context, p *pushed) error {
	select {
	case <-p.complete:
		return nil
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		return fmt.Errorf("routed %d of %d times, %d of %d Applications done: %w",
			len(p.routed), p.routes, len(p.carried), p.want, context.Cause(ctx))
	}
}

// progress is how many Applications of a push were handed out.
func (l *ledger) progress(p *pushed) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(p.handed)
}

// waits are those of a push so far, and how many Applications were brought to it, and how
// many of them more than once.
func (l *ledger) waits(p *pushed) (w waits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.handed, w.carried = slices.Collect(maps.Values(p.handed)), len(p.carried)
	for _, times := range p.carried {
		if times > 1 {
			w.twice++
		}
	}
	return w
}
