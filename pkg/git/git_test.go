package git_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// site is a Git server, a repository on it and a store that fetches from it.
type site struct {
	*testing.T
	server *gitserver.Server
	repo   *gitserver.Repo
	store  *git.Store
	dir    string // of the store
	log    *logged
}

// logged keeps what is logged.
type logged struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.lines = append(l.lines, line)
	return nil
}

func (l *logged) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(strings.Join(l.lines, "\n"), text)
}

var loopback = []string{"127.0.0.1"}

func newSite(t *testing.T, server gitserver.Options, o git.Options) *site {
	t.Helper()
	g, err := gitserver.New(t.TempDir(), server)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Stop() })
	repo, err := g.Create(t.Context(), "config")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, server: g, repo: repo, dir: t.TempDir(), log: &logged{Handler: slog.DiscardHandler}}
	s.open(o)
	return s
}

// in is the site for a subtest.
func (s *site) in(t *testing.T) *site {
	sub := *s
	sub.T = t
	return &sub
}

func (s *site) open(o git.Options) {
	s.Helper()
	if o.Wait == nil {
		o.Wait = func(context.Context, time.Duration) error { return nil }
	}
	o.Log = slog.New(s.log)
	store, err := git.Open(s.dir, o)
	if err != nil {
		s.Fatal(err)
	}
	s.store = store
	s.Cleanup(func() { _ = store.Close() })
}

func (s *site) url() git.URL {
	s.Helper()
	u, err := git.ParseURL(s.repo.URL(), loopback)
	if err != nil {
		s.Fatal(err)
	}
	return u
}

// push commits the files and pushes them.
func (s *site) push(files map[string]string) string {
	s.Helper()
	content := map[string][]byte{}
	for name, text := range files {
		content[name] = []byte(text)
	}
	sha, err := s.repo.CommitAndPush(s.Context(), "change", content)
	if err != nil {
		s.Fatal(err)
	}
	return sha
}

// git runs the real client in the clone.
func (s *site) git(args ...string) string {
	s.Helper()
	out, err := s.repo.Git(s.Context(), args...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// atServer runs git in the bare repository.
func (s *site) atServer(args ...string) string {
	s.Helper()
	out, err := s.repo.Server(s.Context(), "", args...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

func (s *site) fetch(ref string) git.Commit {
	s.Helper()
	c, err := s.store.Fetch(s.Context(), git.Query{URL: s.url(), Ref: ref})
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *site) tree(sha string) *git.Tree {
	s.Helper()
	tree, err := s.store.Tree(s.Context(), s.url(), sha)
	if err != nil {
		s.Fatal(err)
	}
	return tree
}

// wantFile fails unless the file has the content in the commit that the branch
// main is found at.
func (s *site) wantFile(sha, name, content string) {
	s.Helper()
	c := s.fetch("main")
	if c.SHA != sha {
		s.Fatalf("main is at %s, want %s", c.SHA, sha)
	}
	got, err := s.tree(c.SHA).ReadFile(name)
	if err != nil || string(got) != content {
		s.Fatalf("%s is %q (%v), want %q", name, got, err, content)
	}
	s.wantSound(sha)
}

// wantSound reads every file of the commit and lets git itself look at the store.
func (s *site) wantSound(sha string) {
	s.Helper()
	tree := s.tree(sha)
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		_, err = tree.ReadFile(path)
		return err
	})
	if err != nil {
		s.Fatalf("walk %s: %v", sha, err)
	}
	s.atServer("--git-dir", s.bare(), "fsck", "--connectivity-only", sha)
}

// bare is the store's bare repository.
func (s *site) bare() string {
	s.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, "*", "*", "0*"))
	if err != nil || len(found) != 1 {
		s.Fatalf("bare repositories in the store: %v (%v), want one", found, err)
	}
	return found[0]
}

// wantFault fails unless err is of the class and reason and says all the words.
func wantFault(t *testing.T, err error, class fault.Class, reason fault.Reason, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if got, _ := fault.ClassOf(err); got != class || fault.ReasonOf(err) != reason {
		t.Errorf("error is %v, %s, want %v, %s: %v", got, fault.ReasonOf(err), class, reason, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q: %v", w, err)
		}
	}
}

