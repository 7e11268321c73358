package tree

import (
	"io/fs"
	"path"
)

// sub is a directory of a tree as a tree of its own.
type sub struct {
	Tree
	dir string
}

// Sub returns the directory of t at dir as a tree, such as to mount it at a second
// place. Links are told as they stand, so that one which leaves the directory leads
// elsewhere there, or nowhere.
func Sub(t Tree, dir string) Tree { return sub{t, path.Clean(dir)} }

func (s sub) at(name string) string {
	if !fs.ValidPath(name) {
		return name // for the tree to refuse
	}
	return path.Join(s.dir, name)
}

func (s sub) Open(name string) (fs.File, error)          { return s.Tree.Open(s.at(name)) }
func (s sub) ReadDir(name string) ([]fs.DirEntry, error) { return s.Tree.ReadDir(s.at(name)) }
func (s sub) ReadFile(name string) ([]byte, error)       { return s.Tree.ReadFile(s.at(name)) }
func (s sub) Stat(name string) (fs.FileInfo, error)      { return s.Tree.Stat(s.at(name)) }
func (s sub) Lstat(name string) (fs.FileInfo, error)     { return s.Tree.Lstat(s.at(name)) }
func (s sub) ReadLink(name string) (string, error)       { return s.Tree.ReadLink(s.at(name)) }
func (s sub) Hash(name string) (string, bool)            { return s.Tree.Hash(s.at(name)) }

func (s sub) Digest(name string, outside []string) (string, error) {
	others := make([]string, len(outside))
	for i, name := range outside {
		others[i] = s.at(path.Clean(name))
	}
	return s.Tree.Digest(s.at(path.Clean(name)), others)
}
