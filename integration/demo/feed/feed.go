// Package feed is a list that grows while others wait for what comes next: what a
// watch shows, what Plumb tells, what Slack gets. It imports the standard library
// only; waiting fails when its context ends.
package feed

import (
	"context"
	"slices"
	"sync"
)

// Feed is empty when zero, and safe for concurrent use.
type Feed[T any] struct {
	mu    sync.Mutex
	items []T
	grown chan struct{} // closed with the next Add
}

// Add appends an item and wakes who waits.
func (f *Feed[T]) Add(item T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = append(f.items, item)
	if f.grown != nil {
		close(f.grown)
		f.grown = nil
	}
}

// Mark is the place behind the newest item: what is awaited from a mark on came
// after it.
func (f *Feed[T]) Mark() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.items)
}

// Since are the items from a mark on.
func (f *Feed[T]) Since(mark int) []T {
	items, _ := f.since(mark)
	return items
}

// Await returns the first item from a mark on that matches.
func (f *Feed[T]) Await(ctx context.Context, mark int, match func(T) bool) (T, error) {
	for {
		items, grown := f.since(mark)
		if i := slices.IndexFunc(items, match); i >= 0 {
			return items[i], nil
		}
		mark += len(items)
		select {
		case <-grown:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}

func (f *Feed[T]) since(mark int) ([]T, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.grown == nil {
		f.grown = make(chan struct{})
	}
	return slices.Clone(f.items[mark:]), f.grown
}