func TestFetchThroughTheLifeOfABranch(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		s.push(map[string]string{"app/deploy.yaml": "replicas: " + n, "stays.yaml": "same"})
	}
	s.atServer("repack", "-adbq")
	s.wantFile(s.git("rev-parse", "HEAD"), "app/deploy.yaml", "replicas: 5")

	steps := []struct {
		name, want string
		change     func() string
	}{
		{"a small commit", "replicas: 6", func() string { return s.push(map[string]string{"app/deploy.yaml": "replicas: 6"}) }},
		{"several commits at once", "replicas: 8", func() string {
			s.push(map[string]string{"app/deploy.yaml": "replicas: 7"})
			return s.push(map[string]string{"app/deploy.yaml": "replicas: 8", "new/file": "x"})
		}},
		{"a revert to a tree before the shallow boundary", "replicas: 2", func() string {
			s.git("checkout", "-q", "HEAD~6", "--", "app")
			return s.push(nil)
		}},
		{"a force-push backwards past the boundary", "replicas: 3", func() string {
			s.git("reset", "-q", "--hard", "HEAD~6")
			return s.forced()
		}},
		{"a commit on top of that", "replicas: 10", func() string { return s.push(map[string]string{"app/deploy.yaml": "replicas: 10"}) }},
		{"a merge of a branch from before the boundary", "replicas: 10", func() string {
			s.git("checkout", "-q", "-b", "side", "HEAD~2")
			s.push(map[string]string{"side.yaml": "y"})
			s.git("checkout", "-q", "main")
			s.git("merge", "-q", "-m", "merge", "side")
			return s.push(nil)
		}},
		{"an unrelated history", "fresh", func() string {
			s.git("checkout", "-q", "--orphan", "other")
			s.git("rm", "-rqf", ".")
			s.push(map[string]string{"app/deploy.yaml": "fresh"})
			s.git("branch", "-M", "other", "main")
			return s.forced()
		}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			sub := s.in(t)
			sha := step.change()
			s.atServer("repack", "-adbq")
			sub.wantFile(sha, "app/deploy.yaml", step.want)
			if s.log.contains("replace Git store") {
				t.Fatalf("the store was replaced where an incremental fetch should do: %q", s.log.lines)
			}
		})
	}
}

// forced pushes the clone's HEAD over main and returns its SHA.
func (s *site) forced() string {
	s.Helper()
	if err := s.repo.Push(s.Context(), "+HEAD:refs/heads/main"); err != nil {
		s.Fatal(err)
	}
	return s.git("rev-parse", "HEAD")
}

func TestPushesABAEndOnA(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	a := s.push(map[string]string{"f": "a"})
	s.wantFile(a, "f", "a")
	b := s.push(map[string]string{"f": "b"})
	s.wantFile(b, "f", "b")
	s.git("reset", "-q", "--hard", a)
	s.forced()
	packs := s.server.Fetches()
	s.wantFile(a, "f", "a")
	if s.server.Fetches() != packs {
		t.Error("a commit that is in the store was fetched again")
	}
	if got, err := s.tree(b).ReadFile("f"); err != nil || string(got) != "b" {
		t.Errorf("B reads %q (%v) after the way back", got, err)
	}
}

func TestFetchAsksForNothingWhenNothingMoved(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	s.push(map[string]string{"f": "a"})
	first := s.fetch("")
	second := s.fetch("main")
	if s.server.Fetches() != 1 || first.SHA != second.SHA || first.Ref != "refs/heads/main" {
		t.Errorf("%d packs, %+v and %+v; want one pack and main twice", s.server.Fetches(), first, second)
	}
	if second.Sequence <= first.Sequence || second.Began.Before(first.Began) {
		t.Errorf("the second fetch (%+v) does not come after the first (%+v)", second, first)
	}
}

func TestServerAwayThenBack(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	sha := s.push(map[string]string{"f": "a"})
	s.wantFile(sha, "f", "a")
	if err := s.server.Stop(); err != nil {
		t.Fatal(err)
	}
	_, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: "main"})
	wantFault(t, err, fault.Transient, fault.FetchFailed, s.repo.URL())
	if _, err := s.tree(sha).ReadFile("f"); err != nil {
		t.Errorf("what was fetched cannot be read while the server is away: %v", err)
	}
	if err := s.server.Start(); err != nil {
		t.Fatal(err)
	}
	s.wantFile(s.push(map[string]string{"f": "b"}), "f", "b")
}

func TestStoreSurvivesARestart(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	s.push(map[string]string{"f": "a", "g": "b"})
	sha := s.push(map[string]string{"f": "b"})
	s.wantFile(sha, "f", "b")
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	packs := s.server.Fetches()
	s.open(git.Options{})
	if _, err := s.tree(sha).ReadFile("f"); err != nil {
		t.Error(err)
	}
	s.wantFile(sha, "f", "b")
	if s.server.Fetches() != packs {
		t.Error("what an earlier process fetched was fetched again")
	}
	s.wantFile(s.push(map[string]string{"f": "c"}), "f", "c")
}

