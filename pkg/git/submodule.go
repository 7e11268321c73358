package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sync/errgroup"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

const (
	maxModules     = 64 // submodules of one commit, theirs included
	maxModuleDepth = 8  // submodules of submodules
	moduleFetches  = 4  // under way at a time, at each depth
)

// SubmoduleTree is the tree of a commit that Fetch returned for the query, with
// the submodules that .gitmodules describes at their places, and theirs. Each is
// fetched at the commit that the tree names, from the host and scheme of the query's
// URL only, with the query's credential; allow says which repositories of that host
// may be read (nil: all). Where the server gives out nothing but the tips of
// refs, that commit is looked for in the history of the branch of .gitmodules, else
// in that of HEAD. What is against the rules, too deep or too much is a permanent
// fault that names the submodule's path.
func (s *Store) SubmoduleTree(ctx context.Context, q Query, c Commit, allow func(URL) error) (tree.Tree, error) {
	if allow == nil {
		allow = func(URL) error { return nil }
	}
	root, err := s.Tree(ctx, q.URL, c.SHA)
	if err != nil {
		return nil, err
	}
	a := &assembly{store: s, credential: q.Credential, allow: allow, began: c.Sequence, budget: root.budget, branch: c.Ref}
	return a.fill(ctx, q.URL, root, "", 1)
}

// assembly is a tree with its submodules in the making.
type assembly struct {
	store      *Store
	credential Credential
	allow      func(URL) error
	began      uint64 // of the fetch of the root: submodules are fetched once after it
	branch     string // of the root
	budget     *budget
	count      atomic.Int32
}

// fill mounts the submodules of a tree, which stands at place.
func (a *assembly) fill(ctx context.Context, u URL, t *Tree, place string, depth int) (tree.Tree, error) {
	modules, err := t.modules()
	if err != nil {
		return nil, within(place, err)
	}
	if depth > maxModuleDepth && len(modules) > 0 {
		return nil, refuseFile(path.Join(place, modules[0].path), "submodules are nested more than %d deep", maxModuleDepth)
	}
	filled := make([]tree.Tree, len(modules))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(moduleFetches)
	for i, m := range modules {
		group.Go(func() (err error) {
			filled[i], err = a.module(ctx, u, m, path.Join(place, m.path), depth)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	at := map[string]tree.Tree{}
	for i, m := range modules {
		at[m.path] = filled[i]
	}
	whole, err := tree.Mount(t, at)
	return whole, within(place, err)
}

func (a *assembly) module(ctx context.Context, parent URL, m linked, place string, depth int) (tree.Tree, error) {
	if a.count.Add(1) > maxModules {
		return nil, refuseFile(place, "there are more than %d submodules", maxModules)
	}
	u, err := parent.submodule(m.url)
	if err == nil {
		err = a.allow(u)
	}
	if err != nil {
		return nil, within(place, fmt.Errorf("read the submodule's url: %w", err))
	}
	t, err := a.fetch(ctx, u, m)
	if err != nil {
		return nil, within(place, fmt.Errorf("fetch the submodule: %w", err))
	}
	t.budget = a.budget
	return a.fill(ctx, u, t, place, depth+1)
}

// within says in which submodule an error arose. Its class stays.
func within(place string, err error) error {
	if err == nil || place == "" {
		return err
	}
	class, wait := fault.ClassOf(err)
	reason := fault.ReasonOf(err)
	if reason == "" {
		reason = fault.FetchFailed
	}
	return &fault.Error{Class: class, Reason: reason, After: wait, Place: fault.Place{File: place}, Err: err}
}

// fetch gets the commit of a submodule. It always asks the server, which decides
// whether this credential may read the repository, whoever has fetched it before.
func (a *assembly) fetch(ctx context.Context, u URL, m linked) (*Tree, error) {
	q := Query{URL: u, Ref: m.sha, Credential: a.credential, After: a.began}
	_, err := a.store.Fetch(ctx, q)
	if errors.Is(err, errNotOffered) {
		q.Ref = m.branch
		if m.branch == "." {
			q.Ref = strings.TrimPrefix(a.branch, branchDir)
		}
		err = a.store.fetchWithin(ctx, q, m.sha)
	}
	if err != nil {
		return nil, err
	}
	return a.store.Tree(ctx, u, m.sha)
}

// fetchWithin gets a commit out of the history of a ref.
func (s *Store) fetchWithin(ctx context.Context, q Query, sha string) error {
	if err := q.check(); err != nil {
		return err
	}
	key := strings.Join([]string{"within", q.URL.String(), q.Ref, sha, q.Credential.Key()}, "\x00")
	_, err := s.flights.do(ctx, key, q.After, func(ctx context.Context, mark uint64) (Commit, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, fmt.Errorf("it took longer than %s", s.o.Timeout))
		defer cancel()
		from, l, err := s.door.converse(ctx, q.URL, q.Credential)
		if err != nil {
			return Commit{}, err
		}
		defer from.close()
		t, err := l.choose(q.Ref)
		if err != nil {
			return Commit{}, fmt.Errorf("fetch %s: %w", q.URL, err)
		}
		r := s.repository(q.URL)
		if err := r.dig(ctx, from, l, t, plumbing.NewHash(sha)); err != nil {
			return Commit{}, err
		}
		s.makeRoom(r)
		return Commit{SHA: sha, Sequence: mark, Began: s.o.Now()}, nil
	})
	return fault.As(fault.FetchFailed, err)
}

// submodule is the repository that a url of .gitmodules names: relative to this one
// where it begins with ./ or ../, see git-submodule(1), else on the same host.
func (u URL) submodule(raw string) (URL, error) {
	if strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		absolute, err := u.relative(raw)
		if err != nil {
			return URL{}, err
		}
		raw = absolute
	}
	sub, err := ParseURL(raw, []string{u.hostname()}) // this host was found good, with its scheme
	if err != nil {
		return URL{}, err
	}
	switch {
	case sub.plainHost() != u.plainHost():
		return URL{}, refuseURL("it is on another host than the repository; submodules are fetched from the same host only")
	case sub.scheme != u.scheme, sub.user != "" && sub.user != u.user:
		return URL{}, refuseURL(fmt.Sprintf("it is to be reached in another way than the repository (%s), so that the credential would not serve; write a relative url, such as ../lib.git", u.scheme))
	}
	sub.user = u.user
	return sub, nil
}

func (u URL) relative(raw string) (string, error) {
	base := strings.TrimRight(u.path, "/")
	for {
		if rest, ok := strings.CutPrefix(raw, "./"); ok {
			raw = rest
			continue
		}
		rest, ok := strings.CutPrefix(raw, "../")
		if !ok {
			break
		}
		slash := strings.LastIndexByte(base, '/')
		if slash < 0 {
			return "", refuseURL("it leads above the root of the host")
		}
		raw, base = rest, base[:slash]
	}
	if raw == "" || strings.ContainsAny(raw, "?#%\\") {
		return "", refuseURL("it names nothing, or holds one of ?#%\\")
	}
	out := url.URL{Scheme: u.scheme, Host: u.host, Path: base + "/" + raw}
	if u.user != "" {
		out.User = url.User(u.user)
	}
	return out.String(), nil
}

var defaultPorts = map[string]string{"https": ":443", "http": ":80", "ssh": ":22"}

func (u URL) plainHost() string { return strings.TrimSuffix(u.host, defaultPorts[u.scheme]) }
