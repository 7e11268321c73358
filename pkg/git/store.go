package git

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
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

// Query asks for the commit of a ref.
type Query struct {
	URL        URL
	Ref        string // branch, tag, full ref, full SHA; empty is the remote's HEAD
	Credential Credential

	// Want is a commit that the ref is said to have, from a push event. It is a
	// hint and never trusted: a fetch that lacks it is repeated after 0.1, 0.3, 1
	// and 3 s, since webhooks outrun read replicas, and then returned as it is.
	Want string

	// After is a Mark: a fetch that began after it is new enough for the caller.
	// Zero means that the fetch must begin after this call.
	After uint64
}

// Commit is what a ref pointed to.
type Commit struct {
	SHA      string
	Ref      string    // full name; empty where a SHA was asked for
	Began    time.Time // when the fetch began; what was pushed before is in it
	Sequence uint64    // its place among the fetches and Marks of this Store
}

// Store keeps repositories on disk. All methods are safe for concurrent use.
type Store struct {
	o Options
}

// Open prepares a store in dir.
func Open(dir string, o Options) (*Store, error) { panic("pending") }

// Close ends running fetches. Trees stay readable.
func (s *Store) Close() error { panic("pending") }

// Mark is a moment in the life of the Store: a fetch whose Commit has a higher
// Sequence began after it.
func (s *Store) Mark() uint64 { panic("pending") }

// Fetch brings the store up to date with the remote and returns where ref is.
// There is one fetch per repository, ref and credential at a time: callers
// share it when it began after their Query.After.
func (s *Store) Fetch(ctx context.Context, q Query) (Commit, error) { panic("pending") }

// Tree is the tree of a commit that a Fetch returned.
func (s *Store) Tree(ctx context.Context, u URL, sha string) (*Tree, error) { panic("pending") }

// Refs lists the remote's refs by full name, HEAD included, each with its commit.
func (s *Store) Refs(ctx context.Context, u URL, cred Credential) (map[string]string, error) {
	panic("pending")
}

// Tree is a commit's files.
type Tree struct{ root plumbing.Hash }
