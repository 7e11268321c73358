package git_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

func TestWantedCommitIsWaitedFor(t *testing.T) {
	tests := map[string]struct {
		arrives int // after this many waits; negative: never
		waits   []time.Duration
	}{
		"it is there":            {0, nil},
		"it comes a bit later":   {2, []time.Duration{100 * time.Millisecond, 300 * time.Millisecond}},
		"it comes at the end":    {4, []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second}},
		"it never comes":         {-1, []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second}},
		"a newer one came along": {1, []time.Duration{100 * time.Millisecond}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var waits []time.Duration
			var arrive func()
			s := newSite(t, gitserver.Options{}, git.Options{Wait: func(_ context.Context, d time.Duration) error {
				waits = append(waits, d)
				if len(waits) == tt.arrives {
					arrive()
				}
				return nil
			}})
			old := s.push(map[string]string{"f": "1"})
			want, err := s.repo.Commit(t.Context(), "wanted", map[string][]byte{"f": []byte("2")})
			if err != nil {
				t.Fatal(err)
			}
			arrive = func() {
				if err := s.repo.Push(t.Context()); err != nil {
					t.Error(err)
				}
			}
			newest := want
			if strings.HasPrefix(name, "a newer") {
				if newest, err = s.repo.Commit(t.Context(), "newer", nil); err != nil {
					t.Fatal(err)
				}
			}
			if tt.arrives == 0 {
				arrive()
			}
			if tt.arrives < 0 {
				newest = old
			}
			c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: "main", Want: want})
			if err != nil || c.SHA != newest {
				t.Errorf("got %s (%v), want %s", c.SHA, err, newest)
			}
			if diff := cmp.Diff(tt.waits, waits); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCallerWhoLeavesDoesNotEndTheFetchOfOthers(t *testing.T) {
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	s := newSite(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("service") == "git-upload-pack" {
				arrived <- struct{}{}
				<-release
			}
			next.ServeHTTP(w, r)
		})
	}}, git.Options{})
	s.push(map[string]string{"f": "1"})
	mark := s.store.Mark()
	q := git.Query{URL: s.url(), After: mark}
	ctx, leave := context.WithCancel(t.Context())
	left, stayed := make(chan error, 1), make(chan error, 1)
	go func() { _, err := s.store.Fetch(ctx, q); left <- err }()
	<-arrived
	go func() { _, err := s.store.Fetch(t.Context(), q); stayed <- err }()
	go func() { _, _ = s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: "refs/heads/main"}) }()
	<-arrived // the other ref is on its way, so the second caller has had its turn
	leave()
	wantFault(t, <-left, fault.Transient, fault.FetchFailed)
	close(release)
	if err := <-stayed; err != nil {
		t.Error(err)
	}
}

func TestClosedStoreFetchesNoMore(t *testing.T) {
	s := newSite(t, gitserver.Options{Wrap: answers(false, silent(""))}, git.Options{})
	s.push(map[string]string{"f": "1"})
	done := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		_, err := s.store.Fetch(context.Background(), git.Query{URL: s.url()})
		done <- err
	}()
	<-started
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	wantFault(t, <-done, fault.Transient, fault.FetchFailed)
}

func TestFetchThatTakesTooLongEnds(t *testing.T) {
	s := newSite(t, gitserver.Options{Wrap: answers(true, silent("00000008NAK\n"))}, git.Options{Timeout: 300 * time.Millisecond})
	s.push(map[string]string{"f": "1"})
	_, err := s.store.Fetch(t.Context(), git.Query{URL: s.url()})
	wantFault(t, err, fault.Transient, fault.FetchFailed, "longer than 300ms")
}
