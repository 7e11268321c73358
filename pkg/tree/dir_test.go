package tree_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/plumb-gitops/plumb/pkg/tree"
)

func directory(t *testing.T) (string, tree.Tree) {
	t.Helper()
	path := t.TempDir()
	for name, text := range map[string]string{"a.yaml": "a", "sub/b.yaml": "b"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(path, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return path, tree.Dir(root)
}

func TestADirectoryIsATree(t *testing.T) {
	_, d := directory(t)
	if err := fstest.TestFS(d, "a.yaml", "sub/b.yaml"); err != nil {
		t.Error(err)
	}
	if hash, ok := d.Hash("a.yaml"); ok {
		t.Errorf("a file that may change has the hash %q", hash)
	}
	if digest, err := d.Digest(".", nil); err == nil {
		t.Errorf("a directory that may change has the digest %q", digest)
	}
}

func TestADirectoryTellsItsLinksAndFollowsNoneOut(t *testing.T) {
	path, d := directory(t)
	outside := filepath.Join(t.TempDir(), "outside")
	for link, to := range map[string]string{"in": "sub/b.yaml", "out": outside} {
		if err := os.Symlink(to, filepath.Join(path, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if to, err := d.ReadLink("in"); err != nil || to != "sub/b.yaml" {
		t.Errorf("%q, %v", to, err)
	}
	if info, err := d.Lstat("in"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if content, err := d.ReadFile("out"); err == nil {
		t.Errorf("read %q", content)
	}
}
