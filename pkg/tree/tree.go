// Package tree holds source trees as values: what a source is made of, whichever
// way it came here, and trees made of several.
//
// It may import fault only. A tree never leaves itself: paths are those of fs.FS,
// and links are told as they stand, for the reader to follow within the tree.
package tree

import (
	"io/fs"
)

// Tree is the files of one revision, read from their root on. It is safe for
// concurrent use and never changes.
type Tree interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.ReadLinkFS
	// Hash names the content of what stands at path, links followed; false when
	// nothing does or it must not be read.
	Hash(path string) (hash string, ok bool)
	// Digest is a SHA-256 over the hashes of path and of each path outside it, the
	// absence of one included. An error means that path itself is not there or must
	// not be read.
	Digest(path string, outside []string) (string, error)
}
