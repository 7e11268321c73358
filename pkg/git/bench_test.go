package git_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// monorepo is a server with a repository of 1,000 directories of 50 files and a
// store that has not seen it yet.
func monorepo(b *testing.B) (repo *gitserver.Repo, store *git.Store, u git.URL) {
	b.Helper()
	server, err := gitserver.New(b.TempDir(), gitserver.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop() })
	if repo, err = server.Create(b.Context(), "config"); err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("commit refs/heads/main\ncommitter A <a@b> 0 +0000\ndata 1\nx\n")
	for i := range 50_000 {
		text.WriteString(file(fmt.Sprintf("apps/a%04d/f%02d.yaml", i/50, i%50), fmt.Sprintf("kind: ConfigMap\ndata: {n: %d}\n", i)))
	}
	if _, err := repo.Server(b.Context(), text.String(), "fast-import", "--quiet"); err != nil {
		b.Fatal(err)
	}
	if store, err = git.Open(b.TempDir(), git.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	if u, err = git.ParseURL(repo.URL(), loopback); err != nil {
		b.Fatal(err)
	}
	return repo, store, u
}

func fetched(b *testing.B, store *git.Store, u git.URL) *git.Tree {
	b.Helper()
	c, err := store.Fetch(context.Background(), git.Query{URL: u, Ref: "main"})
	if err != nil {
		b.Fatal(err)
	}
	tree, err := store.Tree(context.Background(), u, c.SHA)
	if err != nil {
		b.Fatal(err)
	}
	return tree
}

// BenchmarkLookups reports 1,000 path lookups in a tree of 50,000 files.
func BenchmarkLookups(b *testing.B) {
	_, store, u := monorepo(b)
	begin := time.Now()
	tree := fetched(b, store, u)
	first := time.Since(begin)
	for b.Loop() {
		for i := range 1000 {
			if _, ok := tree.Hash(fmt.Sprintf("apps/a%04d/f%02d.yaml", i, i%50)); !ok {
				b.Fatal("not found")
			}
		}
	}
	b.ReportMetric(float64(first.Milliseconds()), "ms/first-contact")
}

// BenchmarkIncrementalFetch reports fetching a commit that changes one of 50,000
// files, its pack included; the commit itself is made aside.
func BenchmarkIncrementalFetch(b *testing.B) {
	repo, store, u := monorepo(b)
	fetched(b, store, u)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		text := fmt.Sprintf("commit refs/heads/main\ncommitter A <a@b> 0 +0000\ndata 1\nx\nfrom refs/heads/main^0\n%s",
			file(fmt.Sprintf("apps/a%04d/f00.yaml", i%1000), fmt.Sprintf("changed: %d\n", i)))
		if _, err := repo.Server(b.Context(), text, "fast-import", "--quiet"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		fetched(b, store, u)
	}
}

// BenchmarkUnchangedFetch reports a fetch that finds nothing new.
func BenchmarkUnchangedFetch(b *testing.B) {
	_, store, u := monorepo(b)
	fetched(b, store, u)
	for b.Loop() {
		fetched(b, store, u)
	}
}
