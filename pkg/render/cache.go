package render

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/child"
)

// renders is what a Cache decorates.
type renders interface {
	Render(ctx context.Context, q Request) (Result, error)
}

// CacheOptions are tunables; the zero value is useful.
type CacheOptions struct {
	MaxBytes int64 // that results may take, as estimated; 128 MiB
	// Observe is told of each render whether it was a hit, in memory or of a render
	// under way. It must be quick and safe for concurrent use.
	Observe func(hit bool)
}

// Cache remembers renders by what they read, not by commit: a commit that touches
// nothing of it is a hit, which starts no child. It keeps results and permanent
// errors, the most recently used ones.
//
// A look-up takes two steps. The parameters tell which paths outside the source path
// their last render read, listed or looked for in vain; the digest of the path and of
// these tells whether the tree at hand has the same there. If so, a render would read
// the same again and give the same, since it reads nothing else.
type Cache struct {
	next    renders
	observe func(hit bool)

	mu      sync.Mutex
	kept    *lru
	flights map[string]*flight
}

// Cached returns a Cache of what next renders. Requests whose tree has no digest are
// passed on.
func Cached(next renders, o CacheOptions) *Cache {
	fill(&o.MaxBytes, 128<<20)
	if o.Observe == nil {
		o.Observe = func(bool) {}
	}
	return &Cache{next: next, observe: o.Observe, kept: newLRU(o.MaxBytes), flights: map[string]*flight{}}
}

// flight is a render under way, which others of the same tree wait for.
type flight struct {
	ended chan struct{}
	outcome
	shared bool // the outcome is one of the inputs, not of the leader's context
}

type outcome struct {
	result Result
	err    error
}

// hint is what the last render of some parameters read.
type hint struct {
	outside      []string
	capabilities bool
}

// Render returns what the cache remembers, else what is rendered now. The objects are
// shared: read only.
func (c *Cache) Render(ctx context.Context, q Request) (Result, error) {
	p, ok := parametersOf(q)
	if !ok {
		return c.next.Render(ctx, q)
	}
	for {
		f, found, leads := c.look(p)
		switch {
		case found != nil:
			c.observe(true)
			return found.result, found.err
		case leads:
			c.observe(false)
			return c.lead(ctx, q, p, f)
		}
		select {
		case <-f.ended:
		case <-ctx.Done():
			return Result{}, fault.As(fault.RenderFailed, ctx.Err())
		}
		if f.shared {
			c.observe(true)
			return f.result, f.err
		}
	}
}

// look finds an outcome, or a flight to wait for, or makes the caller lead one.
func (c *Cache) look(p parameters) (f *flight, found *outcome, leads bool) {
	c.mu.Lock()
	h, ok := c.kept.get("hint " + p.id).(hint)
	c.mu.Unlock()
	key := ""
	if ok {
		key, _ = p.key(h)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := c.kept.get(key).(outcome); ok && key != "" {
		return nil, &o, false
	}
	if f := c.flights[p.flight]; f != nil {
		return f, nil, false
	}
	f = &flight{ended: make(chan struct{})}
	if p.flight != "" {
		c.flights[p.flight] = f
	}
	return f, nil, true
}

func (c *Cache) lead(ctx context.Context, q Request, p parameters, f *flight) (Result, error) {
	defer func() {
		c.mu.Lock()
		delete(c.flights, p.flight)
		c.mu.Unlock()
		close(f.ended)
	}()
	f.result, f.err = c.next.Render(ctx, q)
	f.shared = ctx.Err() == nil
	if f.shared && lasting(f.err) {
		c.keep(p, f.outcome)
	}
	return f.result, f.err
}

// lasting is true for outcomes that the same inputs have again.
func lasting(err error) bool {
	class, _ := fault.ClassOf(err)
	return err == nil || class == fault.Permanent && !child.Died(err) && !errors.Is(err, context.Canceled)
}

func (c *Cache) keep(p parameters, o outcome) {
	h := hint{outside: o.result.Outside, capabilities: o.result.Renderer == Helm}
	key, err := p.key(h)
	if err != nil {
		return // the tree has no such path, or its store is damaged
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept.put("hint "+p.id, h, weigh(h.outside))
	c.kept.put(key, o, weighOutcome(o))
}

// parameters are what a render depends on, but for what it reads and for the
// capabilities of the cluster.
type parameters struct {
	tree         digested
	path         string
	id           string
	capabilities string
	flight       string // of the whole tree; empty: it has no hash
}

type digested interface {
	Tree
	Digest(path string, outside []string) (string, error)
}

func parametersOf(q Request) (parameters, bool) {
	tree, ok := q.Tree.(digested)
	if !ok {
		return parameters{}, false
	}
	s := q.Source
	// Which tree it is shows in its digest; what the variables are, below.
	s.Repo, s.Ref, s.Semver, s.SecretRef, s.Verify, s.Submodules = "", "", "", nil, nil, false
	if s.Substitute != nil {
		substitute := *s.Substitute
		substitute.Vars, substitute.From = nil, nil
		s.Substitute = &substitute
	}
	sum := sha256.New()
	err := json.NewEncoder(sum).Encode([]any{s, q.Name, q.Namespace, q.ChartPath, q.Keys.ID()})
	for _, name := range slices.Sorted(maps.Keys(q.Variables)) {
		fmt.Fprintf(sum, "%q %q %t\n", name, q.Variables[name].Text, q.Variables[name].Secret)
	}
	capabilities, err2 := json.Marshal(q.Capabilities)
	if err != nil || err2 != nil {
		return parameters{}, false
	}
	p := parameters{tree: tree, path: path.Clean(s.Path), id: hex.EncodeToString(sum.Sum(nil)), capabilities: string(capabilities)}
	if hashed, ok := q.Tree.(interface{ Hash(string) (string, bool) }); ok {
		if hash, ok := hashed.Hash("."); ok {
			p.flight = p.id + " " + hash + " " + p.capabilities
		}
	}
	return p, true
}

// key stands for all that a render reading h depends on.
func (p parameters) key(h hint) (string, error) {
	digest, err := p.tree.Digest(p.path, h.outside)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s %q\n", p.id, digest, h.outside)
	if h.capabilities {
		fmt.Fprintln(sum, p.capabilities)
	}
	p.links(sum, append([]string{p.path}, h.outside...))
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// links tells the symlinks on the way to names, which a digest of what they lead to
// does not: a link to another place with the same content leads to other neighbours.
func (p parameters) links(out interface{ Write([]byte) (int, error) }, names []string) {
	tree, ok := p.tree.(fs.ReadLinkFS)
	if !ok {
		return
	}
	seen := map[string]bool{".": true}
	for _, name := range names {
		for ; !seen[name] && fs.ValidPath(name); name = path.Dir(name) {
			seen[name] = true
			if info, err := tree.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
				target, err := tree.ReadLink(name)
				fmt.Fprintf(out, "%q -> %q %v\n", name, target, err)
			}
		}
	}
}
