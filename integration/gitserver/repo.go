package gitserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Repo is a bare repository of the server and a clone beside it, in which the
// real git client commits and from which it pushes over HTTP.
type Repo struct {
	Name string
	Bare string // directory of the bare repository
	Work string // directory of the clone

	server *Server
}

// Create makes an empty bare repository whose HEAD is main, and a clone of it.
// The name may hold slashes.
func (s *Server) Create(ctx context.Context, name string) (*Repo, error) {
	r := &Repo{
		Name: name, Bare: filepath.Join(s.dir, name+".git"), Work: filepath.Join(s.dir, ".work", name), server: s,
	}
	for _, dir := range []string{r.Bare, r.Work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("create repository %s: %w", name, err)
		}
	}
	steps := [][]string{
		{"init", "-q", "--bare", "-b", "main", r.Bare},
		{"--git-dir", r.Bare, "config", "http.receivepack", "true"},
		{"init", "-q", "-b", "main", r.Work},
	}
	for _, args := range steps {
		if _, err := run(ctx, s.dir, "", args...); err != nil {
			return nil, fmt.Errorf("create repository %s: %w", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.Bare, "hooks", "post-receive"), []byte(hook), 0o755); err != nil {
		return nil, fmt.Errorf("create repository %s: %w", name, err)
	}
	return r, nil
}

// URL is where clients find the repository, without a credential.
func (r *Repo) URL() string { return r.server.URL(r.Name) }

// Git runs git in the clone and returns what it printed.
func (r *Repo) Git(ctx context.Context, args ...string) (string, error) {
	return run(ctx, r.Work, "", args...)
}

// Server runs git in the bare repository, as its administrator would.
func (r *Repo) Server(ctx context.Context, stdin string, args ...string) (string, error) {
	return run(ctx, r.Bare, stdin, args...)
}

// Commit writes the files into the clone, deletes those whose content is nil,
// and commits. A file whose content starts with "symlink:" becomes a symlink.
// It returns the commit's SHA.
func (r *Repo) Commit(ctx context.Context, message string, files map[string][]byte) (string, error) {
	for path, content := range files {
		if err := place(filepath.Join(r.Work, filepath.FromSlash(path)), content); err != nil {
			return "", fmt.Errorf("commit to %s: %w", r.Name, err)
		}
	}
	if _, err := r.Git(ctx, "add", "-A"); err != nil {
		return "", err
	}
	if _, err := r.Git(ctx, "commit", "-q", "--allow-empty", "-m", message); err != nil {
		return "", err
	}
	return r.Git(ctx, "rev-parse", "HEAD")
}

func place(file string, content []byte) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if content == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if target, link := strings.CutPrefix(string(content), "symlink:"); link {
		return os.Symlink(target, file)
	}
	return os.WriteFile(file, content, 0o644)
}

// Push pushes refspecs through the real client over HTTP; none means the
// current branch. A leading "+" forces.
func (r *Repo) Push(ctx context.Context, refspecs ...string) error {
	if len(refspecs) == 0 {
		refspecs = []string{"HEAD"}
	}
	url := r.URL()
	if user := r.server.options.Username; user != "" {
		url = strings.Replace(url, "://", "://"+user+":"+r.server.options.Password+"@", 1)
	}
	_, err := r.Git(ctx, append([]string{"push", "-q", url}, refspecs...)...)
	return err
}

// CommitAndPush commits the files to the current branch, pushes it and returns
// the commit's SHA.
func (r *Repo) CommitAndPush(ctx context.Context, message string, files map[string][]byte) (string, error) {
	sha, err := r.Commit(ctx, message, files)
	if err != nil {
		return "", err
	}
	return sha, r.Push(ctx)
}
