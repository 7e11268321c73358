// Package shelf keeps trees that were made once under a name that says what is
// in them, such as a digest, up to a number of bytes.
//
// It may import tree. It fails only as the making of a tree does.
package shelf

import (
	"container/list"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/plumb-gitops/plumb/pkg/tree"
)

// Item is a tree and about how many bytes it holds.
type Item struct {
	Tree   tree.Tree
	Weight int64
}

// Shelf is safe for concurrent use.
type Shelf struct {
	limit   int64
	timeout time.Duration
	flights singleflight.Group

	mu    sync.Mutex
	used  int64
	order *list.List // of entry; front is newest
	items map[string]*list.Element
}

type entry struct {
	key  string
	item Item
}

// New returns a Shelf for that many bytes. The making of a tree may take no
// longer than timeout.
func New(limit int64, timeout time.Duration) *Shelf {
	return &Shelf{limit: limit, timeout: timeout, order: list.New(), items: map[string]*list.Element{}}
}

// Get returns the tree under key, made if it is not there. Callers who want the
// same one at the same time share its making, which outlives those who leave.
func (s *Shelf) Get(ctx context.Context, key string, make func(context.Context) (Item, error)) (tree.Tree, error) {
	if t, ok := s.find(key); ok {
		return t, nil
	}
	making := s.flights.DoChan(key, func() (made any, err error) {
		defer func() {
			if p := recover(); p != nil { // what comes from outside must not end the process
				err = fmt.Errorf("making a tree panicked: %v\n%s", p, debug.Stack())
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer cancel()
		item, err := make(ctx)
		if err == nil {
			s.put(key, item)
		}
		return item.Tree, err
	})
	select {
	case made := <-making:
		if made.Err != nil {
			return nil, made.Err
		}
		return made.Val.(tree.Tree), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *Shelf) find(key string) (tree.Tree, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.items[key]
	if !ok {
		return nil, false
	}
	s.order.MoveToFront(e)
	return e.Value.(entry).item.Tree, true
}

// put keeps what fits, in the place of what was wanted longest ago.
func (s *Shelf) put(key string, item Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.items[key]; ok || item.Weight > s.limit {
		return
	}
	s.items[key] = s.order.PushFront(entry{key, item})
	for s.used += item.Weight; s.used > s.limit; {
		oldest := s.order.Remove(s.order.Back()).(entry)
		delete(s.items, oldest.key)
		s.used -= oldest.item.Weight
	}
}
