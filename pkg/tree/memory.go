package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// File is a file of a tree in memory: its content, or where a link points to.
type File struct {
	Data []byte
	Link string
}

// Memory is a tree that is held in memory.
type Memory struct {
	nodes map[string]*node
}

var _ Tree = (*Memory)(nil)

type node struct {
	name     string
	file     File
	dir      bool
	children map[string]*node
	hash     string
}

// FromFiles makes a tree of files by their paths. A path that fs.ValidPath refuses,
// and a file where another's directory is, are permanent faults that name it.
func FromFiles(files map[string]File) (*Memory, error) {
	m := &Memory{nodes: map[string]*node{".": {name: ".", dir: true, children: map[string]*node{}}}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := m.add(name, files[name]); err != nil {
			return nil, err
		}
	}
	m.nodes["."].sum()
	return m, nil
}

func (m *Memory) add(name string, f File) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") {
		return fault.Refuse(fault.SourceRefused, fault.Place{}, "the file name %q is none of a tree: it must be relative, without dots and backslashes", name)
	}
	parent, err := m.directory(path.Dir(name))
	if err != nil {
		return err
	}
	if m.nodes[name] != nil {
		return fault.Refuse(fault.SourceRefused, fault.Place{File: name}, "is a file and a directory")
	}
	n := &node{name: path.Base(name), file: f}
	m.nodes[name], parent.children[n.name] = n, n
	return nil
}

func (m *Memory) directory(name string) (*node, error) {
	if n := m.nodes[name]; n != nil {
		if !n.dir {
			return nil, fault.Refuse(fault.SourceRefused, fault.Place{File: name}, "is a file and a directory")
		}
		return n, nil
	}
	parent, err := m.directory(path.Dir(name))
	if err != nil {
		return nil, err
	}
	n := &node{name: path.Base(name), dir: true, children: map[string]*node{}}
	m.nodes[name], parent.children[n.name] = n, n
	return n, nil
}

// sum fills in the hashes of a node and of all below it.
func (n *node) sum() string {
	h := sha256.New()
	switch {
	case n.dir:
		io.WriteString(h, "directory\n")
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			fmt.Fprintf(h, "%q %s\n", name, n.children[name].sum())
		}
	case n.file.Link != "":
		fmt.Fprintf(h, "link %s", n.file.Link)
	default:
		io.WriteString(h, "file\n")
		h.Write(n.file.Data)
	}
	n.hash = hex.EncodeToString(h.Sum(nil))
	return n.hash
}

// maxLinks is how many links one path may lead through, as in Linux.
const maxLinks = 40

func (m *Memory) find(op, name string, follow bool) (*node, error) {
	missing := &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	at := "."
	rest := strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		n := m.nodes[next]
		switch {
		case n == nil:
			return nil, missing
		case n.file.Link == "" || len(rest) == 1 && !follow:
			at, rest = next, rest[1:]
			continue
		}
		target := path.Join(path.Dir(next), n.file.Link)
		if links++; links > maxLinks || path.IsAbs(n.file.Link) || !fs.ValidPath(target) {
			return nil, fault.Refuse(fault.SourceRefused, fault.Place{File: next}, "the symlink leaves the tree or goes round")
		}
		at, rest = ".", append(strings.Split(target, "/"), rest[1:]...)
	}
	return m.nodes[at], nil
}

// Open implements fs.FS.
func (m *Memory) Open(name string) (fs.File, error) {
	n, err := m.find("open", name, true)
	if err != nil {
		return nil, err
	}
	return &opened{node: n, Reader: bytes.NewReader(n.file.Data), entries: n.entries()}, nil
}

// ReadDir implements fs.ReadDirFS.
func (m *Memory) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := m.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return n.entries(), nil
}

func (n *node) entries() []fs.DirEntry {
	var entries []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		entries = append(entries, fs.FileInfoToDirEntry(info{n.children[name]}))
	}
	return entries
}

// ReadFile implements fs.ReadFileFS.
func (m *Memory) ReadFile(name string) ([]byte, error) {
	n, err := m.find("read", name, true)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	return bytes.Clone(n.file.Data), nil
}

// Stat implements fs.StatFS; it follows links.
func (m *Memory) Stat(name string) (fs.FileInfo, error) {
	n, err := m.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return info{n}, nil
}

// Lstat implements fs.ReadLinkFS: it describes a link itself.
func (m *Memory) Lstat(name string) (fs.FileInfo, error) {
	n, err := m.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return info{n}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (m *Memory) ReadLink(name string) (string, error) {
	n, err := m.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.file.Link == "" {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.file.Link, nil
}

// Hash implements Tree.
func (m *Memory) Hash(name string) (string, bool) {
	n, err := m.find("hash", name, true)
	if err != nil {
		return "", false
	}
	return n.hash, true
}

// Digest implements Tree.
func (m *Memory) Digest(name string, outside []string) (string, error) {
	return digest(m, name, outside)
}

// digest is Digest for a tree that has only hashes.
func digest(t interface {
	Hash(string) (string, bool)
}, name string, outside []string) (string, error) {
	own, ok := t.Hash(path.Clean(name))
	if !ok {
		return "", missing(name)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", own)
	outside = slices.Clone(outside)
	slices.Sort(outside)
	for _, other := range slices.Compact(outside) {
		hash, ok := t.Hash(path.Clean(other))
		if !ok {
			hash = "absent"
		}
		fmt.Fprintf(h, "%q %s\n", other, hash)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func missing(name string) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{Field: "spec.source.path"}, "there is no %q in the source", name)
}

type info struct{ node *node }

func (i info) Name() string       { return i.node.name }
func (i info) Size() int64        { return int64(len(i.node.file.Data)) }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.node.dir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	switch {
	case i.node.dir:
		return fs.ModeDir | 0o555
	case i.node.file.Link != "":
		return fs.ModeSymlink | 0o777
	}
	return 0o444
}

type opened struct {
	*bytes.Reader
	node    *node
	entries []fs.DirEntry
}

func (o *opened) Stat() (fs.FileInfo, error) { return info{o.node}, nil }
func (o *opened) Close() error               { return nil }

func (o *opened) Read(p []byte) (int, error) {
	if o.node.dir {
		return 0, &fs.PathError{Op: "read", Path: o.node.name, Err: errors.New("is a directory")}
	}
	return o.Reader.Read(p)
}

// ReadDir implements fs.ReadDirFile.
func (o *opened) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(o.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(o.entries) {
		n = len(o.entries)
	}
	out := o.entries[:n:n]
	o.entries = o.entries[n:]
	return out, nil
}
