package git_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

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
