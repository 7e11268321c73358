// Package gitserver is a real Git server for tests and for the demo: git's own
// http-backend behind net/http, over bare repositories in a directory.
//
// It listens on loopback only, needs the git program, and is never part of a
// Plumb binary. Errors are returned as they are: a test fails on them, the demo
// prints them.
package gitserver

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options says how the server behaves. The zero value listens on a free port
// and lets everyone in.
type Options struct {
	Listen             string                          // default 127.0.0.1:0
	Username, Password string                          // basic auth for every request when set
	Wrap               func(http.Handler) http.Handler // seen by every request first: faults, redirects
	OnPush             func(Push)                      // called for each ref a push moved, by the post-receive hook
}

// Server serves the bare repositories below a directory.
type Server struct {
	dir     string
	options Options
	backend string
	pushes  *pushLog
	fetches atomic.Int64
	lists   atomic.Int64

	mu     sync.Mutex
	addr   string
	server *http.Server
}

// New prepares a server of the repositories in dir; Start begins to serve.
func New(dir string, o Options) (*Server, error) {
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("place repositories: %w", err)
	}
	addr := o.Listen
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	pushes := &pushLog{dir: filepath.Join(dir, ".pushes"), tell: o.OnPush}
	if err := os.MkdirAll(pushes.dir, 0o755); err != nil {
		return nil, fmt.Errorf("place repositories: %w", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(path)), "git-http-backend")
	return &Server{dir: dir, options: o, backend: backend, pushes: pushes, addr: addr}, nil
}

// Start serves until Stop. A server that was stopped comes back on the same port.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return errors.New("start git server: it runs already")
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("start git server: %w", err)
	}
	s.addr = listener.Addr().String()
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	s.server = server
	go func() { _ = server.Serve(listener) }() // ends with Stop
	return nil
}

// Stop ends the server at once, open requests included. It may be called twice.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	err := s.server.Close()
	s.server = nil
	return err
}

// Addr is host:port; the port is known once the server has been started.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// URL is where clients find the repository.
func (s *Server) URL(repo string) string { return "http://" + s.Addr() + "/" + repo + ".git" }

// Fetches counts the packs that were asked for since the server was made.
func (s *Server) Fetches() int { return int(s.fetches.Load()) }

// Lists counts how often a fetch asked for the list of refs.
func (s *Server) Lists() int { return int(s.lists.Load()) }

func (s *Server) handler() http.Handler {
	var h http.Handler = http.HandlerFunc(s.serve)
	h = s.counted(s.authenticated(h))
	if s.options.Wrap != nil {
		h = s.options.Wrap(h)
	}
	return h
}

func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
			s.fetches.Add(1)
		case r.URL.Query().Get("service") == "git-upload-pack":
			s.lists.Add(1)
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) authenticated(next http.Handler) http.Handler {
	if s.options.Username == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if !same(user, s.options.Username) || !same(password, s.options.Password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "credentials needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// serve runs git http-backend for the request and then hands on what the
// post-receive hook wrote down. See git-http-backend(1).
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	handler := cgi.Handler{
		Path: s.backend,
		Dir:  s.dir,
		Env: append(environment(),
			"GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=git", "PUSH_LOG="+s.pushes.dir),
		Stderr: discard{},
	}
	handler.ServeHTTP(w, r)
	if strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
		s.pushes.drain(s.URL)
	}
}

// discard drops what git says about clients that hang up.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// environment keeps git away from the machine's and the user's settings.
func environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
	}
}

// run runs git in dir and returns what it printed.
func run(ctx context.Context, dir string, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = environment()
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
