package webhook_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/webhook"
)

// sample is a payload of testdata with the headers that its provider sends.
func sample(t testing.TB, file string) webhook.Request {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", file+".json"))
	if err != nil {
		t.Fatal(err)
	}
	provider, name, _ := strings.Cut(file, "/")
	return webhook.Request{Header: headersOf(provider, name), Body: body, Received: time.Unix(1_700_000_000, 0)}
}

var bitbucketKeys = map[string]string{"push": "repo:push", "refs_changed": "repo:refs_changed"}

func headersOf(provider, name string) http.Header {
	kind, detail, _ := strings.Cut(name, "-")
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	switch provider {
	case "github", "ghcr":
		h.Set("X-GitHub-Event", kind)
		h.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	case "gitlab":
		h.Set("Idempotency-Key", "f5e5f430-f57b-4e6e-9fac-d9128cd7232f")
		h.Set("X-Gitlab-Event-UUID", "shared-by-recursive-webhooks")
	case "gitea":
		h.Set("X-Gitea-Event", kind)
		h.Set("X-Gitea-Delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473")
	case "bitbucket", "bitbucket-server":
		key := bitbucketKeys[kind]
		if key == "" {
			key = kind + ":" + detail
		}
		h.Set("X-Event-Key", key)
		h.Set("X-Request-UUID", "d08ca2e1-1aa1-4bd5-8bd4-5c4a4c6d2d6b")
		h.Set("X-Request-Id", "8c1a1f2c-0b9e-4fb6-a1ef-8e8a0f5c6c1d")
	case "distribution":
		h.Set("Content-Type", "application/vnd.docker.distribution.events.v2+json")
	}
	return h
}

func provider(t testing.TB, name string) webhook.Provider {
	t.Helper()
	p, found := webhook.ByName(name)
	if !found {
		t.Fatalf("no provider %s", name)
	}
	return p
}

// samples lists all files below testdata as <provider>/<name>.
func samples(t testing.TB) (files []string) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, path := range paths {
		files = append(files, strings.TrimSuffix(filepath.ToSlash(strings.TrimPrefix(path, "testdata/")), ".json"))
	}
	return files
}