func TestTwoStoresShareADirectory(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	sha := s.push(map[string]string{"f": "a"})
	first := s.store
	s.open(git.Options{})
	for _, store := range []*git.Store{first, s.store} {
		s.store = store
		if c := s.fetch("main"); c.SHA != sha {
			t.Errorf("main is at %s, want %s", c.SHA, sha)
		}
	}
	if s.server.Fetches() != 2 {
		t.Errorf("%d packs for two stores, want each its own", s.server.Fetches())
	}
}

// damage changes what the store keeps on disk.
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

func TestReaderKeepsItsTreeWhileTheStoreIsReplaced(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{Cache: 1})
	sha := s.push(map[string]string{"f": "a", "dir/g": "b"})
	s.fetch("main")
	tree := s.tree(sha)
	if err := os.RemoveAll(s.bare()); err != nil {
		t.Fatal(err)
	}
	if got, err := tree.ReadFile("dir/g"); err != nil || string(got) != "b" {
		t.Errorf("dir/g is %q (%v) after its pack was removed", got, err)
	}
}

func TestManyPushesKeepFewPacks(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	var old *git.Tree
	for i := range 40 {
		sha := s.push(map[string]string{"f": strings.Repeat("x", i+1), "dir/sub/g": strings.Repeat("line\n", 100+i)})
		s.fetch("main")
		if i == 3 {
			old = s.tree(sha)
		}
	}
	packs, err := filepath.Glob(filepath.Join(s.bare(), "objects", "pack", "*.pack"))
	if err != nil || len(packs) >= 16 {
		t.Errorf("%d packs after 40 pushes (%v)", len(packs), err)
	}
	if got, err := old.ReadFile("f"); err != nil || string(got) != "xxxx" {
		t.Errorf("an old tree reads %q (%v) after its packs were merged", got, err)
	}
	s.wantSound(s.git("rev-parse", "HEAD"))
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	s.open(git.Options{})
	s.wantFile(s.push(map[string]string{"f": "end"}), "f", "end")
}

func TestLeastUsedRepositoryMakesRoom(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{MaxDisk: 1})
	first := s.push(map[string]string{"f": "a"})
	s.fetch("main")
	tree := s.tree(first)
	url := s.url()
	repo, err := s.server.Create(t.Context(), "second")
	if err != nil {
		t.Fatal(err)
	}
	s.repo = repo
	s.push(map[string]string{"f": "b"})
	c := s.fetch("main")
	if _, err := s.store.Tree(t.Context(), url, first); err == nil {
		t.Error("the first repository is still there")
	}
	if got, err := tree.ReadFile("f"); err != nil || string(got) != "a" {
		t.Errorf("its tree reads %q (%v)", got, err)
	}
	s.wantSound(c.SHA)
}

func TestConcurrentFetchesAreOne(t *testing.T) {
	arrived, release := make(chan struct{}, 1000), make(chan struct{})
	s := newSite(t, gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.URL.Query().Get("service") == "git-upload-pack" {
				arrived <- struct{}{}
				<-release
			}
			next.ServeHTTP(w, r)
		})
	}}, git.Options{})
	sha := s.push(map[string]string{"f": "a"})
	mark := s.store.Mark()
	results := make(chan error, 100)
	for range 100 {
		go func() {
			c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: "main", After: mark})
			if err == nil && c.SHA != sha {
				err = errors.New("wrong commit")
			}
			results <- err
		}()
	}
	<-arrived
	close(release)
	for range 100 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if s.server.Lists() != 1 || s.server.Fetches() != 1 {
		t.Errorf("%d lists and %d packs for 100 callers, want one each", s.server.Lists(), s.server.Fetches())
	}
}

func TestFetchBegunBeforeTheCallDoesNotServeIt(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	s.push(map[string]string{"f": "a"})
	before := s.fetch("main")
	sha := s.push(map[string]string{"f": "b"})
	old, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: "main", After: before.Sequence - 1})
	if err != nil || old != before {
		t.Errorf("a fetch that is new enough was not used: %+v (%v), want %+v", old, err, before)
	}
	now, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: "main", After: before.Sequence})
	if err != nil || now.SHA != sha {
		t.Errorf("main is at %s (%v), want %s", now.SHA, err, sha)
	}
}
