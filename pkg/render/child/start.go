package child

import (
	"context"
	"errors"
	"runtime"
)

type startRequest struct {
	answer chan<- startAnswer
}

type startAnswer struct {
	process *process
	err     error
}

var errClosed = errors.New("the pool is closed")

// start has the starter's thread start a child.
func (p *Pool) start(ctx context.Context) (*process, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	if !p.started {
		p.started = true
		go p.starter()
	}
	p.mu.Unlock()
	answer := make(chan startAnswer, 1)
	select {
	case p.starts <- startRequest{answer}:
	case <-p.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	a := <-answer
	if a.err != nil {
		return nil, a.err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		go a.process.end()
		return nil, errClosed
	}
	p.all[a.process] = struct{}{}
	return a.process, nil
}

// starter owns one thread until the pool closes: the kernel sends the parent-death
// signal when the thread that started a child ends, not the process.
func (p *Pool) starter() {
	runtime.LockOSThread()
	bequeath()
	for {
		select {
		case <-p.done:
			return // still locked: the thread ends, and what it started
		case r := <-p.starts:
			c, err := startProcess(p.o)
			r.answer <- startAnswer{c, err}
		}
	}
}
