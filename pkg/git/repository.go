package git

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// growth is how far a generation may grow beyond what its first packs weighed.
const (
	growthFactor = 3
	growthSlack  = 64 << 20
)

// repository is what the store keeps of one URL.
type repository struct {
	dir    string
	memory *memory
	o      Options
	busy   chan struct{} // held by who changes it

	mu       sync.Mutex
	current  *generation
	previous *generation // so that a commit just fetched can still be read
	used     time.Time
	size     int64 // bytes on disk
}

func newRepository(dir string, m *memory, o Options) *repository {
	return &repository{dir: dir, memory: m, o: o, busy: make(chan struct{}, 1), used: o.Now()}
}

func (r *repository) lock(ctx context.Context) error {
	select {
	case r.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Retry(fault.FetchFailed, "wait for another fetch of the repository: %w", context.Cause(ctx))
	}
}

func (r *repository) unlock() { <-r.busy }

// load finds the newest generation on disk, once; nil when there is none. The
// caller holds busy.
func (r *repository) load() *generation {
	r.mu.Lock()
	g := r.current
	r.mu.Unlock()
	if g != nil {
		return g
	}
	for _, n := range slices.Backward(r.generations()) {
		dir := r.place(n)
		if g == nil {
			var err error
			if g, err = openGeneration(dir, r.memory); err == nil {
				r.publish(g)
				continue
			}
			r.o.Log.Warn("replace damaged Git store", slog.String("dir", dir), slog.Any("error", err))
		}
		r.discard(dir)
	}
	return g
}

// generations are the numbers of those on disk, oldest first.
func (r *repository) generations() []int {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func (r *repository) place(n int) string { return filepath.Join(r.dir, fmt.Sprintf("%06d", n)) }

func (r *repository) discard(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		r.o.Log.Warn("remove Git store", slog.String("dir", dir), slog.Any("error", err))
	}
}

func (r *repository) publish(g *generation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != g {
		r.previous, r.current = r.current, g
	}
	r.used, r.size = r.o.Now(), g.bytes()
}

// objectsWith are those of a generation that holds the commit; nil when none does.
func (r *repository) objectsWith(commit plumbing.Hash) *objects {
	r.mu.Lock()
	generations := []*generation{r.current, r.previous}
	r.used = r.o.Now()
	r.mu.Unlock()
	for _, g := range generations {
		if g == nil {
			continue
		}
		if o := g.objects(); o.has(commit) {
			return o
		}
	}
	return nil
}

// update makes the target complete in the store.
func (r *repository) update(ctx context.Context, from *remote, l listing, t target) error {
	if err := r.lock(ctx); err != nil {
		return err
	}
	defer r.unlock()
	g := r.load()
	if g == nil || g.suspect.Load() || g.bytes() > growthFactor*g.base+growthSlack {
		return r.fresh(ctx, from, l, t)
	}
	if r.settled(g, t) {
		r.publish(g)
		return nil
	}
	err := r.extend(ctx, g, from, l, t)
	var classified *fault.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, errors.As(err, &classified) && !tooMuch(err):
		return err
	case tooMuch(err):
		// An old branch drags its whole history along; take it without.
		return r.without(ctx, g, from, l, t)
	}
	r.o.Log.Warn("replace Git store", slog.String("repo", from.url.Repo()), slog.Any("error", err))
	return r.fresh(ctx, from, l, t)
}

func tooMuch(err error) bool {
	return errors.Is(err, errTooBig) || errors.Is(err, errWork) || errors.Is(err, errObjects)
}

// settled says whether everything of the target is in the store already.
func (r *repository) settled(g *generation, t target) bool {
	if slices.Contains(g.tips, t.commit) {
		return true
	}
	o := g.objects()
	return o.has(t.commit) && o.verify(t.commit, g.tips) == nil && g.complete(t.commit, nil) == nil
}

// extend asks for what the store lacks. The shallow commits must be told along
// with the tips, else the server counts on history that is not there.
func (r *repository) extend(ctx context.Context, g *generation, from *remote, l listing, t target) error {
	q := request{
		want: t.want, haves: slices.Clone(g.tips), shallows: slices.Clone(g.shallows),
		limit: min(r.o.MaxPack, max(32<<20, g.bytes())),
	}
	return r.take(ctx, g, from, q, t, l.shallows)
}

// without asks for the commit without its history.
func (r *repository) without(ctx context.Context, g *generation, from *remote, l listing, t target) error {
	return r.take(ctx, g, from, request{want: t.want, shallow: true, limit: r.o.MaxPack}, t, l.shallows)
}

