package git_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// damages change what the store keeps on disk.
var damages = map[string]func(t *testing.T, bare string){
	"a pack is cut short": func(t *testing.T, bare string) {
		each(t, bare, "*.pack", func(name string) error { return os.Truncate(name, 40) })
	},
	"an index is garbage": func(t *testing.T, bare string) {
		each(t, bare, "*.idx", func(name string) error { return os.WriteFile(name, []byte("junk"), 0o600) })
	},
	"the packs are gone": func(t *testing.T, bare string) { each(t, bare, "*", os.Remove) },
	"the refs are gone": func(t *testing.T, bare string) {
		if err := os.Remove(filepath.Join(bare, "packed-refs")); err != nil {
			t.Fatal(err)
		}
	},
	"the refs name a commit that is not there": func(t *testing.T, bare string) {
		if err := os.WriteFile(filepath.Join(bare, "packed-refs"), []byte(strings.Repeat("a", 40)+" refs/tips/00\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	},
	"bytes within a pack have changed": func(t *testing.T, bare string) {
		each(t, bare, "*.pack", func(name string) error {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for i := 14; i < len(data)-20; i++ {
				data[i] ^= 0x55
			}
			return os.WriteFile(name, data, 0o600)
		})
	},
}

func each(t *testing.T, bare, pattern string, do func(name string) error) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(bare, "objects", "pack", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s (%v)", pattern, bare, err)
	}
	for _, name := range names {
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := do(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamagedStoreIsReplaced(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, gitserver.Options{}, git.Options{})
			s.push(map[string]string{"f": "a", "dir/g": "b"})
			s.wantFile(s.push(map[string]string{"f": "b"}), "f", "b")
			if err := s.store.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, s.bare())
			s.open(git.Options{})
			sha := s.push(map[string]string{"f": "c"})
			s.fetch("main")
			// Damage that only reading shows is told once and mended by the next fetch.
			if _, err := s.tree(sha).ReadFile("dir/g"); err != nil {
				wantFault(t, err, fault.Transient, fault.FetchFailed, "dir/g")
			}
			s.wantFile(sha, "dir/g", "b")
		})
	}
}

// TestServerLeavesOutWhatTheStoreLacks makes the store claim more history than it
// has: the server then leaves out objects of an old tree, which must be noticed.
func TestServerLeavesOutWhatTheStoreLacks(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	for _, n := range []string{"1", "2", "3"} {
		s.push(map[string]string{"app/f": n})
	}
	s.atServer("repack", "-adbq")
	s.wantFile(s.git("rev-parse", "HEAD"), "app/f", "3")
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(s.bare(), "shallow"), 0); err != nil {
		t.Fatal(err)
	}
	s.open(git.Options{})
	s.git("checkout", "-q", "HEAD~2", "--", "app")
	s.wantFile(s.push(nil), "app/f", "1")
	if !s.log.contains("replace Git store") {
		t.Errorf("the store was not replaced: %q", s.log.lines)
	}
}

// TestDamageThatReadingShowsIsMendedByTheNextFetch spoils one file within a pack:
// nothing but reading it can tell, and the branch does not move.
func TestDamageThatReadingShowsIsMendedByTheNextFetch(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	sha := s.push(map[string]string{"f": "a", "g": noise(1, 5000)})
	s.fetch("main")
	blob := s.git("rev-parse", "HEAD:g")
	index, err := filepath.Glob(filepath.Join(s.bare(), "objects", "pack", "*.idx"))
	if err != nil || len(index) != 1 {
		t.Fatalf("indexes: %v (%v)", index, err)
	}
	for line := range strings.Lines(s.atServer("verify-pack", "-v", index[0])) {
		if f := strings.Fields(line); len(f) >= 5 && f[0] == blob {
			spoil(t, strings.TrimSuffix(index[0], "idx")+"pack", f[4])
		}
	}
	_, err = s.tree(sha).ReadFile("g")
	wantFault(t, err, fault.Transient, fault.FetchFailed, "g", "next fetch")
	s.fetch("main")
	if got, err := s.tree(sha).ReadFile("g"); err != nil || string(got) != noise(1, 5000) {
		t.Errorf("g has %d bytes (%v) after the next fetch", len(got), err)
	}
}

func spoil(t *testing.T, pack, offset string) {
	t.Helper()
	at, err := strconv.ParseInt(offset, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pack, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("spoiled"), at+1000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestStoreThatHasGrownTooFarBeginsAnew sets what the first packs are said to
// have weighed far below zero, which any pack outgrows.
func TestStoreThatHasGrownTooFarBeginsAnew(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	first := s.push(map[string]string{"f": "1"})
	s.fetch("main")
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	bare := s.bare()
	if err := errors.Join(os.WriteFile(filepath.Join(bare, "plumb-base"), []byte("-100000000"), 0o600),
		os.WriteFile(filepath.Join(bare, "objects", "pack", "tmp_pack_1"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.open(git.Options{})
	before := s.tree(first)
	s.wantFile(s.push(map[string]string{"f": "2"}), "f", "2")
	if s.bare() == bare {
		t.Error("the store has not begun anew")
	}
	for name, tree := range map[string]*git.Tree{"one that was open": before, "a new one": s.tree(first)} {
		if got, err := tree.ReadFile("f"); err != nil || string(got) != "1" {
			t.Errorf("the tree from before, %s, reads %q (%v)", name, got, err)
		}
	}
}
