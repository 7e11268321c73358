package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// clock is moved by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func TestLimit(t *testing.T) {
	at := &clock{time.Unix(1000, 0)}
	take := func(t *testing.T, l *limit) time.Time {
		t.Helper()
		sent, err := l.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return sent
	}
	t.Run("it grows by about one in as many full windows as it is wide", func(t *testing.T) {
		l := newLimit(100, at.now)
		l.allowed = 4
		for range 4 {
			var sent []time.Time
			for range 4 {
				sent = append(sent, take(t, l))
			}
			for _, s := range sent {
				l.release(s, false)
			}
		}
		if l.allowed < 4.9 || l.allowed > 5 {
			t.Errorf("allowed is %v", l.allowed)
		}
	})
	t.Run("a window that is not full does not grow", func(t *testing.T) {
		l := newLimit(100, at.now)
		for range 100 {
			l.release(take(t, l), false)
		}
		if l.allowed != firstLimit {
			t.Errorf("allowed is %v", l.allowed)
		}
	})
	t.Run("it never grows over the ceiling", func(t *testing.T) {
		l := newLimit(1, at.now)
		for range 10 {
			l.release(take(t, l), false)
		}
		if l.allowed != 1 {
			t.Errorf("allowed is %v", l.allowed)
		}
	})
	t.Run("requests of one burst halve it once", func(t *testing.T) {
		l := newLimit(100, at.now)
		a, b := take(t, l), take(t, l)
		at.pass(time.Second)
		l.release(a, true)
		l.release(b, true)
		if l.allowed != firstLimit/2 {
			t.Errorf("allowed is %v", l.allowed)
		}
		at.pass(time.Second)
		l.release(take(t, l), true)
		if l.allowed != firstLimit/4 {
			t.Errorf("after a later 429 allowed is %v", l.allowed)
		}
	})
	t.Run("it never falls under one", func(t *testing.T) {
		l := newLimit(100, at.now)
		for range 20 {
			at.pass(time.Second)
			l.release(take(t, l), true)
		}
		if l.allowed != 1 {
			t.Errorf("allowed is %v", l.allowed)
		}
	})
	t.Run("who waits is served in order", func(t *testing.T) {
		l := newLimit(1, at.now)
		first := take(t, l)
		order := make(chan int)
		for i := range 3 {
			go func() {
				sent, err := l.acquire(context.Background())
				if err == nil {
					order <- i
					l.release(sent, false)
				}
			}()
			waitFor(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.waiting) == i+1 })
		}
		l.release(first, false)
		for want := range 3 {
			if got := <-order; got != want {
				t.Errorf("%d was served when %d was first in line", got, want)
			}
		}
	})
	t.Run("who gives up leaves its place to others", func(t *testing.T) {
		l := newLimit(1, at.now)
		first := take(t, l)
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() { _, err := l.acquire(ctx); gaveUp <- err }()
		waitFor(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.waiting) == 1 })
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		l.release(first, false)
		l.release(take(t, l), false)
		if l.inFlight != 0 || len(l.waiting) != 0 {
			t.Errorf("%d in flight, %d waiting at the end", l.inFlight, len(l.waiting))
		}
	})
}

// waitFor looks until a condition set by another goroutine holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatal("it never held")
		}
		pause(t.Context(), time.Millisecond)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPushback(t *testing.T) {
	cases := map[string]struct {
		answers []string // Retry-After of each 429; what is not listed is 200
		tries   int
		code    int
	}{
		"no pushback":                   {nil, 1, 200},
		"one 429 is answered here":      {[]string{"0"}, 2, 200},
		"the fourth is the caller's":    {[]string{"0", "0", "0", "0"}, 4, 429},
		"a long wait is the caller's":   {[]string{"60"}, 1, 429},
		"waits that add up to too long": {[]string{"0", "60"}, 2, 429},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			tries := 0
			next := roundTrip(func(r *http.Request) (*http.Response, error) {
				if body, _ := io.ReadAll(r.Body); string(body) != "body" {
					t.Errorf("try %d sent %q", tries+1, body)
				}
				tries++
				if tries <= len(tc.answers) {
					return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {tc.answers[tries-1]}}, Body: http.NoBody}, nil
				}
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			})
			l := newLimit(10, time.Now)
			req, err := http.NewRequestWithContext(t.Context(), "PATCH", "http://localhost/", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := l.wrap(next).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if tries != tc.tries || resp.StatusCode != tc.code {
				t.Errorf("%d tries ended with %d, want %d with %d", tries, resp.StatusCode, tc.tries, tc.code)
			}
			if l.inFlight != 0 {
				t.Errorf("%d places are still taken", l.inFlight)
			}
		})
	}
}
