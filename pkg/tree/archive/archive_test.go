package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/tree"
	"github.com/plumb-gitops/plumb/pkg/tree/archive"
)

// entry is one of an archive; its type is that of a file, or of a link if there is
// a target.
type entry struct {
	name, data, link string
	kind             byte
	size             int64 // when it lies
}

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Size: int64(len(e.data)), Mode: 0o644}
		switch {
		case e.kind == tar.TypeXGlobalHeader:
			h = &tar.Header{Typeflag: e.kind, PAXRecords: map[string]string{"comment": "c0ffee"}}
		case e.kind != 0:
		case e.link != "":
			h.Typeflag = tar.TypeSymlink
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		default:
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// content is all of a tree, links as "-> target".
func content(t testing.TB, m *tree.Memory) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(m, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return err
		case d.Type()&fs.ModeSymlink != 0:
			target, err := m.ReadLink(name)
			all[name] = "-> " + target
			return err
		}
		data, err := m.ReadFile(name)
		all[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAnArchiveIsATree(t *testing.T) {
	plain := pack(t, entry{kind: tar.TypeXGlobalHeader}, entry{name: "./"}, entry{name: "./a/"}, entry{name: "./a/b.yaml", data: "b"},
		entry{name: "c//d", data: "d"}, entry{name: "link", link: "a/../a/b.yaml"}, entry{name: "a/up", link: "../c"}, entry{name: "a/"})
	want := map[string]string{"a/b.yaml": "b", "c/d": "d", "link": "-> a/../a/b.yaml", "a/up": "-> ../c"}
	half := len(plain) / 2
	for name, data := range map[string][]byte{
		"plain":                   plain,
		"gzipped":                 zip(t, plain),
		"gzipped in two members":  append(zip(t, plain[:half]), zip(t, plain[half:])...),
		"with nothing at its end": plain[:len(plain)-1024],
	} {
		t.Run(name, func(t *testing.T) {
			r := archive.New(archive.Limits{})
			if err := r.Tar(data); err != nil {
				t.Fatal(err)
			}
			m, err := r.Tree()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, content(t, m)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSeveralArchivesAndFilesAreOneTree(t *testing.T) {
	r := archive.New(archive.Limits{})
	for _, err := range []error{
		r.Tar(pack(t, entry{name: "a/b", data: "1"})), r.Tar(pack(t, entry{name: "a/c", data: "2"})),
		r.File("values.yaml", []byte("3")), r.Package(zip(t, pack(t, entry{name: "web/"}, entry{name: "web/Chart.yaml", data: "4"}))),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := r.Tree()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a/b": "1", "a/c": "2", "values.yaml": "3", "Chart.yaml": "4"}, content(t, m)); diff != "" {
		t.Error(diff)
	}
	if r.Weight() < 4 {
		t.Errorf("its weight is %d", r.Weight())
	}
}

func TestWhatAnArchiveMustNotHold(t *testing.T) {
	small := archive.Limits{Archive: 8 << 10, Content: 24 << 10, File: 4 << 10, Entries: 8, Depth: 4}
	bomb := make([]entry, 7)
	for i := range bomb {
		bomb[i] = entry{name: fmt.Sprint(i), data: strings.Repeat("x", 4<<10)}
	}
	roots := make([]entry, 100)
	for i := range roots {
		roots[i].name = "./"
	}
	many := make([]entry, 9)
	for i := range many {
		many[i].name = strings.Repeat("x", i+1)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"an absolute name":                {pack(t, entry{name: "/etc/passwd"}), "the name is absolute"},
		"a name that leaves":              {pack(t, entry{name: "../x"}), "made of dots"},
		"a name that leaves and returns":  {pack(t, entry{name: "a/../x"}), "made of dots"},
		"a name that is all dots":         {pack(t, entry{name: "a/.."}), "made of dots"},
		"a backslash":                     {pack(t, entry{name: `a\..\b`}), "backslash"},
		"a control character":             {pack(t, entry{name: "a\nb"}), "control character"},
		"Git's directory":                 {pack(t, entry{name: "a/.git/config"}), "take for .git"},
		"Git's directory in capitals":     {pack(t, entry{name: ".GIT/config"}), "take for .git"},
		"Git's directory by a short name": {pack(t, entry{name: "git~1/config"}), "take for .git"},
		"a name twice":                    {pack(t, entry{name: "a"}, entry{name: "./a"}), "there twice"},
		"a file where a directory is":     {pack(t, entry{name: "a/b"}, entry{name: "a"}), "there twice"},
		"a directory where a file is":     {pack(t, entry{name: "a"}, entry{name: "a/b"}), "and a directory"},
		"a file below a link":             {pack(t, entry{name: "a", link: "b"}, entry{name: "a/passwd"}), "and a directory"},
		"a link at the root":              {pack(t, entry{name: ".", link: "b"}), "where the root is"},
		"a hard link":                     {pack(t, entry{name: "a"}, entry{name: "b", link: "a", kind: tar.TypeLink}), "hard link"},
		"a device":                        {pack(t, entry{name: "null", kind: tar.TypeChar}), "device"},
		"a disk":                          {pack(t, entry{name: "sda", kind: tar.TypeBlock}), "device"},
		"a named pipe":                    {pack(t, entry{name: "fifo", kind: tar.TypeFifo}), "named pipe"},
		"an absolute link":                {pack(t, entry{name: "a", link: "/etc/passwd"}), "leaves the archive"},
		"a link that leaves":              {pack(t, entry{name: "a/b", link: "../../x"}), "leaves the archive"},
		"a link to the directory above":   {pack(t, entry{name: "a", link: ".."}), "leaves the archive"},
		"a link with a backslash":         {pack(t, entry{name: "a", link: `..\x`}), "leaves the archive"},
		"too many bytes as they came":     {pack(t, entry{name: "a", data: strings.Repeat("x", 3000)}, entry{name: "b", data: strings.Repeat("x", 3000)}, entry{name: "c", data: strings.Repeat("x", 3000)}), "archive has more than 8192 bytes"},
		"a bomb of nothing but headers":   {zip(t, pack(t, roots...)), "holds more than 24576 bytes"},
		"a gzip bomb":                     {zip(t, pack(t, bomb...)), "more than 24576 bytes"},
		"a file that is too large":        {zip(t, pack(t, entry{name: "a", data: strings.Repeat("x", 5000)})), "file has more than 4096 bytes"},
		"too many files":                  {zip(t, pack(t, many...)), "more than 8 files"},
		"a path that is too deep":         {pack(t, entry{name: "a/b/c/d/e"}), "more than 4 directories deep"},
		"many directories in one path":    {pack(t, entry{name: "a/b/c/"}, entry{name: "d/e/f/"}, entry{name: "g/h/i/"}), "more than 8 files"},
		"a name that is too long":         {pack(t, entry{name: strings.Repeat("x", 2000)}), "more than 1024 bytes"},
		"a sparse file that is one hole":  {sparse(t), "file has more than 4096 bytes"},
		"zstd":                            {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0}, "zstd"},
		"a broken gzip":                   {zip(t, pack(t, entry{name: "a", data: "x"}))[:20], "read the archive"},
		"a broken tar":                    {bytes.Repeat([]byte("x"), 1024), "read the archive"},
		"a tar that ends in a file":       {pack(t, entry{name: "a", data: "xx"})[:513], "read the archive"},
	} {
		t.Run(name, func(t *testing.T) {
			err := archive.New(small).Tar(c.data)
			class, _ := fault.ClassOf(err)
			if err == nil || !strings.Contains(err.Error(), c.want) || class != fault.Permanent || fault.ReasonOf(err) != fault.SourceRefused {
				t.Errorf("%v (%s, %s), want a permanent SourceRefused with %q", err, class, fault.ReasonOf(err), c.want)
			}
		})
	}
}

// sparse is a file of 8 GiB that is one hole, in GNU's old format: the archive has
// 1,536 bytes.
func sparse(t *testing.T) []byte {
	t.Helper()
	b := pack(t, entry{name: "hole"})
	b[156] = tar.TypeGNUSparse
	copy(b[257:], "ustar  \x00")
	copy(b[345:], make([]byte, 155))
	copy(b[483:], "77777777777\x00")
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func TestLimitsHoldOverAllThatIsGiven(t *testing.T) {
	limits := archive.Limits{Archive: 45, Content: 42, File: 30, Entries: 2, Depth: 2}
	for name, c := range map[string]struct {
		give func(r *archive.Reader, n int) error
		want string
	}{
		"bytes as they came": {func(r *archive.Reader, n int) error { return r.File(fmt.Sprint(n), make([]byte, 20)) }, "archive has more than 45"},
		"bytes of files":     {func(r *archive.Reader, n int) error { return r.File(fmt.Sprint(n), make([]byte, 15)) }, "more than 42 bytes together"},
		"files":              {func(r *archive.Reader, n int) error { return r.File(fmt.Sprint(n), nil) }, "more than 2 files"},
		"bytes of a file":    {func(r *archive.Reader, n int) error { return r.File(fmt.Sprint(n), make([]byte, n*31)) }, "file has more than 30"},
	} {
		t.Run(name, func(t *testing.T) {
			r := archive.New(limits)
			var err error
			for n := 0; n < 3 && err == nil; n++ {
				err = c.give(r, min(n, 2))
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestAPackageHoldsOneDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"two directories":       {[]entry{{name: "a/x"}, {name: "b/x"}}, "more than the one directory"},
		"a file beside it":      {[]entry{{name: "a/x"}, {name: "Chart.yaml"}}, "more than the one directory"},
		"only a file":           {[]entry{{name: "Chart.yaml"}}, "where the root is"},
		"a link that leaves it": {[]entry{{name: "a/x", link: "../y"}}, "leaves the archive"},
		"a link in its place":   {[]entry{{name: "a", link: "b"}}, "where the root is"},
	} {
		t.Run(name, func(t *testing.T) {
			err := archive.New(archive.Limits{}).Package(pack(t, c.entries...))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// Whatever the bytes are, the result is an error or a tree within the limits whose
// names and links stay in it.
func FuzzTar(f *testing.F) {
	f.Add(pack(f, entry{name: "a/b", data: "x"}, entry{name: "l", link: "a/b"}), false)
	f.Add(zip(f, pack(f, entry{name: "./web/Chart.yaml", data: "name: web"})), true)
	f.Add(pack(f, entry{name: "../x"}), false)
	limits := archive.Limits{Archive: 64 << 10, Content: 256 << 10, File: 32 << 10, Entries: 50, Depth: 5}
	f.Fuzz(func(t *testing.T, data []byte, packaged bool) {
		r := archive.New(limits)
		take := r.Tar
		if packaged {
			take = r.Package
		}
		if err := take(data); err != nil {
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Fatalf("%v is %s", err, class)
			}
			return
		}
		m, err := r.Tree()
		if err != nil {
			t.Fatal(err)
		}
		all := content(t, m)
		if len(all) > limits.Entries {
			t.Fatalf("%d files", len(all))
		}
		for name, data := range all {
			target, link := strings.CutPrefix(data, "-> ")
			if !fs.ValidPath(name) || link && !fs.ValidPath(path.Join(path.Dir(name), target)) || int64(len(data)) > limits.File {
				t.Fatalf("%q is %q", name, data)
			}
		}
	})
}
