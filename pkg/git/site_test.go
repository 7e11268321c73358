package git_test

import (
	"cmp"
	"context"
	"io/fs"
	"log/slog"
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

	address    string // of the repository, where that is not the server's own
	credential git.Credential
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
	u, err := git.ParseURL(cmp.Or(s.address, s.repo.URL()), loopback)
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
	c, err := s.store.Fetch(s.Context(), git.Query{URL: s.url(), Ref: ref, Credential: s.credential})
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

// forced pushes the clone's HEAD over main and returns its SHA.
func (s *site) forced() string {
	s.Helper()
	if err := s.repo.Push(s.Context(), "+HEAD:refs/heads/main"); err != nil {
		s.Fatal(err)
	}
	return s.git("rev-parse", "HEAD")
}
