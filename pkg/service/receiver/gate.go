package receiver

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// gate bounds how many requests are worked on and how much memory their bodies take.
type gate struct {
	slots chan struct{}
	free  atomic.Int64 // bytes left for bodies beyond the first part of each
	most  int64        // bytes of one body
	first sync.Pool    // first parts, as *[]byte
}

// firstPart is what every request may hold without asking, so that ordinary
// deliveries get through while somebody sends huge ones.
const firstPart = 64 << 10

var (
	errTooLarge = errors.New("body is too large")
	errBusy     = errors.New("too many large bodies at once")
)

func newGate(l Limits) *gate {
	g := &gate{slots: make(chan struct{}, l.InFlight), most: l.Body}
	g.free.Store(l.Memory)
	g.first.New = func() any { part := make([]byte, 0, min(firstPart, g.most+1)); return &part }
	return g
}

// enter takes a slot; false when all are taken. Each true wants one leave.
func (g *gate) enter() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g *gate) leave() { <-g.slots }

func (g *gate) reserve(n int64) bool {
	if g.free.Add(-n) < 0 {
		g.free.Add(n)
		return false
	}
	return true
}

// body is a request's body with the memory reserved for it. Its bytes are
// another's after its release.
type body struct {
	bytes    []byte
	gate     *gate
	first    *[]byte
	reserved int64
}

// read takes at most the limit, growing step by step: a length that is only
// announced costs nothing. The body is to be released in every case.
func (g *gate) read(src io.Reader) (*body, error) {
	b := &body{gate: g, first: g.first.Get().(*[]byte)}
	b.bytes = *b.first
	for {
		n, err := src.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case int64(len(b.bytes)) > g.most:
			return b, errTooLarge
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		case len(b.bytes) == cap(b.bytes) && !b.grow():
			return b, errBusy
		}
	}
}

func (b *body) grow() bool {
	size := min(2*int64(cap(b.bytes)), b.gate.most+1)
	if !b.gate.reserve(size - b.reserved) {
		return false
	}
	b.reserved = size
	grown := make([]byte, len(b.bytes), size)
	copy(grown, b.bytes)
	b.bytes = grown
	return true
}

func (b *body) release() {
	b.gate.free.Add(b.reserved)
	if b.first != nil {
		b.gate.first.Put(b.first)
	}
	b.bytes, b.first, b.reserved = nil, nil, 0
}
