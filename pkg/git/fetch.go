package git

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Query asks for the commit of a ref, or of the newest tag in a range.
type Query struct {
	URL        URL
	Ref        string // branch, tag, full ref, full SHA; empty is the remote's HEAD
	Semver     string // a range over tags, as of Newest, in place of Ref
	Credential Credential

	// Want is a commit that the ref is said to have, from a push event. It is a
	// hint and never trusted: a fetch that lacks it is repeated after 0.1, 0.3, 1
	// and 3 s, since webhooks outrun read replicas, and then returned as it is.
	Want string

	// WantRef is the full name of the ref whose push Want tells of; empty: that of
	// Ref. With Semver it says whether the push can have changed the choice.
	WantRef string

	// After is a Mark: a fetch that began after it is new enough for the caller.
	// Zero means that the fetch must begin after this call.
	After uint64
}

// Commit is what a ref pointed to.
type Commit struct {
	SHA      string
	Ref      string    // full name, such as refs/tags/v1.4.2; empty where a SHA was asked for
	Tag      string    // SHA of the tag itself, where Ref is an annotated tag
	Began    time.Time // when the fetch began; what was pushed before is in it
	Sequence uint64    // its place among the fetches and Marks of this Store
}

// lag is how long to wait for read replicas of a Git host.
var lag = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second}

// Fetch brings the store up to date with the remote and returns where the ref
// is. There is one fetch per repository, ref and credential at a time: callers
// share it when it began after their Query.After. The fetch goes on when a
// caller's ctx ends, unless it was the last one who waited.
func (s *Store) Fetch(ctx context.Context, q Query) (Commit, error) {
	if err := q.check(); err != nil {
		return Commit{}, err
	}
	if q.After == 0 {
		q.After = s.Mark()
	}
	for i := 0; ; i++ {
		c, err := s.shared(ctx, q)
		if err != nil || i == len(lag) || !s.lacks(q, c) {
			return c, err
		}
		s.o.Log.Debug("ref lacks the announced commit", slog.String("repo", q.URL.Repo()), slog.String("ref", c.Ref),
			slog.String("sha", c.SHA), slog.String("want", q.Want), slog.Duration("wait", lag[i]))
		if err := s.o.Wait(ctx, lag[i]); err != nil {
			return Commit{}, fault.Retry(fault.FetchFailed, "wait for commit %s of %s: %w", q.Want, q.URL, err)
		}
		q.After = s.Mark()
	}
}

func (q *Query) check() (err error) {
	if q.Semver != "" && q.Ref != "" {
		return fault.Refuse(fault.SourceRefused, semverField, "ref %q and semver %q are both given; remove one", q.Ref, q.Semver)
	}
	q.Ref, err = checkRef(q.Ref)
	return err
}

func (s *Store) contains(q Query, c Commit) bool {
	commit := plumbing.NewHash(c.SHA)
	o := s.repository(q.URL).objectsWith(commit)
	if o == nil {
		return true // replaced meanwhile: another fetch would not tell more
	}
	found, err := o.contains(commit, plumbing.NewHash(q.Want))
	return found || err != nil
}

func (s *Store) shared(ctx context.Context, q Query) (Commit, error) {
	key := strings.Join([]string{q.URL.String(), q.Ref, q.Semver, q.Credential.Key()}, "\x00")
	c, err := s.flights.do(ctx, key, q.After, func(ctx context.Context, mark uint64) (Commit, error) {
		return s.fetch(ctx, q, mark)
	})
	return c, fault.As(fault.FetchFailed, err)
}

func (s *Store) fetch(ctx context.Context, q Query, mark uint64) (Commit, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, fmt.Errorf("it took longer than %s", s.o.Timeout))
	defer cancel()
	c := Commit{Began: s.o.Now(), Sequence: mark}
	from, l, err := s.door.converse(ctx, q.URL, q.Credential)
	if err != nil {
		return Commit{}, err
	}
	defer from.close()
	t, err := l.pick(q)
	if err != nil {
		return Commit{}, fmt.Errorf("fetch %s: %w", q.URL, err)
	}
	r := s.repository(q.URL)
	if err := r.update(ctx, from, l, t); err != nil {
		return Commit{}, err
	}
	s.makeRoom(r)
	c.SHA, c.Ref = t.commit.String(), t.name
	if t.name != "" && t.want != t.commit {
		c.Tag = t.want.String()
	}
	return c, nil
}

// Refs lists the remote's refs by full name, HEAD included, each with its
// commit. Nothing is stored.
func (s *Store) Refs(ctx context.Context, u URL, cred Credential) (map[string]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, fmt.Errorf("it took longer than %s", s.o.Timeout))
	defer cancel()
	from, l, err := s.door.converse(ctx, u, cred)
	if err != nil {
		return nil, err
	}
	from.close()
	return l.commits(), nil
}
