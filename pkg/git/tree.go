package git

import "io/fs"

var _ interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.ReadLinkFS
} = (*Tree)(nil)

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) { panic("pending") }

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) { panic("pending") }

// ReadFile implements fs.ReadFileFS.
func (t *Tree) ReadFile(name string) ([]byte, error) { panic("pending") }

// Stat implements fs.StatFS; it follows symlinks.
func (t *Tree) Stat(name string) (fs.FileInfo, error) { panic("pending") }

// Lstat is Stat for the symlink itself.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) { panic("pending") }

// ReadLink returns where a symlink points to, as it stands in Git.
func (t *Tree) ReadLink(name string) (string, error) { panic("pending") }

// Hash is the Git hash of what stands at path, symlinks followed; false when
// nothing does.
func (t *Tree) Hash(path string) (hash string, ok bool) { panic("pending") }

// Digest is a SHA-256 over the Git hashes of path and of each path outside it,
// the absence of one included. An error means that path itself is not there or
// must not be read.
func (t *Tree) Digest(path string, outside []string) (string, error) { panic("pending") }
