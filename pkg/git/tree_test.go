package git_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// planted makes a commit of the tree that the fast-import text describes, as a
// hostile client could, and fetches it.
func (s *site) planted(files string) *git.Tree {
	s.Helper()
	const commit = "commit refs/heads/main\ncommitter A <a@b> 0 +0000\ndata 1\nx\n"
	if _, err := s.repo.Server(s.Context(), commit+files, "fast-import", "--quiet", "--force"); err != nil {
		s.Fatal(err)
	}
	return s.tree(s.fetch("main").SHA)
}

// file, link and sub are lines of a fast-import text.
func file(path, content string) string {
	return fmt.Sprintf("M 100644 inline %q\ndata %d\n%s\n", path, len(content), content)
}

func link(path, target string) string {
	return fmt.Sprintf("M 120000 inline %q\ndata %d\n%s\n", path, len(target), target)
}

func TestTreeIsAFileSystem(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	tree := s.planted(file("README.md", "hello") + file("apps/web/deploy.yaml", "kind: Deployment\n") + file("apps/web/empty", "") +
		"M 100755 inline run.sh\ndata 2\n#!\n" + file("deep/a/b/c/d/e.yaml", "x"))
	if err := fstest.TestFS(tree, "README.md", "apps/web/deploy.yaml", "apps/web/empty", "run.sh", "deep/a/b/c/d/e.yaml"); err != nil {
		t.Error(err)
	}
	info, err := tree.Stat("run.sh")
	if err != nil || info.Mode() != 0o555 || info.Size() != 2 {
		t.Errorf("run.sh is %v (%v)", info, err)
	}
	if _, err := tree.ReadFile("apps/web/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if _, err := tree.ReadFile("README.md/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file as a directory gives %v", err)
	}
	if _, err := tree.ReadFile("apps"); err == nil {
		t.Error("a directory can be read as a file")
	}
	if _, err := tree.ReadDir("README.md"); err == nil {
		t.Error("a file can be listed")
	}
}

func TestReadFileCanBeChangedByItsCaller(t *testing.T) {
	tree := newSite(t, gitserver.Options{}, git.Options{}).planted(file("f", "hello"))
	for range 2 {
		data, err := tree.ReadFile("f")
		if err != nil || string(data) != "hello" {
			t.Fatalf("f is %q (%v)", data, err)
		}
		data[0] = 'j'
	}
}

func TestSymlinksWithinTheTree(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	tree := s.planted(file("base/common/x.yaml", "x") + file("top.yaml", "top") +
		link("app/file", "../base/common/x.yaml") + link("app/dir", "../base/common") + link("app/up", "dir/../../top.yaml") +
		link("app/chain", "chain2") + link("app/chain2", "./file") + link("app/slashes", "..//base/./common/x.yaml") +
		link("self", ".") + link("app/dangling", "nowhere"))
	for path, want := range map[string]string{
		"app/file": "x", "app/dir/x.yaml": "x", "app/up": "top", "app/chain": "x", "app/slashes": "x", "self/self/app/file": "x",
	} {
		got, err := tree.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s is %q (%v), want %q", path, got, err, want)
		}
	}
	if _, err := tree.ReadFile("app/dangling"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dangling symlink gives %v", err)
	}
	entries, err := tree.ReadDir("app/dir")
	if err != nil || len(entries) != 1 || entries[0].Name() != "x.yaml" {
		t.Errorf("app/dir lists %v (%v)", entries, err)
	}
	info, err := tree.Lstat("app/dir")
	target, linkErr := tree.ReadLink("app/dir")
	if err != nil || linkErr != nil || info.Mode().Type() != fs.ModeSymlink || target != "../base/common" {
		t.Errorf("app/dir is %v to %q (%v, %v)", info, target, err, linkErr)
	}
}

