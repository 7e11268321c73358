package service

import (
	"context"
	"runtime"
	"runtime/debug"
)

// By its own rule the runtime collects garbage whenever the heap has doubled: a process
// that holds little does so dozens of times a second under load. This much garbage may
// always lie about; what holds more goes by the runtime's rule.
const (
	spareHeap    = 64 << 20
	leastHeap    = 4 << 20 // the runtime's least heap, which grows with the percentage
	runtimesOwn  = 100     // percent of the heap that may be garbage, by default
	worthSetting = 10      // percent; setting it stops the world for a moment
)

// garbage keeps the collector's percentage such that spareHeap may lie about.
type garbage struct {
	live func() uint64 // bytes that the last collection left
	set  func(percent int) (before int)
	now  int
}

func newGarbage() *garbage {
	return &garbage{live: live, set: debug.SetGCPercent, now: runtimesOwn}
}

// SpareGarbage is the part of a program whose work comes in bursts: it collects garbage less
// often while there is little.
func SpareGarbage() Part { return Part{Name: "garbage", Run: newGarbage().run} }

// run follows every collection. It does nothing when the environment (GOGC) says
// something else than the default.
func (g *garbage) run(ctx context.Context) error {
	if before := g.set(runtimesOwn); before != runtimesOwn {
		g.set(before)
		<-ctx.Done()
		return nil
	}
	defer g.set(runtimesOwn)
	collected := make(chan struct{}, 1)
	for {
		g.look()
		nextCollection(collected)
		select {
		case <-ctx.Done():
			return nil
		case <-collected:
		}
	}
}

func (g *garbage) look() {
	percent := percentOf(g.live())
	if abs(percent-g.now)*100 < worthSetting*g.now {
		return
	}
	g.set(percent)
	g.now = percent
}

// percentOf is the percentage with which spareHeap may lie about beside what lives.
func percentOf(live uint64) int {
	return int(max(runtimesOwn, spareHeap*100/max(live, leastHeap)))
}

func abs(n int) int { return max(n, -n) }

// nextCollection tells once when the next collection has ended.
func nextCollection(ended chan<- struct{}) {
	type sentinel struct{ self *sentinel } // a pointer keeps it out of blocks shared with others
	runtime.AddCleanup(&sentinel{}, func(ended chan<- struct{}) {
		select {
		case ended <- struct{}{}:
		default:
		}
	}, ended)
}

func live() uint64 { return heapBytes("live") }
