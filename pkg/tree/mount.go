package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// mounted is a tree with others at some of its paths. Those in its root whose names
// begin with a dollar sign stand beside its own files: they are reached by their names
// and not listed, so that who reads all of the root does not read them.
type mounted struct {
	base Tree
	at   map[string]Tree
	over map[string]bool // directories above mounts, which base need not have
}

// Beside says whether a path leads to a tree that stands beside the root, or would.
func Beside(name string) bool { return strings.HasPrefix(name, "$") }

// Mount returns base with other trees at paths. What stands at such a path in base,
// other than a submodule, is a permanent fault, and so are paths within each other.
func Mount(base Tree, at map[string]Tree) (Tree, error) {
	if len(at) == 0 {
		return base, nil
	}
	m := &mounted{base: base, at: at, over: map[string]bool{}}
	for _, p := range slices.Sorted(maps.Keys(at)) {
		if err := m.check(p); err != nil {
			return nil, err
		}
		for dir := path.Dir(p); ; dir = path.Dir(dir) {
			m.over[dir] = true
			if dir == "." {
				break
			}
		}
	}
	for p := range at {
		if m.over[p] {
			return nil, fault.Refuse(fault.SourceRefused, fault.Place{File: p}, "one tree cannot be mounted within another at the same time")
		}
	}
	return m, nil
}

func (m *mounted) check(p string) error {
	if !fs.ValidPath(p) || p == "." {
		return fault.Refuse(fault.SourceRefused, fault.Place{File: p}, "nothing can be mounted there: the path must be relative and stay in the tree")
	}
	found, err := m.base.Lstat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("look at %s: %w", p, err)
	case found.Mode()&fs.ModeIrregular == 0:
		return fault.Refuse(fault.SourceRefused, fault.Place{File: p}, "the repository has something of its own where another source belongs; rename one of them")
	}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if found, err := m.base.Lstat(dir); err == nil && !found.IsDir() {
			return fault.Refuse(fault.SourceRefused, fault.Place{File: dir}, "is no directory, so nothing can be mounted below it")
		}
	}
	return nil
}

// route returns the tree that holds name, and its name there.
func (m *mounted) route(name string) (Tree, string) {
	for p := name; fs.ValidPath(p) && p != "."; p = path.Dir(p) {
		if t, ok := m.at[p]; ok {
			rest := strings.TrimPrefix(strings.TrimPrefix(name, p), "/")
			if rest == "" {
				rest = "."
			}
			return t, rest
		}
	}
	return m.base, name
}

// made says whether a directory is there only for what is mounted below it.
func (m *mounted) made(name string) bool {
	if !m.over[name] {
		return false
	}
	_, err := m.base.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// Open implements fs.FS.
func (m *mounted) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	t, rest := m.route(name)
	if m.over[name] || t != m.base && rest == "." {
		entries, err := m.ReadDir(name)
		return &opened{node: directory(name), entries: entries}, err
	}
	return t.Open(rest)
}

func directory(name string) *node { return &node{name: path.Base(name), dir: true} }

// ReadDir implements fs.ReadDirFS.
func (m *mounted) ReadDir(name string) ([]fs.DirEntry, error) {
	if !m.over[name] {
		t, rest := m.route(name)
		return t.ReadDir(rest)
	}
	entries, err := m.base.ReadDir(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	byName := map[string]fs.DirEntry{}
	for _, e := range entries {
		byName[e.Name()] = e
	}
	for p := range m.at {
		if below, ok := listed(name, p); ok {
			byName[below] = fs.FileInfoToDirEntry(info{directory(below)})
		}
	}
	var out []fs.DirEntry
	for _, n := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[n])
	}
	return out, nil
}

// under returns the first name on the way from dir down to p.
func under(dir, p string) (string, bool) {
	if dir != "." {
		rest, ok := strings.CutPrefix(p, dir+"/")
		if !ok {
			return "", false
		}
		p = rest
	}
	first, _, _ := strings.Cut(p, "/")
	return first, true
}

// listed is under, but for what stands beside the root.
func listed(dir, p string) (string, bool) {
	if dir == "." && Beside(p) {
		return "", false
	}
	return under(dir, p)
}

// ReadFile implements fs.ReadFileFS.
func (m *mounted) ReadFile(name string) ([]byte, error) {
	t, rest := m.route(name)
	return t.ReadFile(rest)
}

// Stat implements fs.StatFS.
func (m *mounted) Stat(name string) (fs.FileInfo, error) {
	return m.stat(name, Tree.Stat)
}

// Lstat implements fs.ReadLinkFS.
func (m *mounted) Lstat(name string) (fs.FileInfo, error) {
	return m.stat(name, Tree.Lstat)
}

func (m *mounted) stat(name string, stat func(Tree, string) (fs.FileInfo, error)) (fs.FileInfo, error) {
	if m.made(name) {
		return info{directory(name)}, nil
	}
	t, rest := m.route(name)
	found, err := stat(t, rest)
	if err == nil && rest == "." && name != "." {
		return named{found, path.Base(name)}, nil
	}
	return found, err
}

// named is the root of a mounted tree, by the name it has here.
type named struct {
	fs.FileInfo
	name string
}

func (n named) Name() string       { return n.name }
func (n named) ModTime() time.Time { return time.Time{} }

// ReadLink implements fs.ReadLinkFS.
func (m *mounted) ReadLink(name string) (string, error) {
	t, rest := m.route(name)
	return t.ReadLink(rest)
}

// Hash implements Tree.
func (m *mounted) Hash(name string) (string, bool) {
	t, rest := m.route(name)
	own, ok := t.Hash(rest)
	if !m.over[name] {
		return own, ok
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %v\n", own, ok)
	for _, p := range slices.Sorted(maps.Keys(m.at)) {
		if _, below := under(name, p); below {
			hash, _ := m.at[p].Hash(".")
			fmt.Fprintf(h, "%q %s\n", p, hash)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), true
}

// Digest implements Tree. Paths of the base keep what its own Digest tells; what stands
// beside the root counts only where it is named.
func (m *mounted) Digest(name string, outside []string) (string, error) {
	name = path.Clean(name)
	t, rest := m.route(name)
	var own, others []string
	for _, p := range outside {
		p = path.Clean(p)
		if holder, _ := m.route(p); holder == m.base && t == m.base && !m.over[p] {
			own = append(own, p)
			continue
		}
		others = append(others, p)
	}
	sum, err := t.Digest(rest, own)
	if err != nil && m.made(name) {
		sum, err = "", nil
	}
	below := m.below(name)
	if err != nil || len(below)+len(others) == 0 {
		return sum, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %s\n", sum, below)
	return digest(prefixed{m, hex.EncodeToString(h.Sum(nil))}, prefix, others)
}

// below tells the trees that are listed below a directory.
func (m *mounted) below(name string) (told string) {
	if !m.over[name] {
		return ""
	}
	for _, p := range slices.Sorted(maps.Keys(m.at)) {
		if _, ok := listed(name, p); ok {
			hash, _ := m.at[p].Hash(".")
			told += fmt.Sprintf("%q %s\n", p, hash)
		}
	}
	return told
}

// prefix is no path of any tree.
const prefix = "/"

// prefixed is a tree that has a hash for what a digest begins with.
type prefixed struct {
	*mounted
	hash string
}

func (p prefixed) Hash(name string) (string, bool) {
	if name == prefix {
		return p.hash, true
	}
	return p.mounted.Hash(name)
}