func TestTreeRefuses(t *testing.T) {
	loop := ""
	for i := range 20 {
		loop += link(fmt.Sprintf("long/l%d", i), fmt.Sprintf("l%d", i+1))
	}
	deep := strings.Repeat("d/", 70) + "f"
	s := newSite(t, gitserver.Options{}, git.Options{MaxFile: 1000})
	tree := s.planted(link("app/secret", "/var/run/secrets/token") + link("app/out", "../../etc/passwd") + link("app/dir", "..") +
		link("app/far", "dir/../../x") + link("app/round", "round2") + link("app/round2", "round") + loop + file("long/l20", "x") +
		link("app/odd", `..\..\etc`) + link("app/none", "") + link("app/root", "/") + link("hop", "app/out") +
		"M 160000 0123456789012345678901234567890123456789 vendor/lib\n" +
		file("app/big.bin", strings.Repeat("a", 1001)) + file("app/fits", strings.Repeat("a", 1000)) +
		file("app/model", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n") + file(deep, "x"))
	tests := map[string]struct {
		path  string
		words []string
	}{
		"an absolute symlink":            {"app/secret", []string{"app/secret", "out of the tree", "/var/run/secrets/token"}},
		"a symlink to the root":          {"app/root/etc/passwd", []string{"app/root", "out of the tree"}},
		"a symlink upwards":              {"app/out", []string{"app/out", "out of the tree", "../../etc/passwd"}},
		"a symlink to one upwards":       {"hop", []string{"app/out", "out of the tree"}},
		"out through a directory's link": {"app/far", []string{"app/far", "out of the tree"}},
		"symlinks that go round":         {"app/round", []string{"app/round", "symlinks"}},
		"a long chain of symlinks":       {"long/l0", []string{"long/l0", "16 symlinks"}},
		"a symlink with backslashes":     {"app/odd", []string{"app/odd", "backslash"}},
		"an empty symlink":               {"app/none", []string{"app/none", "nowhere"}},
		"a submodule":                    {"vendor/lib", []string{"vendor/lib", "submodule"}},
		"a file in a submodule":          {"vendor/lib/x", []string{"vendor/lib", "submodule"}},
		"a file over the limit":          {"app/big.bin", []string{"app/big.bin", "1001 bytes", "1000"}},
		"an LFS pointer":                 {"app/model", []string{"app/model", "LFS"}},
		"a file nested too deep":         {deep, []string{"64 deep"}},
		"a name of Git's":                {"app/.git/config", []string{"app/.git", ".git"}},
		"a short name of Git's":          {"GIT~1", []string{"GIT~1", ".git"}},
		"a backslash":                    {`app\big.bin`, []string{"backslash"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tree.ReadFile(tt.path)
			wantFault(t, err, fault.Permanent, fault.SourceRefused, tt.words...)
		})
	}
	for _, path := range []string{"../x", "/etc/passwd", "app/../../x", "", "app//x"} {
		if _, err := tree.ReadFile(path); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q gives %v", path, err)
		}
	}
	if got, err := tree.ReadFile("app/fits"); err != nil || len(got) != 1000 {
		t.Errorf("a file at the limit: %d bytes (%v)", len(got), err)
	}
}

// plantedTree puts a hand-made tree object into the repository; git mktree and
// fast-import would refuse its names.
func (s *site) plantedTree(entries ...string) *git.Tree {
	s.Helper()
	var content strings.Builder
	blob := s.put("blob", "x")
	for _, e := range entries {
		content.WriteString(e + "\x00" + raw(s.T, blob))
	}
	return s.rooted(s.put("tree", content.String()))
}

// put stores an object without any check and returns its SHA.
func (s *site) put(kind, content string) string {
	s.Helper()
	sha, err := s.repo.Server(s.Context(), content, "hash-object", "-w", "--literally", "-t", kind, "--stdin")
	if err != nil {
		s.Fatal(err)
	}
	return sha
}

// rooted makes main a commit of the tree below bad/, and fetches it.
func (s *site) rooted(tree string) *git.Tree {
	s.Helper()
	root := s.put("tree", "40000 bad\x00"+raw(s.T, tree)+"100644 good\x00"+raw(s.T, s.put("blob", "fine")))
	commit := s.put("commit", "tree "+root+"\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nx\n")
	s.atServer("update-ref", "refs/heads/main", commit)
	return s.tree(s.fetch("main").SHA)
}

func raw(t *testing.T, sha string) string {
	t.Helper()
	var out []byte
	if _, err := fmt.Sscanf(sha, "%x", &out); err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestHostileNamesAreRefusedAndHarmNobodyElse(t *testing.T) {
	tests := map[string][]string{
		"a .git":                 {"100644 .git"},
		"a .GIT":                 {"100644 .GIT"},
		"a short name of .git":   {"100644 git~1"},
		"a .git with a dot":      {"100644 .git."},
		"a .git with a stream":   {"100644 .git::$INDEX_ALLOCATION"},
		"a .git hidden for HFS+": {"100644 .g\u200cit"},
		"dots":                   {"100644 .."},
		"a dot":                  {"100644 ."},
		"a slash":                {"100644 a/../../b"},
		"a backslash":            {`100644 a\b`},
		"a newline":              {"100644 a\nb"},
		"no UTF-8":               {"100644 a\xff"},
		"two of a name":          {"100644 a", "100644 a"},
		"a mode of devices":      {"020000 a"},
	}
	all := newSite(t, gitserver.Options{}, git.Options{})
	for name, entries := range tests {
		t.Run(name, func(t *testing.T) {
			tree := all.in(t).plantedTree(entries...)
			_, err := tree.ReadDir("bad")
			wantFault(t, err, fault.Permanent, fault.SourceRefused, "bad")
			if got, err := tree.ReadFile("good"); err != nil || string(got) != "fine" {
				t.Errorf("good is %q (%v)", got, err)
			}
			if _, err := tree.Digest("good", []string{"bad"}); err != nil {
				t.Errorf("digest: %v", err)
			}
		})
	}
}

func TestTreeBombIsBounded(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{MaxEntries: 5000})
	blob := raw(t, s.put("blob", "x"))
	level := s.put("tree", "100644 f\x00"+blob)
	for range 12 { // 10^12 paths from 14 objects
		var content strings.Builder
		for i := range 10 {
			fmt.Fprintf(&content, "40000 d%d\x00%s", i, raw(t, level))
		}
		level = s.put("tree", content.String())
	}
	tree := s.rooted(level)
	err := fs.WalkDir(tree, ".", func(_ string, _ fs.DirEntry, err error) error { return err })
	wantFault(t, err, fault.Permanent, fault.SourceRefused, "5000 files", "smaller path")
	if got, err := tree.ReadFile("good"); err != nil || string(got) != "fine" {
		t.Errorf("good is %q (%v)", got, err)
	}
}

// TestHugeFile pushes a file of 200 MB, which is refused where it is read and
// costs the rest of the repository nothing.
func TestHugeFile(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	huge := filepath.Join(t.TempDir(), "huge.bin")
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, 200<<20)); err != nil {
		t.Fatal(err)
	}
	blob := s.atServer("-c", "core.compression=1", "hash-object", "-w", huge)
	root := s.put("tree", "100644 huge.bin\x00"+raw(t, blob)+"100644 small.yaml\x00"+raw(t, s.put("blob", "x")))
	commit := s.put("commit", "tree "+root+"\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nx\n")
	s.atServer("update-ref", "refs/heads/main", commit)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tree := s.tree(s.fetch("main").SHA)
	runtime.ReadMemStats(&after)
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 64 {
		t.Errorf("the fetch allocated %d MB", used)
	}
	_, err := tree.ReadFile("huge.bin")
	wantFault(t, err, fault.Permanent, fault.SourceRefused, "huge.bin", "209715200 bytes", "limit is 10485760")
	if got, err := tree.ReadFile("small.yaml"); err != nil || string(got) != "x" {
		t.Errorf("small.yaml is %q (%v)", got, err)
	}
	if info, err := tree.Stat("huge.bin"); err != nil || info.Size() != 200<<20 {
		t.Errorf("huge.bin is %v (%v)", info, err)
	}
}

