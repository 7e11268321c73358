package child

import (
	"context"
	"slices"
	"sync"
	"time"
)

// lanes keep a poisonous source from slowing others. A render begins in the quick
// lane, one place of which is only for sources whose last render succeeded; they also
// go first. One that takes longer than Options.Slice goes on in the slow lane, at the
// lowest priority, or begins anew when a place is free there: so whoever renders in
// less never waits for one that does not. What is known to be slow begins there.
type lanes struct{ quick, slow lane }

func newLanes(o Options) *lanes {
	return &lanes{quick: lane{free: o.Parallel, kept: min(1, o.Parallel-1)}, slow: lane{free: max(1, o.Parallel/2)}}
}

// lane is a semaphore that lets the trusted go first.
type lane struct {
	mu      sync.Mutex
	free    int
	kept    int // of free, for the trusted alone
	trusted []chan struct{}
	others  []chan struct{}
}

// enter waits for a place. aside surrounds a wait that is not over at once.
func (l *lane) enter(ctx context.Context, trusted bool, aside func(wait func() error) error) error {
	turn := l.join(trusted)
	select {
	case <-turn:
		return nil
	default:
	}
	err := aside(func() error {
		select {
		case <-turn:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		l.quit(turn)
	}
	return err
}

func (l *lane) join(trusted bool) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := make(chan struct{})
	if trusted {
		l.trusted = append(l.trusted, turn)
	} else {
		l.others = append(l.others, turn)
	}
	l.serve()
	return turn
}

// serve gives free places to those who wait.
func (l *lane) serve() {
	for ; l.free > 0 && len(l.trusted) > 0; l.free-- {
		close(l.trusted[0])
		l.trusted = l.trusted[1:]
	}
	for ; l.free > l.kept && len(l.others) > 0; l.free-- {
		close(l.others[0])
		l.others = l.others[1:]
	}
}

// quit ends a wait, and gives back a place that came meanwhile.
func (l *lane) quit(turn chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	is := func(c chan struct{}) bool { return c == turn }
	before := len(l.trusted) + len(l.others)
	l.trusted, l.others = slices.DeleteFunc(l.trusted, is), slices.DeleteFunc(l.others, is)
	if len(l.trusted)+len(l.others) == before {
		l.free++
		l.serve()
	}
}

// try takes a place if one is free and nobody waits for it.
func (l *lane) try() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free <= l.kept {
		return false
	}
	l.free--
	return true
}

func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free++
	l.serve()
}

// place is what a render holds while it runs. It may move to the slow lane once.
type place struct {
	lanes *lanes

	mu     sync.Mutex
	in     *lane // nil: it has left
	ousted bool
}

// limit has the render outstay once it used up its slice. A child that gets little of
// the processor, or waits for its parent, has more time. What was started is to be
// stopped.
func (p *place) limit(c *process, slice time.Duration) (stop func() bool) {
	const least = 50 * time.Millisecond
	before := cpuTime(c.cmd.Process.Pid, 0)
	var timer *time.Timer
	started := make(chan struct{})
	timer = time.AfterFunc(slice, func() {
		<-started
		if left := slice - (cpuTime(c.cmd.Process.Pid, before+slice) - before); left > 0 {
			timer.Reset(max(left, least))
			return
		}
		p.outstay(c)
	})
	close(started)
	return timer.Stop
}

// outstay moves a render that took its slice to the slow lane. Without room there it
// is ended, and has to begin anew.
func (p *place) outstay(c *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.in == nil:
	case p.lanes.slow.try():
		p.in.leave()
		p.in = &p.lanes.slow
		c.yield()
	default:
		p.ousted = true
		c.kill("others wait, and it takes long")
	}
}

// leave gives the place back and says whether the render has to begin anew.
func (p *place) leave() (ousted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in.leave()
	p.in = nil
	return p.ousted
}

// trusted remembers the sources whose last render succeeded, the newest of them.
type trusted struct {
	mu    sync.Mutex
	known map[string]bool
	order []string
}

const maxTrusted = 10_000

func (t *trusted) has(source string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return source != "" && t.known[source]
}

func (t *trusted) set(source string, succeeded bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.known[source]; !ok {
		if t.known == nil {
			t.known = map[string]bool{}
		}
		if len(t.order) >= maxTrusted {
			delete(t.known, t.order[0])
			t.order = t.order[1:]
		}
		t.order = append(t.order, source)
	}
	t.known[source] = succeeded
}
