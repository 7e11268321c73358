package service

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const megabyte = 1 << 20

func TestHowMuchGarbageMayLieAbout(t *testing.T) {
	cases := map[string]struct {
		live uint64 // megabytes
		want int    // percent
	}{
		"before the first collection":           {live: 0, want: 1600},
		"a heap of less than the runtime's own": {live: 2, want: 1600},
		"a small heap":                          {live: 16, want: 400},
		"a heap of what may lie about":          {live: 64, want: 100},
		"a large heap goes by the runtime":      {live: 500, want: 100},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := percentOf(c.live * megabyte); got != c.want {
				t.Errorf("%d percent, want %d", got, c.want)
			}
		})
	}
}

func TestThePercentageFollowsTheHeap(t *testing.T) {
	cases := map[string]struct {
		live []uint64 // megabytes after each collection
		want []int    // what was set
	}{
		"a heap that grows and shrinks": {live: []uint64{4, 16, 64, 500, 16}, want: []int{1600, 400, 100, 400}},
		"little changes are let be":     {live: []uint64{16, 17, 16, 15, 16}, want: []int{400}},
		"a large heap from the start":   {live: []uint64{61, 62, 200, 500}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []int
			g := newGarbage()
			g.set = func(percent int) int { got = append(got, percent); return 0 }
			for _, n := range c.live {
				g.live = func() uint64 { return n * megabyte }
				g.look()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("set (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryCollectionIsFollowed(t *testing.T) {
	var looks atomic.Int64
	g := &garbage{set: func(int) int { return runtimesOwn }, now: runtimesOwn, live: func() uint64 { looks.Add(1); return 500 * megabyte }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.run(ctx) }()
	for n := range int64(3) {
		for looks.Load() <= n {
			runtime.GC()
			runtime.Gosched()
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWhatTheEnvironmentSaysIsKept(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newGarbage().run(ctx); err != nil {
		t.Fatal(err)
	}
	if now := debug.SetGCPercent(50); now != 50 {
		t.Errorf("%d percent, want 50", now)
	}
}
