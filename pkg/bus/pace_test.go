package bus

import (
	"testing"
	"time"
)

// model is what storing costs at a server that has 32 messages to store at any time.
type model struct {
	alone time.Duration // one message
	batch time.Duration // 32 at once
	gap   time.Duration // until the next batch begins
}

var (
	syncing   = model{alone: 180 * time.Microsecond, batch: 4 * time.Millisecond}
	buffering = model{alone: 60 * time.Microsecond, batch: 6 * time.Millisecond}
	slow      = model{alone: 80 * time.Microsecond, batch: 2 * time.Millisecond, gap: 2 * time.Millisecond}
)

// drive stores messages as the pace says and returns how many of a thousand went
// together.
func (m model) drive(p *pace, now *time.Time, messages int) int {
	together := 0
	for stored := 0; stored < messages; {
		if p.pays() {
			*now = now.Add(m.gap + m.batch)
			p.wentTogether(*now, 32)
			together, stored = together+32, stored+32
			continue
		}
		*now = now.Add(m.alone)
		p.wentAlone(*now, 32, false)
		stored++
	}
	return together * 1000 / messages
}

func TestPaceFindsTheWayThatCostsLess(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		before   func(p *pace, now *time.Time)
		server   model
		min, max int // of a thousand, together
	}{
		"where each write is synced, together":                                         {server: syncing, min: 990, max: 1000},
		"where writes are buffered, one by one":                                        {server: buffering, max: 10},
		"where a batch is cheap and clients are slow to come for the next, one by one": {server: slow, max: 10},
		"where nothing is told by few": {
			before: func(p *pace, now *time.Time) {
				for range 100_000 {
					*now = now.Add(time.Millisecond)
					p.wentAlone(*now, pressing-1, false)
				}
			},
			server: buffering, max: 10,
		},
		"a server that syncs no more is found out": {
			before: func(p *pace, now *time.Time) { syncing.drive(p, now, 100_000) }, server: buffering, max: 350,
		},
		"a server that begins to sync is found out": {
			before: func(p *pace, now *time.Time) { buffering.drive(p, now, 100_000) }, server: syncing, min: 650, max: 1000,
		},
		"a disk that stalled once changes nothing": {
			before: func(p *pace, now *time.Time) {
				syncing.drive(p, now, 10_000)
				for range 2 {
					*now = now.Add(time.Second)
					p.wentTogether(*now, 32)
				}
			},
			server: syncing, min: 950, max: 1000,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var p pace
			now := start
			if c.before != nil {
				c.before(&p, &now)
			}
			if got := c.server.drive(&p, &now, 100_000); got < c.min || got > c.max {
				t.Errorf("%d of 1000 messages went together, want %d to %d", got, c.min, c.max)
			}
		})
	}
}
