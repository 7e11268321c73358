package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Options tune a Store; the zero value is good.
type Options struct {
	Log *slog.Logger // default: discards

	Timeout time.Duration // of a whole fetch; default 5 min
	Stall   time.Duration // the longest silence of a server; default 30 s

	MaxPack    int64 // bytes of one pack as sent; default 1 GiB
	MaxInflate int64 // bytes of work to unpack one pack; default 16 GiB
	MaxObjects int   // in one pack; default 500,000
	MaxFile    int64 // bytes of one file that is read; default 10 MiB
	MaxEntries int   // names that one Tree lists; default 100,000
	MaxDisk    int64 // bytes of all repositories together, above which the least used one goes; default 10 GiB
	Cache      int64 // bytes of objects kept in memory; default 16 MiB

	Now  func() time.Time                                 // default time.Now
	Wait func(ctx context.Context, d time.Duration) error // default sleeps; an error ends the waiting
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Timeout = cmp.Or(o.Timeout, 5*time.Minute)
	o.Stall = cmp.Or(o.Stall, 30*time.Second)
	o.MaxPack = cmp.Or(o.MaxPack, 1<<30)
	o.MaxInflate = cmp.Or(o.MaxInflate, 16<<30)
	o.MaxObjects = cmp.Or(o.MaxObjects, 500_000)
	o.MaxFile = cmp.Or(o.MaxFile, 10<<20)
	o.MaxEntries = cmp.Or(o.MaxEntries, 100_000)
	o.MaxDisk = cmp.Or(o.MaxDisk, 10<<30)
	o.Cache = cmp.Or(o.Cache, 16<<20)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait == nil {
		o.Wait = sleep
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Store keeps repositories on disk. All methods are safe for concurrent use.
type Store struct {
	o       Options
	slot    *slot
	door    *door
	memory  *memory
	flights *flights

	mu    sync.Mutex
	repos map[string]*repository // by token of the URL
}

// Open prepares a store in dir, which it makes when needed. Processes that are
// given the same directory take different parts of it, so that they cannot
// disturb each other; what an earlier process fetched is used again.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	slot, err := takeSlot(dir)
	if err != nil {
		return nil, fmt.Errorf("open Git store %s: %w", dir, err)
	}
	s := &Store{o: o, slot: slot, door: newDoor(o), memory: newMemory(o.Cache), flights: newFlights(), repos: map[string]*repository{}}
	entries, err := os.ReadDir(slot.dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open Git store %s: %w", dir, err), slot.release())
	}
	for _, e := range entries {
		r := newRepository(filepath.Join(slot.dir, e.Name()), s.memory, o)
		r.size = sizeOf(r.dir)
		s.repos[e.Name()] = r
	}
	return s, nil
}

// Close ends running fetches and lets another process have the directory. Trees
// stay readable.
func (s *Store) Close() error {
	s.flights.close()
	return s.slot.release()
}

// Mark is a moment in the life of the Store: a fetch whose Commit has a higher
// Sequence began after it.
func (s *Store) Mark() uint64 { return s.flights.now() }

// Tree is the tree of a commit that a Fetch of the same URL returned. A commit
// that is not in the store is a transient fault: fetch its ref first.
func (s *Store) Tree(ctx context.Context, u URL, sha string) (*Tree, error) {
	o, commit, err := s.objectsOf(ctx, u, sha)
	if err != nil {
		return nil, err
	}
	c, err := o.commit(commit)
	if err != nil {
		return nil, fault.As(fault.FetchFailed, fmt.Errorf("read commit %s of %s: %w", sha, u, err))
	}
	return &Tree{o: o, root: c.tree, maxFile: s.o.MaxFile, budget: newBudget(s.o.MaxEntries)}, nil
}

// objectsOf finds where a commit can be read.
func (s *Store) objectsOf(ctx context.Context, u URL, sha string) (*objects, plumbing.Hash, error) {
	if !plumbing.IsHash(sha) {
		return nil, plumbing.ZeroHash, fault.Refuse(fault.FetchFailed, fault.Place{}, "read commit of %s: %q is no full SHA", u, sha)
	}
	commit := plumbing.NewHash(sha)
	r := s.repository(u)
	o := r.objectsWith(commit)
	if o == nil {
		if err := r.lock(ctx); err != nil {
			return nil, commit, err
		}
		r.load()
		r.unlock()
		o = r.objectsWith(commit)
	}
	if o == nil {
		return nil, commit, fault.Retry(fault.FetchFailed, "read commit %s of %s: it is not in the store; fetch its ref", sha, u)
	}
	return o, commit, nil
}

func (s *Store) repository(u URL) *repository {
	token := event.Token(u.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[token]
	if r == nil {
		r = newRepository(filepath.Join(s.slot.dir, token), s.memory, s.o)
		s.repos[token] = r
	}
	return r
}

// makeRoom removes repositories, the least used first, until all fit on the disk.
func (s *Store) makeRoom(keep *repository) {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.repos))
	s.mu.Unlock()
	var total int64
	used := map[*repository]time.Time{}
	for _, r := range all {
		r.mu.Lock()
		used[r], total = r.used, total+r.size
		r.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b *repository) int { return used[a].Compare(used[b]) })
	for _, r := range all {
		size := r.weight()
		if total <= s.o.MaxDisk {
			return
		}
		if r != keep && size > 0 && r.drop() {
			s.o.Log.Info("removed least used Git store", slog.String("dir", r.dir), slog.Int64("bytes", size))
			total -= size
		}
	}
}
