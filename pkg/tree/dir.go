package tree

import (
	"errors"
	"io/fs"
	"os"
)

// dir is a directory of this machine.
type dir struct{ fs.ReadLinkFS }

// Dir returns a directory of this machine as a tree. No link leads out of it. Since
// its files may change at any time it has no hashes, and its Digest is an error.
func Dir(root *os.Root) Tree { return dir{root.FS().(fs.ReadLinkFS)} }

var errNoDigest = errors.New("a directory that may change has no digest")

func (d dir) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(d.ReadLinkFS, name) }
func (d dir) ReadFile(name string) ([]byte, error)       { return fs.ReadFile(d.ReadLinkFS, name) }
func (d dir) Stat(name string) (fs.FileInfo, error)      { return fs.Stat(d.ReadLinkFS, name) }

func (d dir) Hash(string) (string, bool)              { return "", false }
func (d dir) Digest(string, []string) (string, error) { return "", errNoDigest }
