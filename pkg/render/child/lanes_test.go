package child

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/render/helm"
)

// endless burns the processor until it is ended.
var endless = fstest.MapFS{
	"c/Chart.yaml":       tree["c/Chart.yaml"],
	"c/templates/a.yaml": {Data: []byte("{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}")},
}

var loop = Job{Helm: &helm.Params{Path: "c", ReleaseName: "a"}}

// TestAQuickRenderWaitsForNoSlowOne keeps all places busy with renders without end:
// one that is known renders beside them, and so does a stranger, within slices.
func TestAQuickRenderWaitsForNoSlowOne(t *testing.T) {
	p := newPool(t, Options{Parallel: 2, Slice: 300 * time.Millisecond, CPU: time.Minute, Timeout: 2 * time.Minute})
	known := Origin{Source: "known"}
	if _, err := p.Render(t.Context(), good, tree, known); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	const hostile = 6
	for i := range hostile {
		go func() {
			_, err := p.Render(ctx, loop, endless, Origin{Key: fmt.Sprint(i), Source: fmt.Sprint(i)})
			ended <- err
		}()
	}
	waitFor(t, "crowd in the slow lane", func() bool {
		p.lanes.slow.mu.Lock()
		defer p.lanes.slow.mu.Unlock()
		return len(p.lanes.slow.others) == hostile-1
	})
	for _, from := range []Origin{known, {}, {Source: "new"}} {
		began := time.Now()
		if _, err := p.Render(t.Context(), good, tree, from); err != nil {
			t.Errorf("beside slow renders: %v", err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("a render of %q took %s", from.Source, took)
		}
	}
	p.mu.Lock()
	if n := len(p.all) - len(p.idle); n > 1 {
		t.Errorf("%d slow renders run at a time, want one", n)
	}
	p.mu.Unlock()
	cancel()
	for range hostile {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled render ended with %v", err)
		}
	}
}

// mending is a tree whose chart ends when it is read for the second time.
type mending struct {
	fstest.MapFS
	reads atomic.Int64
}

func (m *mending) ReadFile(name string) ([]byte, error) {
	if name == "c/templates/a.yaml" && m.reads.Add(1) > 1 {
		return tree.ReadFile(name)
	}
	return m.MapFS.ReadFile(name)
}

// A render that is ousted begins anew, and its end is its own.
func TestARenderThatIsOustedBeginsAnew(t *testing.T) {
	p := newPool(t, Options{Parallel: 1, Slice: 100 * time.Millisecond})
	if !p.lanes.slow.try() {
		t.Fatal("the slow lane has no place")
	}
	ended := make(chan error, 1)
	aside := make(chan struct{}, 1)
	go func() {
		_, err := p.Render(context.Background(), loop, &mending{MapFS: endless}, Origin{Key: "k", Source: "s", Aside: func(wait func() error) error {
			aside <- struct{}{}
			return wait()
		}})
		ended <- err
	}()
	<-aside // it waits for the slow lane, and lets others have the quick one
	render(t, p)
	p.lanes.slow.leave()
	if err := <-ended; err != nil {
		t.Errorf("the second try ended with %v", err)
	}
	if !p.poison.slow("k") || !p.trusted.has("s") {
		t.Error("that it is slow and that it succeeded was forgotten")
	}
}

func TestLane(t *testing.T) {
	cases := map[string]struct {
		free, kept int
		join       []bool // whether each who comes is trusted
		quit       []int
		leave      int
		want       []int // who has a place in the end
	}{
		"first come, first served":               {free: 2, join: []bool{false, false, false}, want: []int{0, 1}},
		"one place is kept for the trusted":      {free: 2, kept: 1, join: []bool{false, false, true}, want: []int{0, 2}},
		"the trusted may have all":               {free: 2, kept: 1, join: []bool{true, true, true}, want: []int{0, 1}},
		"the trusted go first":                   {free: 1, join: []bool{true, false, true}, leave: 1, want: []int{0, 2}},
		"who waits goes on when one leaves":      {free: 2, kept: 1, join: []bool{false, false, false}, leave: 1, want: []int{0, 1}},
		"who quits is not served":                {free: 1, join: []bool{false, false, false}, quit: []int{1}, leave: 1, want: []int{0, 2}},
		"who quits with a place hands it on":     {free: 1, join: []bool{false, false}, quit: []int{0}, want: []int{0, 1}},
		"who quits last leaves the place behind": {free: 1, join: []bool{true}, quit: []int{0}, want: []int{0}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := &lane{free: c.free, kept: c.kept}
			var turns []chan struct{}
			for _, trusted := range c.join {
				turns = append(turns, l.join(trusted))
			}
			for _, i := range c.quit {
				l.quit(turns[i])
			}
			for range c.leave {
				l.leave()
			}
			var served []int
			for i, turn := range turns {
				select {
				case <-turn:
					served = append(served, i)
				default:
				}
			}
			if diff := cmp.Diff(c.want, served); diff != "" {
				t.Errorf("served (-want +got):\n%s", diff)
			}
			waiting := len(c.join) - len(served) - len(slices.DeleteFunc(slices.Clone(c.quit), func(i int) bool { return slices.Contains(served, i) }))
			if got := len(l.trusted) + len(l.others); got != waiting {
				t.Errorf("%d wait, want %d", got, waiting)
			}
		})
	}
}

func TestTrustedForgetsTheOldest(t *testing.T) {
	var known trusted
	for i := range maxTrusted {
		known.set(fmt.Sprint(i), true)
	}
	known.set("1", false)
	if !known.has("0") || known.has("1") || known.has("") {
		t.Error("who is trusted is wrong")
	}
	known.set("one more", true)
	if known.has("0") || !known.has("one more") || len(known.known) != maxTrusted {
		t.Errorf("%d are known", len(known.known))
	}
}
