package git

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Tree is the files of one commit, read straight from the store, as an fs.FS. It
// is safe for concurrent use and stays readable when the store moves on.
//
// Symlinks are followed within the tree. Refused, with the place, are: symlinks
// that are absolute, lead out of the tree or go round, names such as .git or
// with a backslash, submodules and Git LFS pointers where they are read, files
// over Options.MaxFile, directories nested too deep and listing more than
// Options.MaxEntries names in all.
type Tree struct {
	o       *objects
	root    plumbing.Hash
	maxFile int64
	budget  *budget
}

var _ interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.ReadLinkFS
} = (*Tree)(nil)

// budget is how many names may still be listed.
type budget struct {
	left  atomic.Int64
	limit int
}

func newBudget(n int) *budget {
	b := &budget{limit: n}
	b.left.Store(int64(n))
	return b
}

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	n, err := t.resolve("open", name, true)
	if err != nil {
		return nil, err
	}
	info, err := t.info(n)
	if err != nil {
		return nil, err
	}
	if n.mode == filemode.Dir {
		entries, err := t.list(n)
		return &openDir{info: info, entries: entries}, err
	}
	data, err := t.read(n)
	if err != nil {
		return nil, err
	}
	return &openFile{Reader: bytes.NewReader(data), info: info}, nil
}

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.resolve("readdir", name, true)
	if err != nil {
		return nil, err
	}
	return t.list(n)
}

// ReadFile implements fs.ReadFileFS.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	n, err := t.resolve("read", name, true)
	if err != nil {
		return nil, err
	}
	data, err := t.read(n)
	return bytes.Clone(data), err
}

// Stat implements fs.StatFS; it follows symlinks.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	n, err := t.resolve("stat", name, true)
	if err != nil {
		return nil, err
	}
	return t.info(n)
}

// Lstat implements fs.ReadLinkFS: it describes a symlink itself.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) {
	n, err := t.resolve("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return t.info(n)
}

// ReadLink implements fs.ReadLinkFS: where a symlink points to, as it stands in Git.
func (t *Tree) ReadLink(name string) (string, error) {
	n, err := t.resolve("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode != filemode.Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return t.linkTarget(n)
}

func (t *Tree) list(n node) ([]fs.DirEntry, error) {
	if n.mode != filemode.Dir {
		return nil, &fs.PathError{Op: "readdir", Path: n.path, Err: errors.New("not a directory")}
	}
	d, err := t.o.dir(n.hash)
	if err != nil {
		return nil, t.failed(n.path, err)
	}
	if t.budget.left.Add(-int64(len(d.entries))) < 0 {
		return nil, refuseFile(n.path, "listing it makes more than %d files; give the Application a smaller path", t.budget.limit)
	}
	out := make([]fs.DirEntry, 0, len(d.entries))
	for _, e := range d.entries {
		if why := badName(e.name); why != "" {
			return nil, refuseFile(n.path, "it has an entry %q: %s", e.name, why)
		}
		out = append(out, dirEntry{t, n.child(e)})
	}
	return slices.Clip(out), nil
}

// lfsPointer is how a Git LFS pointer begins; see git-lfs, docs/spec.md.
var lfsPointer = []byte("version https://git-lfs.github.com/spec/")

// read returns a file's content, which is shared with the cache.
func (t *Tree) read(n node) ([]byte, error) {
	switch n.mode {
	case filemode.Dir:
		return nil, &fs.PathError{Op: "read", Path: n.path, Err: errors.New("is a directory")}
	case filemode.Submodule:
		return nil, notFetched(n.path)
	}
	data, err := t.o.read(n.hash, plumbing.BlobObject, t.maxFile)
	if err != nil {
		return nil, t.failed(n.path, err)
	}
	if bytes.HasPrefix(data, lfsPointer) {
		return nil, refuseFile(n.path, "it is a Git LFS pointer, and its content is not in Git; keep what is rendered in Git itself (git lfs migrate export --include=%q)", n.path)
	}
	return data, nil
}

func (t *Tree) info(n node) (fs.FileInfo, error) {
	info := fileInfo{node: n}
	if n.mode == filemode.Dir || n.mode == filemode.Submodule {
		return info, nil
	}
	size, err := t.o.size(n.hash)
	if err != nil {
		return nil, t.failed(n.path, err)
	}
	info.size = size
	return info, nil
}

// failed says what an error of the object store means for who reads the file.
func (t *Tree) failed(path string, err error) error {
	var large *largeError
	switch {
	case errors.As(err, &large) && large.size > 0:
		return refuseFile(path, "it has %d bytes, the limit is %d", large.size, large.limit)
	case errors.As(err, &large):
		return refuseFile(path, "it has more than %d bytes, which is over the limit", large.limit)
	case damaged(err):
		return &fault.Error{Class: fault.Transient, Reason: fault.FetchFailed, Place: fault.Place{File: path},
			Err: fmt.Errorf("read from the Git store: %w; the next fetch replaces it", err)}
	}
	return refuseFile(path, "%w", err)
}

func refuseFile(path, format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{File: path}, format, args...)
}
