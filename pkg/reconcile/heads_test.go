package reconcile

import (
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/git"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
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

func TestSawServesItsOwnEventAlone(t *testing.T) {
	cases := map[string]struct {
		then uint64        // the sequence seen after 7 and 9
		ago  time.Duration // how long after them
		same bool          // the mark of 9 serves it
	}{
		"the requests of one push share a fetch":               {then: 9, ago: time.Second, same: true},
		"another event begins anew":                            {then: 10, ago: time.Second},
		"so does a low number: the stream may have been wiped": {then: 8, ago: time.Second},
		"and an equal one after a while":                       {then: 9, ago: time.Hour},
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
			heads.Saw(7)
			before := heads.Saw(9)
			now = now.Add(c.ago)
			if got := heads.Saw(c.then); (got == before) != c.same {
				t.Errorf("mark %d, that of the event before is %d; the same: want %v", got, before, c.same)
			}
		})
	}
}

func TestMarkOfARequest(t *testing.T) {
	cases := map[string]struct {
		request *eventsv1.SyncRequested
		waited  bool
		fresh   bool // the fetch begins with the attempt
	}{
		"a push shares the fetch of its routing": {request: &eventsv1.SyncRequested{Reason: event.ReasonPush, EventSequence: 7}},
		"a new spec shares those of its second":  {request: &eventsv1.SyncRequested{Reason: event.ReasonSpec}},
		"what a person asks looks for itself":    {request: &eventsv1.SyncRequested{Reason: event.ReasonManual}, fresh: true},
		"so does a push that waited for the lease, since a newer one may have gone before it": {
			request: &eventsv1.SyncRequested{Reason: event.ReasonPush, EventSequence: 7}, waited: true, fresh: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store, err := git.Open(t.TempDir(), git.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			r := &Reconciler{heads: NewHeads(store, func() time.Time { return noon })}
			if got := r.mark(c.request, c.waited); (got == 0) != c.fresh {
				t.Errorf("mark = %d, fresh should be %v", got, c.fresh)
			}
		})
	}
}
