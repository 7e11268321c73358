package git

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Hash is the Git hash of what stands at path, symlinks followed; false when
// nothing does or it must not be read.
func (t *Tree) Hash(path string) (hash string, ok bool) {
	n, err := t.resolve("hash", path, true)
	if err != nil {
		return "", false
	}
	return n.hash.String(), true
}

// Digest is a SHA-256 over the Git hashes and modes of path and of each path
// outside it, the absence of one included; all paths begin at the root of the
// tree. An error means that path itself is not there or must not be read, or
// that the store is damaged.
func (t *Tree) Digest(dir string, outside []string) (string, error) {
	sum := sha256.New()
	n, err := t.resolve("digest", path.Clean(dir), true)
	if err != nil {
		return "", t.absent(dir, err)
	}
	fmt.Fprintf(sum, "%o %s\n", uint32(n.mode), n.hash)
	names := make([]string, 0, len(outside))
	for _, name := range outside {
		names = append(names, path.Clean(name))
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		n, err := t.resolve("digest", name, true)
		switch {
		case err == nil:
			fmt.Fprintf(sum, "%q %o %s\n", name, uint32(n.mode), n.hash)
		case notThere(err):
			fmt.Fprintf(sum, "%q absent\n", name)
		case permanent(err):
			fmt.Fprintf(sum, "%q refused\n", name)
		default:
			return "", fmt.Errorf("digest %s: %w", name, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (t *Tree) absent(dir string, err error) error {
	if notThere(err) {
		return &fault.Error{Class: fault.Permanent, Reason: fault.SourceRefused, Place: fault.Place{Field: "spec.source.path"},
			Err: fmt.Errorf("there is no %q in the repository: %w", dir, errors.Unwrap(err))}
	}
	return err
}

func permanent(err error) bool {
	class, _ := fault.ClassOf(err)
	return class == fault.Permanent
}
