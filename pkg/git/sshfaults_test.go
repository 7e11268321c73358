package git_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

func TestWhatSSHServersDo(t *testing.T) {
	release := make(chan struct{})
	stall := func() { <-release }
	big := noise(7, 300<<10)
	tests := map[string]struct {
		repo   string
		fault  func(stage string, c net.Conn)
		output func(run int, w io.WriteCloser, c net.Conn) io.Writer
		o      git.Options
		class  fault.Class
		words  []string
	}{
		"silence from the start": {
			fault: func(stage string, c net.Conn) {
				if stage == "accept" {
					_, _ = io.Copy(io.Discard, c)
				}
			}, o: git.Options{Stall: 300 * time.Millisecond}, words: []string{"fell silent"},
		},
		"silence after the command": {
			fault: func(stage string, _ net.Conn) {
				if stage == "exec" {
					stall()
				}
			}, o: git.Options{Stall: 300 * time.Millisecond}, words: []string{"fell silent"},
		},
		"silence within the refs": {
			output: func(_ int, w io.WriteCloser, _ net.Conn) io.Writer { return &after{w, 30, stall} },
			o:      git.Options{Stall: 300 * time.Millisecond}, words: []string{"fell silent"},
		},
		"silence within the pack": {
			output: func(_ int, w io.WriteCloser, _ net.Conn) io.Writer { return &after{w, 100 << 10, stall} },
			o:      git.Options{Stall: 300 * time.Millisecond}, words: []string{"fell silent"},
		},
		"a fetch that takes too long": {
			output: func(_ int, w io.WriteCloser, _ net.Conn) io.Writer { return &after{w, 100 << 10, stall} },
			o:      git.Options{Timeout: 500 * time.Millisecond}, words: []string{"longer than"},
		},
		"a connection cut at once": {fault: func(_ string, c net.Conn) { _ = c.Close() }},
		"a connection cut after the command": {fault: func(stage string, c net.Conn) {
			if stage == "exec" {
				_ = c.Close()
			}
		}},
		"a connection cut within the refs": {output: cutAfter(30)},
		"a connection cut within the pack": {output: cutAfter(100 << 10)},
		"no such repository":               {repo: "nope", class: fault.Permanent, words: []string{"no such repository"}},
		"an empty repository":              {repo: "empty", class: fault.Permanent, words: []string{"empty"}},
		"a repository on which Git chokes": {repo: "broken", words: []string{"it says", "packed-refs"}},
		"a pack over the limit":            {o: git.Options{MaxPack: 64 << 10}, class: fault.Permanent, words: []string{"more than the limit"}},
		"refs that never end":              {output: endlessRefsOverSSH, class: fault.Permanent, words: []string{"more than the limit"}},
		"a shell's greeting":               {output: say("Welcome to this shop\n")},
		"an error line":                    {output: say("001dERR access denied: team-b"), class: fault.Permanent, words: []string{"no such repository", "team-b"}},
	}
	s, server := sshSite(t, git.Options{})
	t.Cleanup(func() { close(release) })
	s.push(map[string]string{"f": big})
	for name, prepare := range map[string]string{"empty": "", "broken": "HEAD"} {
		dir := filepath.Join(filepath.Dir(s.repo.Bare), name+".git")
		s.atServer("clone", "-q", "--bare", s.repo.Bare, dir)
		if name == "empty" {
			s.atServer("--git-dir", dir, "update-ref", "-d", "refs/heads/main")
		} else if err := os.WriteFile(filepath.Join(dir, "packed-refs"), []byte(prepare), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.dir = t.TempDir()
			s.open(tt.o)
			if tt.repo != "" {
				s.address = server.url(tt.repo)
			}
			server.note(func() { server.fault, server.output = tt.fault, tt.output })
			defer server.note(func() { server.fault, server.output = nil, nil })
			c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: s.credential})
			if err == nil {
				t.Fatalf("got %+v", c)
			}
			wantFault(t, err, tt.class, fault.FetchFailed, append(tt.words, s.address)...)
			s.wantNoSecret(err, identity(t, edKey(), ""))
			waitFor(t, "the connection to end", server.idle)
		})
	}
}

// cutAfter closes the connection in the middle of what the program says.
func cutAfter(n int) func(int, io.WriteCloser, net.Conn) io.Writer {
	return func(_ int, w io.WriteCloser, c net.Conn) io.Writer { return &after{w, n, func() { _ = c.Close() }} }
}

func say(text string) func(int, io.WriteCloser, net.Conn) io.Writer {
	return func(_ int, w io.WriteCloser, _ net.Conn) io.Writer {
		_, _ = io.WriteString(w, text)
		_ = w.Close()
		return io.Discard
	}
}

func endlessRefsOverSSH(_ int, w io.WriteCloser, _ net.Conn) io.Writer {
	line := func(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }
	sha := strings.Repeat("a", 40)
	_, err := io.WriteString(w, line(sha+" HEAD\x00side-band-64k\n"))
	many := strings.Repeat(line(sha+" refs/heads/x\n"), 10_000)
	for err == nil {
		_, err = io.WriteString(w, many)
	}
	return io.Discard
}

func TestCutOffPackOverSSHLeavesTheStoreAsItWas(t *testing.T) {
	s, server := sshSite(t, git.Options{})
	s.wantFile(s.push(map[string]string{"f": "1"}), "f", "1")
	sha := s.push(map[string]string{"f": "2", "big": noise(3, 200<<10)})
	server.note(func() { server.output = cutAfter(100 << 10) })
	_, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: "main", Credential: s.credential})
	wantFault(t, err, fault.Transient, fault.FetchFailed, s.address)
	server.note(func() { server.output = nil })
	s.wantFile(sha, "f", "2")
}

func TestCancelledFetchClosesItsConnection(t *testing.T) {
	s, server := sshSite(t, git.Options{})
	s.push(map[string]string{"f": noise(5, 300<<10)})
	for _, at := range []int{0, 30, 100 << 10} {
		t.Run(fmt.Sprintf("after %d bytes", at), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			released := make(chan struct{})
			var reached atomic.Bool
			server.note(func() {
				server.output = func(_ int, w io.WriteCloser, _ net.Conn) io.Writer {
					return &after{w, at, func() { reached.Store(true); cancel(); <-released }}
				}
			})
			_, err := s.store.Fetch(ctx, git.Query{URL: s.url(), Credential: s.credential})
			if err == nil || !reached.Load() {
				t.Fatalf("the fetch ended with %v", err)
			}
			waitFor(t, "the connection to end", server.idle)
			close(released)
		})
	}
}
