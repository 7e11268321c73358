package reconcile

import (
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// A range and a ref of one repository are two things, and so are two ranges: the
// newest commit of one must not call for syncs of the other.
func TestHeadsKeepRefsAndRangesApart(t *testing.T) {
	server, err := gitserver.New(t.TempDir(), gitserver.Options{})
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	repo, err := server.Create(t.Context(), "config")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, tag := range []string{"v1.0.0", "v2.0.0", "main"} {
		sha, err := repo.CommitAndPush(t.Context(), tag, nil)
		if err == nil && tag != "main" {
			err = repo.Push(t.Context(), "HEAD:refs/tags/"+tag)
		}
		if err != nil {
			t.Fatal(err)
		}
		want[tag] = sha
	}
	store, err := git.Open(t.TempDir(), git.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	u, err := git.ParseURL(repo.URL(), []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	heads := NewHeads(store, time.Now)
	asked := map[string]git.Query{"v1.0.0": {Semver: "1.x"}, "v2.0.0": {Semver: "2.x"}, "main": {Ref: "main"}}
	for _, q := range asked {
		q.URL = u
		if _, err := heads.At(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for name, q := range asked {
		if got, known := heads.Newest(u, q.Ref, q.Semver); !known || got.SHA != want[name] {
			t.Errorf("the newest of %s is %s, want %s", name, got.SHA, want[name])
		}
	}
	if _, known := heads.Newest(u, "", "3.x"); known {
		t.Error("a range that nobody asked for is known")
	}
}
