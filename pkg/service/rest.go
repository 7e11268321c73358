package service

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Garbage is collected when there is much of it, else every two minutes, and what that frees
// is kept for a while: a process that has come to rest would go on holding the garbage of
// its last work. These say when it is at rest, and when that is worth a collection, which
// takes some 50 ms.
const (
	restEvery = 10 * time.Second
	restBelow = 16 << 20 // bytes allocated within restEvery: no work worth speaking of
	restAbove = 8 << 20  // bytes allocated since memory was given back last
)

// rest gives memory back to the system when a process comes to rest.
type rest struct {
	allocated func() uint64 // bytes, of all time
	free      func()

	last  uint64 // allocated at the last look
	freed uint64 // allocated when memory was given back last
}

func newRest() *rest { return &rest{allocated: allocated, free: debug.FreeOSMemory} }

func (r *rest) run(ctx context.Context) error {
	ticker := time.NewTicker(restEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.look()
		}
	}
}

func (r *rest) look() {
	now := r.allocated()
	resting := now-r.last < restBelow
	r.last = now
	if resting && now-r.freed > restAbove {
		r.free()
		r.freed = r.allocated()
	}
}

func allocated() uint64 { return heapBytes("allocs") }

// heapBytes is a figure of the runtime's metrics about the heap.
func heapBytes(what string) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/" + what + ":bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
