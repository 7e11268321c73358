package git_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

const passphrase = "correct horse"

// sshSite is a site that is fetched from over ssh.
func sshSite(t *testing.T, o git.Options) (*site, *sshServer) {
	t.Helper()
	s := newSite(t, gitserver.Options{}, o)
	host := signer(t, newKey(t))
	server := newSSHServer(t, filepath.Dir(s.repo.Bare), signer(t, edKey()).PublicKey(), host)
	s.address, s.credential = server.url("config"), sshKey(t, identity(t, edKey(), ""), "", server.known(host))
	return s, server
}

func sshKey(t *testing.T, key []byte, passphrase string, knownHosts []byte) git.Credential {
	t.Helper()
	c, err := git.SSH("", key, []byte(passphrase), knownHosts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantNoSecret fails when an error or the log repeats the key or its passphrase.
func (s *site) wantNoSecret(err error, secrets ...[]byte) {
	s.Helper()
	for _, secret := range append(secrets, []byte(passphrase)) {
		for line := range strings.Lines(string(secret)) {
			if line = strings.TrimSpace(line); len(line) > 8 && (strings.Contains(err.Error(), line) || s.log.contains(line)) {
				s.Errorf("a secret is told: %v", err)
			}
		}
	}
}

func TestFetchOverSSH(t *testing.T) {
	s, server := sshSite(t, git.Options{})
	s.wantFile(s.push(map[string]string{"f": "1", "big": noise(1, 300<<10)}), "f", "1")
	var sent atomic.Int64
	server.note(func() {
		server.output = func(_ int, w io.WriteCloser, _ net.Conn) io.Writer { return counted{w, &sent} }
	})
	for _, text := range []string{"2", "3"} {
		s.wantFile(s.push(map[string]string{"f": text, "other": text}), "f", text)
	}
	if sent.Load() > 20<<10 {
		t.Errorf("two small pushes cost %d bytes", sent.Load())
	}
	s.git("reset", "-q", "--hard", "HEAD~2")
	s.wantFile(s.forced(), "f", "1")
	s.wantFile(s.push(map[string]string{"f": "4"}), "f", "4")
	if _, err := s.repo.Git(t.Context(), "tag", "-a", "-m", "one", "v1"); err != nil {
		t.Fatal(err)
	}
	if err := s.repo.Push(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	if c := s.fetch("v1"); c.Ref != "refs/tags/v1" || c.SHA != s.git("rev-parse", "HEAD") {
		t.Errorf("v1 is %+v", c)
	}
	refs, err := s.store.Refs(t.Context(), s.url(), s.credential)
	if err != nil || refs["HEAD"] != refs["refs/heads/main"] || len(refs) != 3 {
		t.Errorf("refs are %v (%v)", refs, err)
	}
	if s.log.contains("replace Git store") {
		t.Errorf("the store was replaced: %q", s.log.lines)
	}
	waitFor(t, "the connections to end", server.idle)
	if len(server.requests) > 0 {
		t.Errorf("the server was also asked for %q", server.requests)
	}
}

// counted counts what is written.
type counted struct {
	io.Writer
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return c.Writer.Write(b)
}

// waitFor waits for what another goroutine does.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// An old branch is asked for twice: git-upload-pack answers once, so the second
// request needs a connection of its own.
func TestSecondPackOverSSHConnectsAnew(t *testing.T) {
	s, server := sshSite(t, git.Options{MaxPack: 64 << 10})
	s.push(map[string]string{"f": "1"})
	s.git("checkout", "-q", "-b", "side")
	for i := range 4 {
		s.push(map[string]string{"noise": noise(i, 40<<10)})
	}
	s.push(map[string]string{"noise": "quiet"})
	s.git("checkout", "-q", "main")
	s.wantFile(s.push(map[string]string{"f": "2"}), "f", "2")
	before := server.connections()
	s.git("merge", "-q", "-m", "merge", "side")
	s.wantFile(s.push(nil), "noise", "quiet")
	if got := server.connections() - before; got != 2 {
		t.Errorf("the fetch took %d connections, want 2", got)
	}
}

// The credential and the URL must be of one kind, and nobody is called else.
func TestCredentialsForTheOtherKindOfURL(t *testing.T) {
	s, server := sshSite(t, git.Options{})
	over := func(u string) git.URL {
		parsed, err := git.ParseURL(u, loopback)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	tests := map[string]struct {
		url        string
		credential git.Credential
		words      []string
	}{
		"ssh without any":      {s.address, git.Credential{}, []string{"no credential", "identity and known_hosts", s.address}},
		"ssh with a password":  {s.address, git.Basic("u", "s3cret"), []string{"user name and password", "identity and known_hosts"}},
		"ssh with a token":     {s.address, git.Bearer("s3cret"), []string{"bearer token", "identity and known_hosts"}},
		"http with an SSH key": {s.repo.URL(), s.credential, []string{"SSH key", "ssh URL", s.repo.URL()}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := s.store.Fetch(t.Context(), git.Query{URL: over(tt.url), Credential: tt.credential})
			wantFault(t, err, fault.Permanent, fault.SourceRefused, tt.words...)
			if _, refs := s.store.Refs(t.Context(), over(tt.url), tt.credential); refs == nil {
				t.Error("refs are told")
			}
			if strings.Contains(err.Error(), "s3cret") || server.connections() > 0 || s.server.Lists() > 0 {
				t.Errorf("a server was called, or the error tells the credential: %v", err)
			}
		})
	}
}

// Nothing of the machine's ssh is used: its agent, configuration, keys, known
// hosts and variables.
func TestSSHLooksAtNothingOfTheMachine(t *testing.T) {
	s, server := sshSite(t, git.Options{})
	sha := s.push(map[string]string{"f": "1"})
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	proof := filepath.Join(home, "ran")
	config := "Host *\n  ProxyCommand touch " + proof + "\n  Hostname 192.0.2.1\n  User root\n"
	for name, content := range map[string]string{
		"config": config, "known_hosts": string(server.known(server.hostKeys...)), "id_ed25519": string(identity(t, edKey(), "")),
	} {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	agent, err := net.Listen("unix", filepath.Join(home, "agent"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = agent.Close() }()
	var asked atomic.Bool
	go func() {
		for {
			c, err := agent.Accept()
			if err != nil {
				return
			}
			asked.Store(true)
			_ = c.Close()
		}
	}()
	for name, value := range map[string]string{
		"HOME": home, "SSH_AUTH_SOCK": agent.Addr().String(), "SSH_KNOWN_HOSTS": filepath.Join(home, ".ssh", "known_hosts"),
		"GIT_SSH_COMMAND": "touch " + proof, "GIT_SSH": "touch", "ALL_PROXY": "socks5://192.0.2.1:1", "all_proxy": "socks5://192.0.2.1:1",
	} {
		t.Setenv(name, value)
	}
	if c := s.fetch("main"); c.SHA != sha {
		t.Errorf("got %s, want %s", c.SHA, sha)
	}
	stranger := sshKey(t, identity(t, newKey(t), ""), "", server.known(server.hostKeys...))
	_, err = s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: stranger})
	wantFault(t, err, fault.Permanent, fault.FetchFailed, "does not let user git in")
	unknown := sshKey(t, identity(t, edKey(), ""), "", []byte("github.com "+string(ssh.MarshalAuthorizedKey(server.hostKeys[0].PublicKey()))))
	_, err = s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: unknown})
	wantFault(t, err, fault.Permanent, fault.SourceRefused, "known_hosts has no key")
	if _, err := os.Stat(proof); err == nil || asked.Load() {
		t.Errorf("a command ran (%v) or the agent was asked (%v)", err == nil, asked.Load())
	}
}

// What a path holds reaches git-upload-pack as one word of the shell.
func TestPathsAreQuotedForTheShell(t *testing.T) {
	s, server := sshSite(t, git.Options{})
	sha := s.push(map[string]string{"f": "1"})
	for _, name := range []string{"it's", "a b", "$(touch x)", "x;id", "`id`", "a!b", `"`, "tilde~"} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.dir, s.address = t.TempDir(), server.url("p/"+name)
			s.open(git.Options{})
			s.atServer("clone", "-q", "--bare", s.repo.Bare, filepath.Join(filepath.Dir(s.repo.Bare), "p", name+".git"))
			if c := s.fetch("main"); c.SHA != sha {
				t.Errorf("got %s, want %s", c.SHA, sha)
			}
		})
	}
}

func TestHomeDirectoriesAndUsers(t *testing.T) {
	s, server := sshSite(t, git.Options{})
	at := server.listener.Addr().String()
	for address, want := range map[string]string{
		"ssh://ada@" + at + "/config.git":   "git-upload-pack '/config.git'",
		"ssh://" + at + "/~/config.git":     "git-upload-pack '~/config.git'",
		"ssh://" + at + "/~ada/config.git/": "git-upload-pack '~ada/config.git'",
	} {
		s.address = address
		_, _ = s.store.Refs(t.Context(), s.url(), s.credential)
		if got := server.commands[len(server.commands)-1]; got != want {
			t.Errorf("%s asks for %q, want %q", address, got, want)
		}
	}
	if !strings.Contains(" "+strings.Join(server.users, " ")+" ", " ada ") || !strings.Contains(" "+strings.Join(server.users, " ")+" ", " git ") {
		t.Errorf("users are %q, want ada of the URL and git", server.users)
	}
}
