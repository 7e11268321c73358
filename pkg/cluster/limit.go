package cluster

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	firstLimit = 32
	// A 429 is answered here while that takes no longer than a short pause;
	// longer waits are the caller's, who holds a worker slot.
	patience    = 5 * time.Second
	maxPushback = 4
)

// limit is how many requests are in flight at most. It grows by one for each
// full window of successes and halves on pushback (429), once for all requests
// that were sent before the last halving.
type limit struct {
	now     func() time.Time
	ceiling float64

	mu       sync.Mutex
	allowed  float64
	inFlight int
	halved   time.Time
	waiting  []chan struct{}
}

func newLimit(ceiling int, now func() time.Time) *limit {
	return &limit{now: now, ceiling: float64(ceiling), allowed: min(firstLimit, float64(ceiling))}
}

// acquire waits for a place, first come first served, and returns when it was got.
func (l *limit) acquire(ctx context.Context) (time.Time, error) {
	l.mu.Lock()
	if l.inFlight < int(l.allowed) && len(l.waiting) == 0 {
		l.inFlight++
		l.mu.Unlock()
		return l.now(), nil
	}
	place := make(chan struct{})
	l.waiting = append(l.waiting, place)
	l.mu.Unlock()
	select {
	case <-place:
		return l.now(), nil
	case <-ctx.Done():
		l.abandon(place)
		return time.Time{}, ctx.Err()
	}
}

// abandon leaves the queue, or gives the place back when it was handed over meanwhile.
func (l *limit) abandon(place chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiting {
		if w == place {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return
		}
	}
	l.inFlight--
	l.admit()
}

// release gives a place back and learns from how the request went.
func (l *limit) release(sent time.Time, pushback bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.inFlight >= int(l.allowed)
	l.inFlight--
	switch {
	case pushback && !sent.Before(l.halved):
		l.allowed = max(1, l.allowed/2)
		l.halved = l.now()
	case !pushback && full:
		l.allowed = min(l.ceiling, l.allowed+1/l.allowed)
	}
	l.admit()
}

func (l *limit) admit() {
	for len(l.waiting) > 0 && l.inFlight < int(l.allowed) {
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
		l.inFlight++
	}
}

func (l *limit) wrap(next http.RoundTripper) http.RoundTripper {
	return &limited{limit: l, next: next}
}

// limited sends requests within the limit. A watch counts until its answer
// begins. A request that got 429 was not carried out, so it is safe to repeat.
type limited struct {
	limit *limit
	next  http.RoundTripper
}

func (t *limited) RoundTrip(req *http.Request) (*http.Response, error) {
	spent := time.Duration(0)
	for try := 1; ; try++ {
		resp, err := t.once(req)
		if err != nil || resp.StatusCode != http.StatusTooManyRequests {
			return resp, err
		}
		wait := retryAfter(resp)
		spent += wait
		again, ok := repeat(req)
		if !ok || try == maxPushback || spent > patience || !pause(req.Context(), wait) {
			return resp, nil
		}
		resp.Body.Close()
		req = again
	}
}

func (t *limited) once(req *http.Request) (*http.Response, error) {
	sent, err := t.limit.acquire(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := t.next.RoundTrip(req)
	t.limit.release(sent, err == nil && resp.StatusCode == http.StatusTooManyRequests)
	return resp, err
}

// retryAfter is one second when the server does not say, as client-go has it.
func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return time.Second
	}
	return time.Duration(seconds) * time.Second
}

// repeat returns the request anew; a body that cannot be read again cannot be sent again.
func repeat(req *http.Request) (*http.Request, bool) {
	again := req.Clone(req.Context())
	if req.Body == nil || req.Body == http.NoBody {
		return again, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	again.Body = body
	return again, err == nil
}

func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
