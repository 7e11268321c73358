// Package archive makes trees of tar archives, in memory and within limits.
//
// It may import tree and fault. Everything it refuses is a permanent fault with
// reason SourceRefused that names the entry: what an archive holds does not change.
package archive

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// Limits bound what a Reader takes, over all that it is given. Zero is the default.
type Limits struct {
	Archive int64 // bytes as they came, before they are inflated; 32 MiB
	Content int64 // bytes of all inflated archives, headers and padding included; 128 MiB
	File    int64 // bytes of one file; 10 MiB
	Entries int   // files, links and directories; 20,000
	Depth   int   // names in one path; 32
}

func (l Limits) filled() Limits {
	return Limits{
		Archive: cmp.Or(l.Archive, 32<<20), Content: cmp.Or(l.Content, 128<<20), File: cmp.Or(l.File, 10<<20),
		Entries: cmp.Or(l.Entries, 20_000), Depth: cmp.Or(l.Depth, 32),
	}
}

// Reader collects files of archives. It is for one goroutine.
type Reader struct {
	limits  Limits
	files   map[string]tree.File
	folders map[string]bool
	archive int64 // of Limits.Archive that was used
	content int64 // of Limits.Content that was used
	weight  int64
}

// New returns a Reader that holds nothing yet.
func New(l Limits) *Reader {
	return &Reader{limits: l.filled(), files: map[string]tree.File{}, folders: map[string]bool{}}
}

// Limits are those of the Reader, with the defaults in place of zeros.
func (r *Reader) Limits() Limits { return r.limits }

// Tar takes the files of a tar archive, gzipped or not.
func (r *Reader) Tar(data []byte) error {
	return r.tar(data, func(name string) (string, error) { return name, nil })
}

// Package takes the files of a tar archive, gzipped or not, that holds one
// directory, and leaves the name of that directory out, as charts are packaged.
func (r *Reader) Package(data []byte) error {
	var top string
	return r.tar(data, func(name string) (string, error) {
		first, rest, _ := strings.Cut(name, "/")
		if top = cmp.Or(top, first); top != first {
			return "", refuse(name, "the package holds more than the one directory %q", top)
		}
		return cmp.Or(rest, "."), nil
	})
}

// File takes one file by its name.
func (r *Reader) File(name string, data []byte) error {
	clean, err := r.name(name)
	if err != nil {
		return err
	}
	if err := r.take(int64(len(data))); err != nil {
		return err
	}
	if r.content += int64(len(data)); r.content > r.limits.Content {
		return refuse(name, "the files have more than %d bytes together", r.limits.Content)
	}
	if int64(len(data)) > r.limits.File {
		return refuse(name, "the file has more than %d bytes", r.limits.File)
	}
	return r.add(clean, tree.File{Data: data})
}

// Tree is what was taken so far.
func (r *Reader) Tree() (*tree.Memory, error) { return tree.FromFiles(r.files) }

// Weight is about how many bytes of memory the tree holds.
func (r *Reader) Weight() int64 {
	const each = 512 // of a node: its names, its hash and its places in two maps
	return r.weight + each*int64(len(r.files)+len(r.folders))
}

func (r *Reader) take(n int64) error {
	if r.archive += n; r.archive > r.limits.Archive {
		return refuse("", "the archive has more than %d bytes", r.limits.Archive)
	}
	return nil
}

// tar reads entries under the names that rename gives them.
func (r *Reader) tar(data []byte, rename func(string) (string, error)) error {
	if err := r.take(int64(len(data))); err != nil {
		return err
	}
	plain, err := inflate(data)
	if err != nil {
		return err
	}
	in := tar.NewReader(&meter{in: plain, used: &r.content, limit: r.limits.Content})
	for {
		h, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		if err := r.entry(h, in, rename); err != nil {
			return err
		}
	}
}

// Magic numbers: RFC 1952, 2.3.1, and RFC 8878, 3.1.1.
var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

func inflate(data []byte) (io.Reader, error) {
	switch {
	case bytes.HasPrefix(data, zstdMagic):
		return nil, refuse("", "the archive is compressed with zstd; compress it with gzip")
	case bytes.HasPrefix(data, gzipMagic):
		plain, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, unreadable(err)
		}
		return plain, nil
	}
	return bytes.NewReader(data), nil
}

// meter ends a stream that goes on beyond the limit.
type meter struct {
	in    io.Reader
	used  *int64
	limit int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.in.Read(p)
	if *m.used += int64(n); *m.used > m.limit {
		return 0, refuse("", "the archive holds more than %d bytes", m.limit)
	}
	return n, err
}

func unreadable(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	return refuse("", "read the archive: %w", err)
}

func (r *Reader) entry(h *tar.Header, in io.Reader, rename func(string) (string, error)) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // git archive writes the commit there
		return nil
	}
	clean, err := r.name(h.Name)
	if err != nil {
		return err
	}
	name := clean
	if name != "." {
		if name, err = rename(clean); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return r.folder(name)
	case tar.TypeReg, tar.TypeGNUSparse:
		return r.regular(name, h, in)
	case tar.TypeSymlink:
		return r.link(name, h.Linkname)
	}
	return refuse(clean, "it is a %s; only files, directories and symbolic links are taken", kind(h.Typeflag))
}

func kind(flag byte) string {
	switch flag {
	case tar.TypeLink:
		return "hard link"
	case tar.TypeChar, tar.TypeBlock:
		return "device"
	case tar.TypeFifo:
		return "named pipe"
	}
	return "special entry"
}

func (r *Reader) regular(name string, h *tar.Header, in io.Reader) error {
	if h.Size > r.limits.File {
		return refuse(name, "the file has more than %d bytes", r.limits.File)
	}
	// The holes of a sparse file cost nothing in the archive, and memory here.
	if h.Size > r.limits.Content-r.weight {
		return refuse(name, "the files have more than %d bytes together", r.limits.Content)
	}
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(in, r.limits.File)); err != nil {
		return unreadable(err)
	}
	return r.add(name, tree.File{Data: data.Bytes()})
}

func (r *Reader) link(name, target string) error {
	to := path.Join(path.Dir(name), target)
	if target == "" || path.IsAbs(target) || strings.ContainsAny(target, "\\\x00") || to == ".." || strings.HasPrefix(to, "../") {
		return refuse(name, "the symbolic link leaves the archive")
	}
	return r.add(name, tree.File{Link: target})
}

// add keeps a file under a name that nothing else has.
func (r *Reader) add(name string, f tree.File) error {
	if name == "." {
		return refuse(name, "a file or link stands where the root is")
	}
	if _, twice := r.files[name]; twice || r.folders[name] {
		return refuse(name, "the name is there twice")
	}
	if err := r.folder(path.Dir(name)); err != nil {
		return err
	}
	r.files[name] = f
	r.weight += int64(len(name) + len(f.Data) + len(f.Link))
	return r.count(name)
}

func (r *Reader) folder(name string) error {
	for ; name != "." && !r.folders[name]; name = path.Dir(name) {
		if _, file := r.files[name]; file {
			return refuse(name, "it is a file or link, and a directory")
		}
		r.folders[name] = true
		if err := r.count(name); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) count(name string) error {
	if len(r.files)+len(r.folders) > r.limits.Entries {
		return refuse(name, "there are more than %d files and directories", r.limits.Entries)
	}
	return nil
}

func refuse(name, format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{File: name}, format, args...)
}
