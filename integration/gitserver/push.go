package gitserver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Push is one ref that a push moved.
type Push struct {
	Repo   string // name as given to Create
	URL    string
	Ref    string // full name
	Before string // 40 zeros for a new ref
	After  string // 40 zeros for a deleted one
}

// hook is the post-receive hook of every repository: it writes down what git
// tells it (githooks(5), post-receive), in one file per push.
const hook = `#!/bin/sh
f="$PUSH_LOG/$$.part"
echo "$PWD" > "$f" && cat >> "$f" && mv "$f" "$PUSH_LOG/$$.push"
`

// pushLog hands on what the hooks wrote down.
type pushLog struct {
	dir  string
	tell func(Push)
	mu   sync.Mutex
}

func (l *pushLog) drain(url func(repo string) string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	files, _ := filepath.Glob(filepath.Join(l.dir, "*.push")) // the pattern is well formed
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || os.Remove(file) != nil || l.tell == nil {
			continue
		}
		repoDir, moved, _ := strings.Cut(string(text), "\n")
		repo := strings.TrimSuffix(filepath.Base(repoDir), ".git")
		for line := range strings.Lines(moved) {
			if f := strings.Fields(line); len(f) == 3 {
				l.tell(Push{Repo: repo, URL: url(repo), Before: f[0], After: f[1], Ref: f[2]})
			}
		}
	}
}

// PostGitHub tells the receiver at hookURL about the push as GitHub would: a
// push payload, signed with SHA-256. Anything but 2xx is an error.
func PostGitHub(ctx context.Context, hookURL, secret, delivery string, p Push) error {
	body, err := githubPayload(p)
	if err != nil {
		return fmt.Errorf("write payload: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hookURL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post payload: %w", err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-GitHub-Delivery", delivery)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("post payload: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("post payload: the receiver answered %s", res.Status)
	}
	return nil
}

func githubPayload(p Push) ([]byte, error) {
	type object = map[string]any
	zero := strings.Repeat("0", 40)
	return json.Marshal(object{
		"ref": p.Ref, "before": p.Before, "after": p.After,
		"created": p.Before == zero, "deleted": p.After == zero, "forced": false,
		"repository": object{
			"id": 1, "name": p.Repo, "full_name": "demo/" + p.Repo,
			"owner":     object{"name": "demo", "login": "demo"},
			"clone_url": p.URL, "html_url": strings.TrimSuffix(p.URL, ".git"),
		},
		"pusher":      object{"name": "ada", "email": "ada@example.com"},
		"sender":      object{"login": "ada", "id": 1},
		"head_commit": object{"id": p.After, "message": "", "author": object{"name": "Ada", "email": "ada@example.com"}},
		"commits":     []object{},
	})
}
