package git

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestPanicEndsOneFetchOnly(t *testing.T) {
	f := newFlights()
	defer f.close()
	_, err := f.do(t.Context(), "a", f.now(), func(context.Context, uint64) (Commit, error) { panic("poison") })
	if err == nil || !strings.Contains(err.Error(), "poison") {
		t.Errorf("error is %v", err)
	}
	c, err := f.do(t.Context(), "a", f.now(), func(_ context.Context, mark uint64) (Commit, error) { return Commit{SHA: "x", Sequence: mark}, nil })
	if err != nil || c.SHA != "x" {
		t.Errorf("the next fetch gives %v, %v", c, err)
	}
}

// TestNextFetchServesAllWhoCameDuringOne also covers what the newcomers get when
// the first caller has left: a fetch of their own, not the abandoned one.
func TestNextFetchServesAllWhoCameDuringOne(t *testing.T) {
	f := newFlights()
	defer f.close()
	mark := f.now() // the abandoned fetch is new enough, and yet no use
	began, cancelled := make(chan struct{}), make(chan struct{})
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := f.do(ctx, "a", f.now(), func(ctx context.Context, _ uint64) (Commit, error) {
			close(began)
			<-ctx.Done()
			<-cancelled
			return Commit{}, ctx.Err()
		})
		first <- err
	}()
	<-began
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller gets %v", err)
	}
	fetches := 0
	results := make(chan Commit, 5)
	for range 5 {
		go func() {
			c, err := f.do(t.Context(), "a", mark, func(_ context.Context, mark uint64) (Commit, error) {
				fetches++
				return Commit{SHA: "new", Sequence: mark}, nil
			})
			if err != nil {
				t.Error(err)
			}
			results <- c
		}()
	}
	close(cancelled)
	for range 5 {
		if c := <-results; c.SHA != "new" || c.Sequence <= mark {
			t.Errorf("a newcomer gets %+v, after %d", c, mark)
		}
	}
	if fetches != 1 {
		t.Errorf("%d fetches for five newcomers", fetches)
	}
}

func TestFlightsForgetIdleKeys(t *testing.T) {
	f := newFlights()
	defer f.close()
	for i := range maxKeys + 100 {
		if _, err := f.do(t.Context(), fmt.Sprint(i), f.now(), func(context.Context, uint64) (Commit, error) { return Commit{}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.keys) > maxKeys {
		t.Errorf("%d keys are remembered", len(f.keys))
	}
}

func TestForbiddenAddresses(t *testing.T) {
	for address, refused := range map[string]bool{
		"169.254.169.254:80": true, "[fe80::1]:443": true, "[fe80::1%eth0]:443": true, "[fd00:ec2::254]:80": true, "0.0.0.0:80": true, "[::]:80": true,
		"[::ffff:169.254.169.254]:80": true, "224.0.0.1:80": true, "junk": true,
		"10.0.0.1:443": false, "127.0.0.1:80": false, "140.82.121.3:443": false, "[2606:50c0::1]:443": false,
	} {
		if err := refuseAddress("tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: %v, want refused: %v", address, err, refused)
		}
	}
}

func TestLRUKeepsWhatWasUsedLast(t *testing.T) {
	c := newLRU[string, int](100)
	for i, key := range []string{"a", "b", "c", "d"} {
		c.put(key, i, 25)
	}
	c.get("a")
	c.put("e", 4, 20)
	c.put("too big", 5, 60)
	for key, kept := range map[string]bool{"a": true, "b": false, "c": true, "d": true, "e": true, "too big": false} {
		if _, ok := c.get(key); ok != kept {
			t.Errorf("%s is kept: %v, want %v", key, ok, kept)
		}
	}
}

func TestRedirectsThatAreFollowed(t *testing.T) {
	const from = "https://git.example/a.git/info/refs"
	for name, tt := range map[string]struct {
		method, to string
		followed   bool
	}{
		"another path":           {"GET", "https://git.example/b.git/info/refs", true},
		"plain http":             {"GET", "http://git.example/a.git/info/refs", false},
		"another port":           {"GET", "https://git.example:8443/a.git/info/refs", false},
		"a host below":           {"GET", "https://x.git.example/a.git/info/refs", false},
		"a request for the pack": {"POST", "https://git.example/b.git/git-upload-pack", false},
	} {
		t.Run(name, func(t *testing.T) {
			first, err := http.NewRequest(tt.method, from, nil)
			if err != nil {
				t.Fatal(err)
			}
			next, err := http.NewRequest(tt.method, tt.to, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := stayHome(next, []*http.Request{first}); (err == nil) != tt.followed {
				t.Errorf("error is %v, want followed: %v", err, tt.followed)
			}
		})
	}
}