func TestDigest(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	tree := s.planted(file("app/a.yaml", "a") + file("base/b.yaml", "b") + file("other", "o") + link("app/l", "../base/b.yaml") + link("app/out", "/etc/passwd"))
	digest := func(t *testing.T, tree *git.Tree, path string, outside ...string) string {
		t.Helper()
		d, err := tree.Digest(path, outside)
		if err != nil || len(d) != 64 {
			t.Fatalf("digest of %s %v: %q, %v", path, outside, d, err)
		}
		return d
	}
	before := digest(t, tree, "app", "base/b.yaml", "base/none", "app/out")
	if got := digest(t, tree, "./app/", "app/out", "base/none", "base/b.yaml", "base/./b.yaml"); got != before {
		t.Error("the order, the spelling or a repetition of paths matters")
	}
	changes := map[string]struct {
		files   string
		differs bool
	}{
		"nothing that is read":     {file("other", "changed"), false},
		"a file in the path":       {file("app/a.yaml", "changed"), true},
		"a file outside":           {file("base/b.yaml", "changed"), true},
		"a missing file appears":   {file("base/none", "here"), true},
		"a refused link leads in":  {link("app/out", "a.yaml"), true},
		"a file beside one read":   {file("base/c.yaml", "x"), false},
		"a file becomes a program": {"M 100755 inline base/b.yaml\ndata 1\nb\n", true},
	}
	for name, tt := range changes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, gitserver.Options{}, git.Options{})
			same := file("app/a.yaml", "a") + file("base/b.yaml", "b") + file("other", "o") + link("app/l", "../base/b.yaml") + link("app/out", "/etc/passwd")
			if got := digest(t, s.planted(same+tt.files), "app", "base/b.yaml", "base/none", "app/out"); (got != before) != tt.differs {
				t.Errorf("digest differs: %v, want %v", got != before, tt.differs)
			}
		})
	}
	for _, path := range []string{"none", "../x", "/etc"} {
		_, err := tree.Digest(path, nil)
		wantFault(t, err, fault.Permanent, fault.SourceRefused, "spec.source.path", path)
	}
	hash, ok := tree.Hash("app/a.yaml")
	linked, _ := tree.Hash("app/l")
	direct, _ := tree.Hash("base/b.yaml")
	if _, found := tree.Hash("none"); !ok || found || linked != direct || len(hash) != 40 {
		t.Errorf("hashes: %s %v, %s and %s, none found: %v", hash, ok, linked, direct, found)
	}
}

func TestOpenFileReadsLikeAFile(t *testing.T) {
	tree := newSite(t, gitserver.Options{}, git.Options{}).planted(file("f", "hello"))
	f, err := tree.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if err != nil || string(got) != "hello" {
		t.Errorf("f is %q (%v)", got, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
