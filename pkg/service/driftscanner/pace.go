package driftscanner

import (
	"sync"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
)

const (
	// freely is how many requests in a row go out without a wait.
	freely = 5
	// longest is the longest wait between two requests for one Application.
	longest = time.Minute
	// calm is after how long without a request the count begins anew.
	calm = 5 * time.Minute
)

// pace slows down requests for an Application whose objects drift again and
// again: two controllers that disagree would otherwise keep the cluster busy.
type pace struct {
	now func() time.Time

	mu   sync.Mutex
	last map[app.Key]stride
}

type stride struct {
	at    time.Time
	count int
}

// next is how long to wait before a request; 0 takes the turn.
func (p *pace) next(key app.Key) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, s := p.now(), p.last[key]
	if now.Sub(s.at) > calm {
		s.count = 0
	}
	if s.count >= freely {
		wait := min(time.Second<<min(s.count-freely, 10), longest)
		if left := s.at.Add(wait).Sub(now); left > 0 {
			return left
		}
	}
	p.last[key] = stride{at: now, count: s.count + 1}
	return 0
}

func (p *pace) forget(key app.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, key)
}
