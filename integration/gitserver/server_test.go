package gitserver_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/gitserver"
)

func start(t *testing.T, o gitserver.Options) *gitserver.Server {
	t.Helper()
	s, err := gitserver.New(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	return s
}

func TestPushReachesTheHookAndAClone(t *testing.T) {
	ctx := context.Background()
	var got []gitserver.Push
	s := start(t, gitserver.Options{Username: "u", Password: "p", OnPush: func(p gitserver.Push) { got = append(got, p) }})
	repo, err := s.Create(ctx, "config")
	if err != nil {
		t.Fatal(err)
	}
	sha, err := repo.CommitAndPush(ctx, "first", map[string][]byte{"a/b.yaml": []byte("x: 1\n"), "link": []byte("symlink:a")})
	if err != nil {
		t.Fatal(err)
	}
	want := []gitserver.Push{{Repo: "config", URL: s.URL("config"), Ref: "refs/heads/main", Before: strings.Repeat("0", 40), After: sha}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pushes (-want +got):\n%s", diff)
	}
	at, err := repo.Server(ctx, "", "rev-parse", "refs/heads/main")
	if err != nil || at != sha {
		t.Errorf("the bare repository is at %s (%v), want %s", at, err, sha)
	}
	if _, err := repo.Git(ctx, "ls-remote", repo.URL()); err == nil {
		t.Error("ls-remote without credentials succeeded")
	}
}

func TestServerComesBackOnTheSamePort(t *testing.T) {
	ctx := context.Background()
	s := start(t, gitserver.Options{})
	repo, err := s.Create(ctx, "config")
	if err != nil {
		t.Fatal(err)
	}
	url := repo.URL()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Git(ctx, "ls-remote", url); err == nil {
		t.Fatal("ls-remote reached a stopped server")
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Git(ctx, "ls-remote", url); err != nil {
		t.Fatal(err)
	}
	if s.Lists() != 1 || repo.URL() != url {
		t.Errorf("lists = %d at %s, want 1 at %s", s.Lists(), repo.URL(), url)
	}
}

func TestCommitDeletesFilesWithoutContent(t *testing.T) {
	ctx := context.Background()
	repo, err := start(t, gitserver.Options{}).Create(ctx, "config")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Commit(ctx, "add", map[string][]byte{"a": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Commit(ctx, "remove", map[string][]byte{"a": nil}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(repo.Work, "a")); !os.IsNotExist(err) {
		t.Errorf("file is still there: %v", err)
	}
}

func TestPostGitHubSignsThePayload(t *testing.T) {
	var signature, delivery string
	var body []byte
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		signature, delivery = r.Header.Get("X-Hub-Signature-256"), r.Header.Get("X-GitHub-Delivery")
		if !strings.Contains(string(body), "refs/heads/main") {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	}))
	defer receiver.Close()
	push := gitserver.Push{Repo: "config", URL: "http://127.0.0.1/config.git", Ref: "refs/heads/main", After: strings.Repeat("a", 40)}
	if err := gitserver.PostGitHub(t.Context(), receiver.URL, "secret", "d-1", push); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write(body)
	if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); signature != want || delivery != "d-1" {
		t.Errorf("signature %s of delivery %s, want %s of d-1", signature, delivery, want)
	}
	push.Ref = "refs/tags/x"
	if err := gitserver.PostGitHub(t.Context(), receiver.URL, "secret", "d-2", push); err == nil {
		t.Error("a 422 of the receiver is no error")
	}
}