// fresh begins a generation; the one before stays until the new one is complete.
func (r *repository) fresh(ctx context.Context, from *remote, l listing, t target) error {
	return r.replace(func(g *generation) error { return r.without(ctx, g, from, l, t) })
}

// dig makes a commit complete that the server does not give out by itself, by
// asking for the whole history of a target that should contain it.
func (r *repository) dig(ctx context.Context, from *remote, l listing, t target, commit plumbing.Hash) error {
	if err := r.lock(ctx); err != nil {
		return err
	}
	defer r.unlock()
	wanted := target{want: commit, commit: commit}
	g := r.load()
	switch {
	case g != nil && r.settled(g, wanted):
		r.publish(g)
		return nil
	case g != nil && !g.suspect.Load() && len(g.shallows) == 0:
		if err := r.extend(ctx, g, from, l, t); err != nil {
			return err
		}
	default:
		all := request{want: t.want, limit: r.o.MaxPack}
		if err := r.replace(func(g *generation) error { return r.take(ctx, g, from, all, t, l.shallows) }); err != nil {
			return err
		}
		g = r.load()
	}
	if !r.settled(g, wanted) {
		return fault.Refuse(fault.FetchFailed, fault.Place{},
			"fetch %s: the server does not give out commit %s by itself, and %s does not contain it; push it to a branch, and name that branch in .gitmodules", from.url, commit, describe(t))
	}
	return nil
}

// replace begins a generation that fill makes complete.
func (r *repository) replace(fill func(*generation) error) error {
	n := 1
	if all := r.generations(); len(all) > 0 {
		n = all[len(all)-1] + 1
	}
	g, err := newGeneration(r.place(n), r.memory)
	if err != nil {
		return fault.As(fault.FetchFailed, err)
	}
	if err := fill(g); err != nil {
		r.discard(g.dir)
		return err
	}
	for _, old := range r.generations() {
		if old != n {
			r.discard(r.place(old))
		}
	}
	return nil
}

// take stores one pack and, when the target is complete with it, says so.
func (r *repository) take(ctx context.Context, g *generation, from *remote, q request, t target, ends []plumbing.Hash) error {
	a, err := from.pack(ctx, q)
	if err != nil {
		return err
	}
	size, err := g.add(ctx, a, packLimits{work: r.o.MaxInflate, objects: r.o.MaxObjects})
	if err = errors.Join(err, a.close()); err != nil {
		return r.explain(a, q, err)
	}
	if len(q.haves) == 0 {
		g.base += size
	}
	if err := r.check(g, from, t); err != nil {
		return err
	}
	if err := g.complete(t.commit, slices.Concat(ends, a.shallows)); err != nil {
		return fault.As(fault.FetchFailed, err)
	}
	if err := g.tidy(); err != nil {
		r.o.Log.Warn("tidy Git store", slog.String("repo", from.url.Repo()), slog.Any("error", err))
	}
	r.publish(g)
	return nil
}

// explain classifies an error of reading a pack. What may be the store's fault
// stays unclassified, when there is a store to blame: a fresh one is tried next.
func (r *repository) explain(a *answer, q request, err error) error {
	if errors.Is(err, errMalformed) && !q.shallow {
		return err
	}
	return a.explain(err)
}

// check reads back what a fetch brought.
func (r *repository) check(g *generation, from *remote, t target) error {
	o := g.objects()
	before := g.tips
	if g.suspect.Load() {
		before = nil
	}
	err := o.verify(t.commit, before)
	switch {
	case err == nil:
		return nil
	case damaged(err) && len(g.tips) > 0:
		return err
	case damaged(err):
		return fault.Retry(fault.FetchFailed, "fetch %s: the server left out part of commit %s: %w", from.url, t.commit, err)
	}
	return fault.Refuse(fault.FetchFailed, fault.Place{}, "fetch %s: %s is no commit: %w", from.url, describe(t), err)
}

func describe(t target) string {
	if t.name != "" {
		return t.name
	}
	return t.commit.String()
}

// weight is how many bytes it holds on disk.
func (r *repository) weight() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size
}

// drop removes the repository from disk unless someone is changing it. Trees of
// it stay readable.
func (r *repository) drop() bool {
	select {
	case r.busy <- struct{}{}:
	default:
		return false
	}
	defer r.unlock()
	r.mu.Lock()
	r.current, r.previous, r.size = nil, nil, 0
	r.mu.Unlock()
	r.discard(r.dir)
	return true
}
