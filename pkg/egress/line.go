package egress

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Line lets callers with the same question share an answer: at most one is being
// asked for, and at most one waits to be asked next. An answer that a caller gets
// was asked for after the caller came.
type Line[V any] struct {
	Timeout time.Duration // of one answer, whoever waits for it

	mu   sync.Mutex
	keys map[string]*turns[V]
}

type turns[V any] struct{ now, next *turn[V] }

type turn[V any] struct {
	done   chan struct{}
	answer V
	err    error
}

// Ask returns the answer to the question that key stands for. The asking outlives
// a caller who leaves.
func (l *Line[V]) Ask(ctx context.Context, key string, ask func(context.Context) (V, error)) (V, error) {
	mine := l.join(ctx, key, ask)
	select {
	case <-mine.done:
		return mine.answer, mine.err
	case <-ctx.Done():
		var none V
		return none, context.Cause(ctx)
	}
}

// join begins a turn, or the wait for one, or takes part in that wait.
func (l *Line[V]) join(ctx context.Context, key string, ask func(context.Context) (V, error)) *turn[V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.keys[key]
	if t != nil && t.next != nil {
		return t.next
	}
	mine := &turn[V]{done: make(chan struct{})}
	before := (*turn[V])(nil)
	if t == nil {
		if l.keys == nil {
			l.keys = map[string]*turns[V]{}
		}
		l.keys[key] = &turns[V]{now: mine}
	} else {
		before, t.next = t.now, mine
	}
	go func() {
		if before != nil {
			<-before.done
		}
		mine.run(context.WithoutCancel(ctx), l.Timeout, ask)
		l.finish(key)
		close(mine.done)
	}()
	return mine
}

func (t *turn[V]) run(ctx context.Context, timeout time.Duration, ask func(context.Context) (V, error)) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil { // what a server sends must not end the process
			t.err = fmt.Errorf("asking panicked: %v\n%s", p, debug.Stack())
		}
	}()
	t.answer, t.err = ask(ctx)
}

// finish lets the next turn begin, before anyone sees this one done.
func (l *Line[V]) finish(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.keys[key]
	if t.next == nil {
		delete(l.keys, key)
		return
	}
	t.now, t.next = t.next, nil
}
