package reconcile

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/route"
)

// Heads lets one fetch serve all who may be content with it, and knows the newest
// commit of each ref that this process fetched. A fetch that began after the
// process saw an event serves every request that the event led to.
type Heads struct {
	store *git.Store
	now   func() time.Time

	mu     sync.Mutex
	seen   []sighting // newest last
	ticked time.Time
	tick   uint64 // mark of ticked; no older than the newest sighting
	newest map[headKey]git.Commit

	unmoved map[app.Key]unmoved
}

// unmoved is what an Application that is made of several sources would be made of, and
// that an attempt after this one would find nothing to do at it.
type unmoved struct {
	attempt int64
	route.Commit
}

// maxUnmoved bounds the memory; what is forgotten is looked at once more.
const maxUnmoved = 10_000

type headKey struct {
	repo, ref, semver string
}

// sighting is the moment, as a mark of the store, at which an event was seen.
type sighting struct {
	sequence, mark uint64
	at             time.Time
}

const (
	// maxSightings bounds the memory; requests for older events begin a fetch.
	maxSightings = 256
	// seenFor is how long a sighting stands for its event: a stream that is made
	// anew gives its numbers to other events.
	seenFor = time.Minute
	// recently is how old a fetch may be that serves a request without an event.
	recently = time.Second
)

// NewHeads returns Heads over a store.
func NewHeads(store *git.Store, now func() time.Time) *Heads {
	return &Heads{store: store, now: now, newest: map[headKey]git.Commit{}, unmoved: map[app.Key]unmoved{}}
}

// Saw tells that an event of PLUMB_EVENTS reached this process, and returns the
// mark after which a fetch has to begin to serve it.
func (h *Heads) Saw(sequence uint64) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	for _, s := range h.seen {
		if s.sequence == sequence && now.Sub(s.at) < seenFor {
			return s.mark
		}
	}
	s := sighting{sequence: sequence, at: now, mark: h.store.Mark()}
	h.ticked, h.tick = now, s.mark
	if h.seen = append(h.seen, s); len(h.seen) > maxSightings {
		h.seen = h.seen[1:]
	}
	return s.mark
}

// Recently is a mark at most a second old, and no older than the newest event
// that was seen, for requests that no event led to.
func (h *Heads) Recently() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now(); now.Sub(h.ticked) > recently {
		h.ticked, h.tick = now, h.store.Mark()
	}
	return h.tick
}

// At returns the commit of a ref or range by a fetch that began after q.After.
func (h *Heads) At(ctx context.Context, q git.Query) (git.Commit, error) {
	commit, err := h.store.Fetch(ctx, q)
	if err != nil {
		return git.Commit{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := headKey{repo: q.URL.Repo(), ref: q.Ref, semver: q.Semver}
	if commit.Sequence >= h.newest[key].Sequence {
		h.newest[key] = commit
	}
	return commit, nil
}

// Newest returns the commit that the newest fetch of a ref, or of a range over tags, found.
func (h *Heads) Newest(u git.URL, ref, semver string) (git.Commit, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	commit, known := h.newest[headKey{repo: u.Repo(), ref: ref, semver: semver}]
	return commit, known
}

// Unmoved notes that there is nothing to do for an Application at what it would be made
// of. The status does not say so: what touches nothing is not written there.
func (h *Heads) Unmoved(a *v1alpha1.Application, at route.Commit) {
	if a.Status.LastAttempt == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.unmoved) >= maxUnmoved {
		clear(h.unmoved)
	}
	h.unmoved[a.Key()] = unmoved{a.Status.LastAttempt.Number, at}
}

// Moves says whether a commit of one of an Application's sources, "" for its own, may
// be one that it has to be brought to: no look at it has found nothing to do.
func (h *Heads) Moves(a *v1alpha1.Application, name, sha string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen, known := h.unmoved[a.Key()]
	if !known || a.Status.LastAttempt == nil || seen.attempt != a.Status.LastAttempt.Number {
		return true
	}
	if name == "" {
		return seen.SHA != sha
	}
	return !slices.Contains(seen.Sources, v1alpha1.SourceRevision{Name: name, Revision: sha})
}
