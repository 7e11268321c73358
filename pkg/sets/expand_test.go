package sets

import (
	"context"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/generate"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// A set may read main of several repositories. What was pushed to one of them is waited
// for there, and in vain nowhere else.
func TestAnAnnouncedCommitIsWaitedForInItsRepository(t *testing.T) {
	server, err := gitserver.New(t.TempDir(), gitserver.Options{})
	must(t, err)
	must(t, server.Start())
	t.Cleanup(func() { must(t, server.Stop()) })
	waits := 0
	store, err := git.Open(t.TempDir(), git.Options{Wait: func(context.Context, time.Duration) error { waits++; return nil }})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	e := expansion{set: testSet(), c: &Controller{Parts: Parts{
		Store: store, Sources: source.Policy{Git: config.Git{InsecureHosts: []string{"127.0.0.1"}}},
	}}}
	heads, urls := map[string]string{}, map[string]string{}
	for _, name := range []string{"apps", "clusters"} {
		repo, err := server.Create(t.Context(), name)
		must(t, err)
		heads[name], err = repo.CommitAndPush(t.Context(), name, map[string][]byte{"f": []byte(name)})
		must(t, err)
		urls[name] = repo.URL()
		e.job = e.job.with(job{pushes: []push{{e.c.Sources.RepoOf(source.Main(sourceOf(e.set, generate.Source{Repo: repo.URL()}))), "refs/heads/main", heads[name]}}})
	}
	for name, url := range urls {
		if _, sha, err := e.read(t.Context(), generate.Source{Repo: url, Ref: "main"}); err != nil || sha != heads[name] || waits > 0 {
			t.Errorf("%s is at %s (%v) after %d waits, want %s at once", name, sha, err, waits, heads[name])
		}
	}
	e.job = e.job.with(job{force: true, pushes: []push{{e.job.pushes[0].repo, "refs/heads/main", "0123456789012345678901234567890123456789"}}})
	if len(e.job.pushes) != 2 || !e.job.force {
		t.Errorf("a later push of the same ref makes %+v", e.job)
	}
	for _, url := range urls {
		if _, _, err := e.read(t.Context(), generate.Source{Repo: url, Ref: "main"}); err != nil {
			t.Error(err)
		}
	}
	if waits != 4 {
		t.Errorf("waited %d times for a commit that only one repository is said to have, want 4", waits)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
