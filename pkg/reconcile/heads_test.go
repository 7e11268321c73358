package reconcile

import (
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/git"
)

func TestRecentlyIsRecent(t *testing.T) {
	cases := map[string]struct {
		sawAgo time.Duration // since an event was seen; 0: none was
		same   bool          // a fetch for that event serves a request of now
	}{
		"a fetch for an event of just now serves":     {sawAgo: time.Second / 2, same: true},
		"one for an event of long ago does not":       {sawAgo: time.Hour},
		"without an event the mark is of this second": {},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store, err := git.Open(t.TempDir(), git.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			now := noon
			heads := NewHeads(store, func() time.Time { return now })
			before := store.Mark()
			if c.sawAgo > 0 {
				before = heads.Saw(7)
				now = now.Add(c.sawAgo)
			}
			if got := heads.Recently(); (got == before) != c.same || got < before {
				t.Errorf("mark %d, that of the event is %d; the same: want %v", got, before, c.same)
			}
			if first, second := heads.Recently(), heads.Recently(); first != second {
				t.Errorf("marks %d and %d within a moment: their fetches are not shared", first, second)
			}
		})
	}
}
