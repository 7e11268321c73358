package render

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/decrypt"
)

// maxLinks is how many symlinks one path may lead through, as in Linux.
const maxLinks = 40

// view is a tree with the rules of a render: paths stay in it, symlinks too, sizes
// and counts are limited, and every access is on record. A child sees the tree
// through it only, so the record can be trusted whatever the child does.
type view struct {
	tree   Tree
	links  fs.ReadLinkFS // nil: the tree shows no symlinks
	limits Limits
	keys   decrypt.Keys

	mu      sync.Mutex
	files   int
	bytes   int64
	plain   map[string]bool // paths known to be directories and no links
	records records
	secrets []string // plaintexts of encrypted files, which no error may tell
	refusal error    // the first rule that was broken
}

func newView(tree Tree, limits Limits) *view {
	links, _ := tree.(fs.ReadLinkFS)
	return &view{tree: tree, links: links, limits: limits, plain: map[string]bool{".": true}, records: records{seen: map[string]access{}}}
}

// enter makes the source path the one whose accesses need no record, and returns
// where it really is.
func (v *view) enter(source string) (string, error) {
	name := path.Clean(strings.TrimPrefix(source, "./"))
	if source == "" {
		name = "."
	}
	if !fs.ValidPath(name) {
		return "", refuse(fault.Place{File: source, Field: "spec.source.path"}, "the path must be relative and stay in the repository")
	}
	info, err := v.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", refuse(fault.Place{File: name, Field: "spec.source.path"}, "there is no such path at this revision")
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", refuse(fault.Place{File: name, Field: "spec.source.path"}, "the path is a file; name its directory")
	}
	real := info.Sys().(string)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.records.enter(name)
	if real != name {
		v.records.add(real, listed)
	}
	return real, nil
}

// ReadFile reads a file within the limits.
func (v *view) ReadFile(name string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	info, err := v.stat(name)
	if err != nil {
		return nil, err
	}
	real := info.Sys().(string)
	if info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	if info.Size() > v.limits.FileBytes {
		return nil, v.refuse(real, "the file has %d bytes, more than the %d that are read", info.Size(), v.limits.FileBytes)
	}
	if v.bytes += info.Size(); v.bytes > v.limits.TotalBytes {
		return nil, v.refuse(real, "the files of this source have more than %d bytes together", v.limits.TotalBytes)
	}
	data, err := v.tree.ReadFile(real)
	if err == nil && int64(len(data)) > info.Size() {
		err = v.refuse(real, "the file has more bytes than the tree says")
	}
	v.records.add(real, read)
	if err != nil {
		return nil, err
	}
	return v.decrypt(real, data)
}

// decrypt shows a file of SOPS as what it holds. A failure ends the render: what a
// renderer made of ciphertext would be wrong.
func (v *view) decrypt(real string, data []byte) ([]byte, error) {
	plain, err := v.keys.Decrypt(real, data)
	if err != nil && v.refusal == nil {
		v.refusal = err
	}
	v.secrets = append(v.secrets, plain.Secrets...)
	return plain.Data, err
}

// ReadDir lists a directory by name. Links among the entries are told as links.
func (v *view) ReadDir(name string) ([]fs.DirEntry, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	info, err := v.stat(name)
	if err != nil {
		return nil, err
	}
	real := info.Sys().(string)
	entries, err := v.tree.ReadDir(real)
	if err != nil {
		return nil, err
	}
	v.records.add(real, listed)
	if v.files += len(entries); v.files > v.limits.Files {
		return nil, v.refuse(real, "this source has more than %d files", v.limits.Files)
	}
	return entries, nil
}

// Stat tells about a file or directory, links followed. Sys is the path, a string,
// that the links lead to.
func (v *view) Stat(name string) (fs.FileInfo, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stat(name)
}

func (v *view) stat(name string) (fs.FileInfo, error) {
	if v.files++; v.files > v.limits.Files {
		return nil, v.refuse(name, "this source has more than %d files", v.limits.Files)
	}
	real, err := v.resolve(name)
	if err != nil {
		return nil, err
	}
	info, err := v.tree.Stat(real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.records.add(real, absent)
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	case err != nil:
		return nil, err
	case info.IsDir():
		v.records.add(real, passed)
	case !info.Mode().IsRegular():
		return nil, v.refuse(real, "not a regular file (a submodule, perhaps); only files, directories and symlinks are rendered")
	default:
		v.records.add(real, read)
	}
	return resolved{info, real}, nil
}

// resolved is a FileInfo that knows its path.
type resolved struct {
	fs.FileInfo
	path string
}

func (r resolved) Sys() any { return r.path }

// resolve follows symlinks, the last one too, and refuses those that leave the tree.
func (v *view) resolve(name string) (string, error) {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") {
		return "", v.refuse(name, "the path leaves the repository")
	}
	if v.links == nil {
		return name, nil
	}
	done, rest := ".", name
	for links := 0; rest != "" && rest != "."; {
		first, tail, _ := strings.Cut(rest, "/")
		full := path.Join(done, first)
		target, err := v.target(full)
		if err != nil {
			return "", err
		}
		if target == "" {
			done, rest = full, tail
			continue
		}
		if links++; links > maxLinks {
			return "", v.refuse(name, "the path leads through more than %d symlinks", maxLinks)
		}
		done, rest = ".", path.Join(path.Dir(full), target, tail)
		if !fs.ValidPath(rest) {
			return "", v.refuse(full, "the symlink leaves the repository")
		}
	}
	return done, nil
}

// target returns where the link at full points to, empty when it is none.
func (v *view) target(full string) (string, error) {
	if v.plain[full] {
		return "", nil
	}
	info, err := v.links.Lstat(full)
	if errors.Is(err, fs.ErrNotExist) {
		v.records.add(full, absent)
		return "", &fs.PathError{Op: "stat", Path: full, Err: fs.ErrNotExist}
	}
	if err != nil {
		return "", err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		v.plain[full] = info.IsDir()
		return "", nil
	}
	target, err := v.links.ReadLink(full)
	if err != nil {
		return "", err
	}
	v.records.add(full, read)
	if target == "" || path.IsAbs(target) || strings.ContainsAny(target, "\\\x00") {
		return "", v.refuse(full, "the symlink leaves the repository")
	}
	return target, nil
}

// refuse keeps the first refusal: whatever a child makes of it, it is the error.
func (v *view) refuse(name, format string, args ...any) error {
	err := refuse(fault.Place{File: name}, format, args...)
	if v.refusal == nil {
		v.refusal = err
	}
	return err
}

// Outside returns the recorded paths outside the source path.
func (v *view) Outside() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.records.outside()
}
