package git

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// missingError is an object that the store should hold and does not.
type missingError struct{ hash plumbing.Hash }

func (e *missingError) Error() string { return "object " + e.hash.String() + " is not in the store" }

const (
	maxTreeObject   = 16 << 20 // bytes of one directory
	maxCommitObject = 1 << 20
)

// memory is what is kept of objects between reads.
type memory struct {
	bodies *lru[bodyKey, body]
	dirs   *lru[plumbing.Hash, *dir]
	links  *lru[plumbing.Hash, string] // the first submodule below a directory
}

func newMemory(limit int64) *memory {
	return &memory{bodies: newLRU[bodyKey, body](limit / 2), dirs: newLRU[plumbing.Hash, *dir](limit / 2), links: newLRU[plumbing.Hash, string](limit / 8)}
}

// objects reads from the packs of one moment; it is immutable and safe for
// concurrent use.
type objects struct {
	packs   []*pack // newest first
	memory  *memory
	suspect *atomic.Bool // set when the store turns out to be damaged
}

func (o *objects) locate(h plumbing.Hash) (*pack, int64, error) {
	partial := false
	for _, p := range o.packs {
		if offset, ok := p.find(h); ok {
			return p, offset, nil
		}
		partial = partial || p.partial
	}
	if partial {
		return nil, 0, &largeError{limit: maxDelta}
	}
	return nil, 0, &missingError{h}
}

func (o *objects) has(h plumbing.Hash) bool {
	_, _, err := o.locate(h)
	return err == nil
}

// held says whether an object may be counted as there: it is, or it is over the
// limits and would be refused when read.
func (o *objects) held(h plumbing.Hash) error {
	_, _, err := o.locate(h)
	if large := (*largeError)(nil); errors.As(err, &large) {
		return nil
	}
	return err
}

func (o *objects) size(h plumbing.Hash) (int64, error) {
	p, offset, err := o.locate(h)
	if err != nil {
		return 0, o.note(err)
	}
	n, err := p.length(offset)
	return n, o.note(err)
}

// read returns an object of at most limit bytes and of the given kind. What it
// returns is shared: callers do not write to it.
func (o *objects) read(h plumbing.Hash, kind plumbing.ObjectType, limit int64) ([]byte, error) {
	p, offset, err := o.locate(h)
	if err != nil {
		return nil, o.note(err)
	}
	key := bodyKey{p.id, offset}
	b, ok := o.memory.bodies.get(key)
	if !ok {
		if b, err = p.object(offset, limit, o.memory.bodies); err != nil {
			return nil, o.note(err)
		}
		if hashOf(b) != h {
			return nil, o.note(fmt.Errorf("%w: object %s has other content", errCorrupt, h))
		}
	}
	switch {
	case int64(len(b.data)) > limit:
		return nil, &largeError{size: int64(len(b.data)), limit: limit}
	case b.kind != kind:
		return nil, fmt.Errorf("object %s is a %s, not a %s", h, b.kind, kind)
	}
	return b.data, nil
}

// hashOf guards against a damaged disk; collisions are go-git's concern when the
// pack comes in.
func hashOf(b body) plumbing.Hash {
	h := sha1.New()
	h.Write([]byte(b.kind.String() + " " + strconv.Itoa(len(b.data)) + "\x00"))
	h.Write(b.data)
	return plumbing.Hash(h.Sum(nil))
}

// note remembers damage, so that the next fetch replaces the store.
func (o *objects) note(err error) error {
	if missing := (*missingError)(nil); errors.Is(err, errCorrupt) || errors.As(err, &missing) {
		o.suspect.Store(true)
	}
	return err
}

// commitObject is what Plumb needs to know of a commit.
type commitObject struct {
	tree    plumbing.Hash
	parents []plumbing.Hash
}

func (o *objects) commit(h plumbing.Hash) (commitObject, error) {
	data, err := o.read(h, plumbing.CommitObject, maxCommitObject)
	if err != nil {
		return commitObject{}, err
	}
	return parseCommit(data)
}

// parseCommit reads the header lines tree and parent, which come first.
func parseCommit(data []byte) (commitObject, error) {
	var c commitObject
	for i := 0; ; i++ {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		name, value, _ := bytes.Cut(line, []byte(" "))
		switch {
		case i == 0 && string(name) == "tree" && plumbing.IsHash(string(value)):
			c.tree = plumbing.NewHash(string(value))
		case i > 0 && string(name) == "parent" && plumbing.IsHash(string(value)):
			c.parents = append(c.parents, plumbing.NewHash(string(value)))
		case i == 0:
			return c, errors.New("commit has no tree")
		default:
			return c, nil
		}
		data = rest
	}
}

// dir is a directory of Git: its entries by name.
type dir struct{ entries []entry }

type entry struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash
}

func (d *dir) find(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(d.entries, name, func(e entry, name string) int { return cmp.Compare(e.name, name) })
	if !ok {
		return entry{}, false
	}
	return d.entries[i], true
}

func (o *objects) dir(h plumbing.Hash) (*dir, error) {
	if d, ok := o.memory.dirs.get(h); ok {
		return d, nil
	}
	data, err := o.read(h, plumbing.TreeObject, maxTreeObject)
	if err != nil {
		return nil, err
	}
	d, err := parseDir(data)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", h, err)
	}
	o.memory.dirs.put(h, d, int64(len(data)+len(d.entries)*48))
	return d, nil
}

// submodule finds the first submodule below a directory; empty when there is none.
// Directories that are known are not looked at again, so that a commit costs what
// it changes.
func (o *objects) submodule(h plumbing.Hash, depth int) (string, error) {
	if found, ok := o.memory.links.get(h); ok || depth > maxDepth {
		return found, nil
	}
	d, err := o.dir(h)
	if err != nil {
		return "", onlyDamage(err) // one that must not be read says so when it is
	}
	found := ""
	for _, e := range d.entries {
		below := ""
		switch e.mode {
		case filemode.Submodule:
			found = e.name
		case filemode.Dir:
			if below, err = o.submodule(e.hash, depth+1); err != nil {
				return "", err
			}
		}
		if below != "" {
			found = e.name + "/" + below
		}
		if found != "" {
			break
		}
	}
	o.memory.links.put(h, found, int64(64+len(found)))
	return found, nil
}

var modes = []filemode.FileMode{
	filemode.Dir, filemode.Regular, filemode.Deprecated, filemode.Executable, filemode.Symlink, filemode.Submodule,
}

// parseDir reads a tree object: "<mode> <name>\0<hash>" for each entry. What git
// itself never writes (two entries of one name, other modes) is an error.
func parseDir(data []byte) (*dir, error) {
	text := string(data) // names share it
	d := &dir{}
	for at := 0; at < len(text); {
		blank := bytes.IndexByte(data[at:], ' ')
		null := bytes.IndexByte(data[at:], 0)
		if blank <= 0 || null < blank+2 || len(data)-at < null+1+len(plumbing.Hash{}) {
			return nil, errors.New("malformed entry")
		}
		mode, err := filemode.New(text[at : at+blank])
		if err != nil || !slices.Contains(modes, mode) {
			return nil, fmt.Errorf("entry of mode %q", text[at:at+blank])
		}
		e := entry{name: text[at+blank+1 : at+null], mode: mode}
		at += null + 1
		at += copy(e.hash[:], data[at:])
		d.entries = append(d.entries, e)
	}
	slices.SortFunc(d.entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(d.entries); i++ {
		if d.entries[i].name == d.entries[i-1].name {
			return nil, fmt.Errorf("two entries named %q", d.entries[i].name)
		}
	}
	return d, nil
}
