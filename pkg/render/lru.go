package render

import (
	"container/list"
)

// lru keeps values up to a weight, the most recently used ones.
type lru struct {
	max, weight int64
	order       *list.List // of *kept, the newest first
	values      map[string]*list.Element
}

type kept struct {
	key    string
	value  any
	weight int64
}

func newLRU(max int64) *lru {
	return &lru{max: max, order: list.New(), values: map[string]*list.Element{}}
}

// get returns nil for what is not there.
func (l *lru) get(key string) any {
	e := l.values[key]
	if e == nil {
		return nil
	}
	l.order.MoveToFront(e)
	return e.Value.(*kept).value
}

// put keeps a value, unless it alone is heavier than all may be.
func (l *lru) put(key string, value any, weight int64) {
	if e := l.values[key]; e != nil {
		l.drop(e)
	}
	weight += int64(len(key)) + 256
	if weight > l.max {
		return
	}
	l.values[key] = l.order.PushFront(&kept{key, value, weight})
	for l.weight += weight; l.weight > l.max; {
		l.drop(l.order.Back())
	}
}

func (l *lru) drop(e *list.Element) {
	k := l.order.Remove(e).(*kept)
	delete(l.values, k.key)
	l.weight -= k.weight
}

// weighOutcome estimates the bytes of a result or an error.
func weighOutcome(o outcome) int64 {
	total := weigh(o.result.Outside) + weigh(o.result.Secrets)
	for _, object := range o.result.Objects.All() {
		total += weigh(object.Content()) + int64(len(object.File)) + 128
	}
	if o.err != nil {
		total += int64(len(o.err.Error()))
	}
	return total
}

// weigh estimates the bytes of a tree of values: a map of a few keys takes some 300.
func weigh(v any) int64 {
	const perItem, perMap = 24, 300
	total := int64(perItem)
	switch v := v.(type) {
	case string:
		total += int64(len(v))
	case []string:
		for _, s := range v {
			total += perItem + int64(len(s))
		}
	case []any:
		for _, item := range v {
			total += weigh(item)
		}
	case map[string]any:
		total += perMap
		for key, item := range v {
			total += perItem + int64(len(key)) + weigh(item)
		}
	}
	return total
}
