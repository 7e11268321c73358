package bus

import (
	"context"
	"sync"
	"time"
)

// line tells the life of the connection to those who wait on it.
type line struct {
	mu      sync.Mutex
	current context.Context // nil while down
	cut     context.CancelFunc
	raised  chan struct{} // closed while up
	next    chan struct{} // closed when it comes up the next time
}

func newLine() *line { return &line{raised: make(chan struct{}), next: make(chan struct{})} }

func (l *line) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		return
	}
	l.current, l.cut = context.WithCancel(context.Background())
	close(l.raised)
	close(l.next)
	l.next = make(chan struct{})
}

func (l *line) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return
	}
	l.cut()
	l.current = nil
	l.raised = make(chan struct{})
}

// session ends when the connection goes; nil while there is none.
func (l *line) session() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// isUp is closed once there is a connection.
func (l *line) isUp() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raised
}

// returns is closed the next time that the connection comes up.
func (l *line) returns() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

func (l *line) waitBriefly(ctx context.Context, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-l.isUp():
	case <-timer.C:
	case <-ctx.Done():
	}
}
