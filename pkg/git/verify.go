package git

import (
	"errors"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// verify finds out that the commit, its trees and the files in them are in the
// store. What it shares with the tree of a commit that was verified before is
// not looked at again.
func (o *objects) verify(commit plumbing.Hash, before []plumbing.Hash) error {
	c, err := o.commit(commit)
	if err != nil {
		return err
	}
	v := &verification{objects: o, seen: map[plumbing.Hash]bool{}}
	base := plumbing.ZeroHash
	for _, b := range before[max(0, len(before)-4):] {
		old, err := o.commit(b)
		if err != nil {
			return err
		}
		v.seen[old.tree], base = true, old.tree
	}
	return v.compare(c.tree, base, 0)
}

type verification struct {
	objects *objects
	seen    map[plumbing.Hash]bool // trees
}

// maxDepth is how deep directories may be nested.
const maxDepth = 64

// compare walks the tree now beside the tree before, which is complete; zero
// when there is none. A directory that Plumb would refuse to read is passed over
// here: it must not stop the Applications that do not read it.
func (v *verification) compare(now, before plumbing.Hash, depth int) error {
	if now == before || v.seen[now] || depth > maxDepth {
		return nil
	}
	v.seen[now] = true
	d, err := v.objects.dir(now)
	if err != nil {
		return onlyDamage(err)
	}
	old := &dir{}
	if !before.IsZero() {
		if known, err := v.objects.dir(before); err == nil {
			old = known
		}
	}
	for _, e := range d.entries {
		if err := v.entry(e, old, depth); err != nil {
			return err
		}
	}
	return nil
}

func onlyDamage(err error) error {
	if damaged(err) {
		return err
	}
	return nil
}

func (v *verification) entry(e entry, old *dir, depth int) error {
	was, _ := old.find(e.name)
	switch {
	case was.hash == e.hash, e.mode == filemode.Submodule:
		return nil
	case e.mode != filemode.Dir:
		return v.objects.held(e.hash)
	case was.mode != filemode.Dir:
		was.hash = plumbing.ZeroHash
	}
	return v.compare(e.hash, was.hash, depth+1)
}

// contains says whether want is the commit or, as far as the store knows, one
// before it.
func (o *objects) contains(commit, want plumbing.Hash) (bool, error) {
	queue, seen := []plumbing.Hash{commit}, map[plumbing.Hash]bool{}
	for len(queue) > 0 && len(seen) < maxAncestors {
		next := queue[0]
		queue = queue[1:]
		if next == want {
			return true, nil
		}
		if seen[next] || !o.has(next) {
			continue
		}
		seen[next] = true
		c, err := o.commit(next)
		if err != nil {
			return false, err
		}
		queue = append(queue, c.parents...)
	}
	for _, h := range queue {
		if h == want {
			return true, nil
		}
	}
	return false, nil
}

// maxAncestors is how far contains looks back.
const maxAncestors = 1000

// damaged says whether an error means that the store lacks what it should have.
func damaged(err error) bool {
	missing := (*missingError)(nil)
	return errors.Is(err, errCorrupt) || errors.As(err, &missing)
}
