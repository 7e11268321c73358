package git

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

const (
	maxLinks      = 16   // symlinks on the way to one file
	maxLinkTarget = 4096 // bytes; PATH_MAX of Linux
)

// node is an entry with the path where it really stands.
type node struct {
	entry
	path string
}

func (n node) child(e entry) node { return node{e, path.Join(n.path, e.name)} }

// walk is the resolution of one path: a stack of directories from the root down,
// and what is still to be walked.
type walk struct {
	t     *Tree
	op    string
	name  string // as asked for
	stack []node
	todo  []part
	links int
}

// part is one name of a path, and the symlink whose target it is from, if any.
type part struct{ name, link, target string }

func parts(path, link, target string) []part {
	var out []part
	for name := range strings.SplitSeq(path, "/") {
		out = append(out, part{name, link, target})
	}
	return out
}

// resolve finds what stands at name; follow says whether a symlink in the last
// place is followed as those before it are.
func (t *Tree) resolve(op, name string, follow bool) (node, error) {
	if !fs.ValidPath(name) {
		return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	w := &walk{t: t, op: op, name: name, stack: []node{{entry{name: ".", mode: filemode.Dir, hash: t.root}, "."}}}
	if name != "." {
		w.todo = parts(name, "", "")
	}
	for len(w.todo) > 0 {
		if err := w.step(follow); err != nil {
			return node{}, err
		}
	}
	return w.top(), nil
}

func (w *walk) top() node { return w.stack[len(w.stack)-1] }

func (w *walk) step(follow bool) error {
	part := w.todo[0]
	w.todo = w.todo[1:]
	switch part.name {
	case "", ".": // of a symlink's target, as is the next
		return nil
	case "..":
		if len(w.stack) == 1 {
			return refuseFile(part.link, "the symlink leads out of the tree, to %q", cut(part.target))
		}
		w.stack = w.stack[:len(w.stack)-1]
		return nil
	}
	next, err := w.enter(part.name)
	if err != nil {
		return err
	}
	if next.mode == filemode.Symlink && (follow || len(w.todo) > 0) {
		return w.follow(next)
	}
	if len(w.stack) > maxDepth {
		return refuseFile(w.name, "directories are nested more than %d deep", maxDepth)
	}
	w.stack = append(w.stack, next)
	return nil
}

// enter looks a name up in the directory that the walk has come to.
func (w *walk) enter(name string) (node, error) {
	at := w.top()
	switch at.mode {
	case filemode.Dir:
	case filemode.Submodule:
		return node{}, notFetched(at.path)
	default:
		return node{}, w.missing()
	}
	if why := badName(name); why != "" {
		return node{}, refuseFile(path.Join(at.path, name), "%s", why)
	}
	d, err := w.t.o.dir(at.hash)
	if err != nil {
		return node{}, w.t.failed(at.path, err)
	}
	e, ok := d.find(name)
	if !ok {
		return node{}, w.missing()
	}
	return at.child(e), nil
}

func (w *walk) missing() error {
	return &fs.PathError{Op: w.op, Path: w.name, Err: fs.ErrNotExist}
}

// follow puts the target of a symlink in front of what is still to be walked.
func (w *walk) follow(link node) error {
	if w.links++; w.links > maxLinks {
		return refuseFile(w.name, "more than %d symlinks lead to it, or they go round", maxLinks)
	}
	target, err := w.t.linkTarget(link)
	if err != nil {
		return err
	}
	w.todo = append(parts(target, link.path, target), w.todo...)
	return nil
}

// linkTarget reads a symlink and refuses targets that no tree can hold.
func (t *Tree) linkTarget(link node) (string, error) {
	data, err := t.o.read(link.hash, plumbing.BlobObject, maxLinkTarget)
	if err != nil {
		return "", t.failed(link.path, err)
	}
	target := string(data)
	switch {
	case target == "":
		return "", refuseFile(link.path, "the symlink points nowhere")
	case path.IsAbs(target):
		return "", refuseFile(link.path, "the symlink leads out of the tree, to %q", cut(target))
	case strings.ContainsAny(target, "\\\x00"):
		return "", refuseFile(link.path, "the symlink's target %q holds a backslash or NUL", cut(target))
	}
	return target, nil
}

func cut(s string) string { return s[:min(len(s), 100)] }

// notThere says whether an error of resolve means that nothing stands there.
func notThere(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) }
