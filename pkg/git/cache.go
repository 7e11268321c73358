package git

import (
	"container/list"
	"sync"
)

// lru keeps the values used last, up to a total weight.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	left  int64
	limit int64
	order *list.List // front is newest
	items map[K]*list.Element
}

type cached[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

func newLRU[K comparable, V any](limit int64) *lru[K, V] {
	return &lru[K, V]{left: limit, limit: limit, order: list.New(), items: map[K]*list.Element{}}
}

func (c *lru[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(e)
	return e.Value.(cached[K, V]).value, true
}

// put keeps the value unless it alone would push out a quarter of the rest.
func (c *lru[K, V]) put(key K, value V, weight int64) {
	if weight > c.limit/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[key]; ok {
		return
	}
	c.items[key] = c.order.PushFront(cached[K, V]{key, value, weight})
	c.left -= weight
	for c.left < 0 {
		oldest := c.order.Remove(c.order.Back()).(cached[K, V])
		delete(c.items, oldest.key)
		c.left += oldest.weight
	}
}
