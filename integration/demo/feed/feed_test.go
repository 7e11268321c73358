package feed_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/demo/feed"
)

func TestAwaitFindsTheFirstFromTheMarkOn(t *testing.T) {
	var f feed.Feed[int]
	f.Add(10)
	mark := f.Mark()
	go func() {
		for i := range 100 {
			f.Add(i)
		}
	}()
	got, err := f.Await(t.Context(), mark, func(i int) bool { return i >= 7 })
	if err != nil || got != 7 {
		t.Errorf("got %d, %v; want 7", got, err)
	}
	if diff := cmp.Diff([]int{10, 0}, f.Since(0)[:2]); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	var f feed.Feed[string]
	f.Add("before")
	why := errors.New("a part ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	go cancel(why)
	if _, err := f.Await(ctx, f.Mark(), func(string) bool { return true }); !errors.Is(err, why) {
		t.Errorf("error is %v, want %v", err, why)
	}
}
