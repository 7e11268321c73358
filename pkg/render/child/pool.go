package child

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"sync"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// Tree is what the parent serves. Stat follows symlinks, and its Sys is the path, a
// string, that they lead to. It decides which paths may be read, and how much.
type Tree interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
}

// Options are tunables of a Pool; zero fields take the defaults.
type Options struct {
	Warm     int           // idle children kept; 1, negative: none
	Parallel int           // children at work, and half as many that are slow; GOMAXPROCS but at least 4
	Slice    time.Duration // of CPU time, after which a render is slow; 1 s
	Renders  int           // renders by one child, while all succeed; 100
	Timeout  time.Duration // of a render, by the wall clock; 30 s
	CPU      time.Duration // of a render, whole seconds; 20 s
	Memory   int64         // of a child's data, in bytes; 512 MiB
	MaxBytes int64         // of a render's result; 64 MiB
	// MaxObjects of a render's result; 0: no limit.
	MaxObjects int
}

func (o Options) filled() Options {
	fill(&o.Warm, 1)
	fill(&o.Parallel, max(4, runtime.GOMAXPROCS(0)))
	fill(&o.Slice, time.Second)
	fill(&o.Renders, 100)
	fill(&o.Timeout, 30*time.Second)
	fill(&o.CPU, 20*time.Second)
	fill(&o.Memory, 512<<20)
	fill(&o.MaxBytes, 64<<20)
	return o
}

func fill[T ~int | ~int64](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

// Pool keeps children. The first render starts the first one.
type Pool struct {
	o       Options
	lanes   *lanes
	trusted trusted
	poison  poison
	starts  chan startRequest

	mu      sync.Mutex
	started bool
	closed  bool
	idle    []*process
	all     map[*process]struct{}
	done    chan struct{}
}

// NewPool returns a Pool; it starts nothing.
func NewPool(o Options) *Pool {
	o = o.filled()
	return &Pool{
		o: o, lanes: newLanes(o), starts: make(chan startRequest),
		all: map[*process]struct{}{}, done: make(chan struct{}),
	}
}

// Close ends all children, those at work too.
func (p *Pool) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	close(p.done)
	all := p.all
	p.all, p.idle = nil, nil
	p.mu.Unlock()
	for c := range all {
		c.end()
	}
}

// Origin says where a job comes from. Its zero value is a stranger.
type Origin struct {
	// Key stands for all that the render depends on: with one whose child died twice
	// no child is started. Empty: not remembered.
	Key string
	// Source is the same at every revision: those whose last render succeeded go first.
	Source string
	// Aside surrounds a wait for a free child; nil: it is only waited.
	Aside func(wait func() error) error
}

// Render gives job to a child.
func (p *Pool) Render(ctx context.Context, job Job, tree Tree, from Origin) ([]manifest.Rendered, error) {
	if err := p.poison.check(from.Key); err != nil {
		return nil, err
	}
	if from.Aside == nil {
		from.Aside = func(wait func() error) error { return wait() }
	}
	in := &p.lanes.quick
	if p.poison.slow(from.Key) {
		in = &p.lanes.slow
	}
	items, ousted, err := p.attempt(ctx, job, tree, from, in)
	if ousted && err != nil && ctx.Err() == nil {
		p.poison.mark(from.Key)
		items, _, err = p.attempt(ctx, job, tree, from, &p.lanes.slow)
	}
	if ctx.Err() != nil {
		return items, err
	}
	p.trusted.set(from.Source, err == nil)
	var died *deathError
	if errors.As(err, &died) {
		return nil, p.poison.add(from.Key, died)
	}
	return items, err
}

// attempt renders once, beginning in a lane. What was ousted has to begin anew.
func (p *Pool) attempt(ctx context.Context, job Job, tree Tree, from Origin, in *lane) (items []manifest.Rendered, ousted bool, err error) {
	if err := in.enter(ctx, p.trusted.has(from.Source), from.Aside); err != nil {
		return nil, false, err
	}
	held := &place{lanes: p.lanes, in: in}
	defer func() { ousted = held.leave() }()
	c, err := p.take(ctx)
	if err != nil {
		return nil, false, fault.Retry(fault.RenderFailed, "start render child: %w", err)
	}
	if in == &p.lanes.slow {
		c.yield()
	} else {
		defer held.limit(c, p.o.Slice)()
	}
	items, err = c.render(ctx, job, tree)
	p.give(c)
	return items, false, err
}

// take returns an idle child that is still alive, or starts one.
func (p *Pool) take(ctx context.Context) (*process, error) {
	p.mu.Lock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if c.alive() {
			p.mu.Unlock()
			return c, nil
		}
		delete(p.all, c)
	}
	p.mu.Unlock()
	return p.start(ctx)
}

// give keeps a child that may serve again, and replaces one that may not.
func (p *Pool) give(c *process) {
	p.mu.Lock()
	keep := !p.closed && c.reusable() && c.renders < p.o.Renders && len(p.idle) < p.o.Warm
	if keep {
		p.idle = append(p.idle, c)
	} else {
		delete(p.all, c)
	}
	spare := !p.closed && len(p.idle) < p.o.Warm
	p.mu.Unlock()
	if !keep {
		c.end()
	}
	if spare {
		go p.spare()
	}
}

// spare has a child ready before it is needed: starting one takes some 80 ms.
func (p *Pool) spare() {
	c, err := p.start(context.Background())
	if err != nil {
		return
	}
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < p.o.Warm
	if keep {
		p.idle = append(p.idle, c)
	} else {
		delete(p.all, c)
	}
	p.mu.Unlock()
	if !keep {
		c.end()
	}
}
