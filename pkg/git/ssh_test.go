package git_test

import (
	"context"
	"crypto"
	"fmt"
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
	s.wantFile(s.push(map[string]string{"f": "1"}), "f", "1")
	for _, text := range []string{"2", "3"} { // incremental
		s.wantFile(s.push(map[string]string{"f": text, "other": text}), "f", text)
	}
	s.fetch("main")
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

func TestKeysOverSSH(t *testing.T) {
	s, server := sshSite(t, git.Options{})
	sha := s.push(map[string]string{"f": "1"})
	other := newKey(t)
	server.authorized = append(server.authorized, signer(t, ecKey()).PublicKey(), signer(t, rsaKey()).PublicKey())
	known := server.known(server.hostKeys...)
	fingerprint := ssh.FingerprintSHA256(signer(t, other).PublicKey())
	tests := map[string]struct {
		key        []byte
		passphrase string
		words      []string
	}{
		"an Ed25519 key":                   {key: identity(t, edKey(), "")},
		"an ECDSA key":                     {key: identity(t, ecKey(), "")},
		"an RSA key":                       {key: identity(t, rsaKey(), "")},
		"an encrypted key":                 {key: identity(t, edKey(), passphrase), passphrase: passphrase},
		"a passphrase with a line end":     {key: identity(t, edKey(), passphrase), passphrase: passphrase + "\n"},
		"a passphrase that nothing needs":  {key: identity(t, edKey(), ""), passphrase: passphrase},
		"a wrong passphrase":               {identity(t, edKey(), "something else"), passphrase, []string{"passphrase", "key password"}},
		"a key that the server knows not":  {identity(t, other, ""), "", []string{"user git", fingerprint, "key identity", s.address}},
		"an encrypted key that is unknown": {identity(t, other, passphrase), passphrase, []string{fingerprint, "identityFile"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: sshKey(t, tt.key, tt.passphrase, known)})
			if tt.words == nil {
				if err != nil || c.SHA != sha {
					t.Fatalf("got %s (%v), want %s", c.SHA, err, sha)
				}
				return
			}
			reason := fault.FetchFailed
			if strings.Contains(name, "passphrase") {
				reason = fault.SourceRefused
			}
			wantFault(t, err, fault.Permanent, reason, tt.words...)
			s.wantNoSecret(err, tt.key)
		})
	}
}

func TestSSHCredentialsThatAreRefused(t *testing.T) {
	known := []byte("github.com " + string(ssh.MarshalAuthorizedKey(signer(t, edKey()).PublicKey())))
	plain, locked := identity(t, edKey(), ""), identity(t, edKey(), passphrase)
	tests := map[string]struct {
		user                   string
		key, passphrase, hosts []byte
		words                  []string
	}{
		"no known_hosts":                  {"", plain, nil, nil, []string{"known_hosts is missing", "ssh-keyscan"}},
		"blank known_hosts":               {"", plain, nil, []byte(" \n\n"), []string{"known_hosts is missing"}},
		"known_hosts with comments only":  {"", plain, nil, []byte("# github.com:22 SSH-2.0-x\n"), []string{"no host's key"}},
		"known_hosts that revoke only":    {"", plain, nil, append([]byte("@revoked "), known...), []string{"no host's key"}},
		"known_hosts that are none":       {"", plain, nil, append(known, "StrictHostKeyChecking no\n"...), []string{"line 2"}},
		"a marker that nobody knows":      {"", plain, nil, append([]byte("@trust "), known...), []string{"line 1"}},
		"a cut off key in known_hosts":    {"", plain, nil, known[:len(known)-20], []string{"line 1"}},
		"no key":                          {"", nil, nil, known, []string{"does not parse", "key identity"}},
		"a public key":                    {"", known, nil, known, []string{"does not parse"}},
		"a key that is cut off":           {"", plain[:len(plain)-60], nil, known, []string{"does not parse"}},
		"an encrypted key and nothing":    {"", locked, nil, known, []string{"encrypted", "key password"}},
		"an encrypted key and a line end": {"", locked, []byte("\n"), known, []string{"encrypted", "key password"}},
		"a user like an option":           {"-oProxyCommand=x", plain, nil, known, []string{"user"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := git.SSH(tt.user, tt.key, tt.passphrase, tt.hosts)
			wantFault(t, err, fault.Permanent, fault.SourceRefused, tt.words...)
			(&site{T: t, log: &logged{}}).wantNoSecret(err, tt.key)
		})
	}
}

func TestHostKeys(t *testing.T) {
	s, server := sshSite(t, git.Options{})
	sha := s.push(map[string]string{"f": "1"})
	ed, ec, rs, old := signer(t, newKey(t)), signer(t, ecKey()), signer(t, rsaKey()), signer(t, newKey(t))
	authority := signer(t, newKey(t))
	certified := certificate(t, newKey(t), authority, "127.0.0.1")
	at := server.listener.Addr().String()
	_, port, _ := net.SplitHostPort(at)
	line := func(hosts string, key ssh.Signer) string {
		return hosts + " " + string(ssh.MarshalAuthorizedKey(key.PublicKey()))
	}
	hashed := hashedLine(t, "["+"127.0.0.1]:"+port, ed)
	tests := map[string]struct {
		host  []ssh.Signer
		known string
		words []string // none: it is let through
		shut  bool     // the server is not even called
	}{
		"the known one":                            {host: []ssh.Signer{ed}, known: string(server.known(ed))},
		"one of three, and only RSA is known":      {host: []ssh.Signer{ed, ec, rs}, known: string(server.known(rs))},
		"one of three, and only ECDSA is known":    {host: []ssh.Signer{ed, ec, rs}, known: string(server.known(ec))},
		"a new one, told beside the old":           {host: []ssh.Signer{ed}, known: string(server.known(old, ed))},
		"a hashed host":                            {host: []ssh.Signer{ed}, known: hashed},
		"a pattern":                                {host: []ssh.Signer{ed}, known: line("[127.0.0.*]:"+port, ed)},
		"a certificate of the authority":           {host: []ssh.Signer{certified}, known: "@cert-authority " + line("[127.0.0.1]:"+port, authority)},
		"a line of a kind that nobody speaks":      {host: []ssh.Signer{ed}, known: foreignLine + string(server.known(ed))},
		"a changed one":                            {host: []ssh.Signer{ed}, known: string(server.known(old)), words: []string{"another key", ssh.FingerprintSHA256(ed.PublicKey()), ssh.FingerprintSHA256(old.PublicKey()), "key known_hosts"}},
		"another kind than is known":               {host: []ssh.Signer{ed}, known: string(server.known(rs)), words: []string{"another key", "ssh-ed25519", "key known_hosts"}},
		"a revoked one":                            {host: []ssh.Signer{ed}, known: string(server.known(ed)) + "@revoked " + line("*", ed), words: []string{"@revoked"}},
		"a certificate of a revoked authority":     {host: []ssh.Signer{certified}, known: "@cert-authority " + line("*", authority) + "@revoked " + line("*", authority), words: []string{"@revoked"}},
		"a certificate of somebody else":           {host: []ssh.Signer{certified}, known: "@cert-authority " + line("*", old), words: []string{"another key", "no authorities"}},
		"a certificate for another host":           {host: []ssh.Signer{certificate(t, newKey(t), authority, "github.com")}, known: "@cert-authority " + line("*", authority), words: []string{"principal"}},
		"an authority's own key, without a cert":   {host: []ssh.Signer{authority}, known: "@cert-authority " + line("*", authority), words: []string{"another key"}},
		"a host that is not known":                 {host: []ssh.Signer{ed}, known: line("github.com", ed), words: []string{"known_hosts has no key of [127.0.0.1]:" + port, "ssh-keyscan -p " + port + " 127.0.0.1"}, shut: true},
		"the host on its usual port only":          {host: []ssh.Signer{ed}, known: line("127.0.0.1", ed), words: []string{"known_hosts has no key of"}, shut: true},
		"a host that a pattern takes out":          {host: []ssh.Signer{ed}, known: line("*,![127.0.0.1]:*", ed), words: []string{"known_hosts has no key of"}, shut: true},
		"a key that signs with SHA-1 alone, known": {host: []ssh.Signer{ed}, known: dssLine("[127.0.0.1]:" + port), words: []string{"known_hosts has no key of"}, shut: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server.note(func() { server.hostKeys = tt.host })
			before := server.connections()
			c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: sshKey(t, identity(t, edKey(), ""), "", []byte(tt.known))})
			if tt.words == nil {
				if err != nil || c.SHA != sha {
					t.Fatalf("got %s (%v), want %s", c.SHA, err, sha)
				}
				return
			}
			wantFault(t, err, fault.Permanent, fault.SourceRefused, append(tt.words, s.address)...)
			if called := server.connections() > before; called == tt.shut {
				t.Errorf("the server was called: %v", called)
			}
		})
	}
	if len(server.users) == 0 || strings.Trim(strings.Join(server.users, ""), "git") != "" {
		t.Errorf("users are %q, want git", server.users)
	}
}

// certificate is a host key that the authority has signed.
func certificate(t *testing.T, key crypto.Signer, authority ssh.Signer, host string) ssh.Signer {
	t.Helper()
	own := signer(t, key)
	c := &ssh.Certificate{Key: own.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{host}, ValidBefore: ssh.CertTimeInfinity}
	if err := c.SignCert(zeros{}, authority); err != nil {
		t.Fatal(err)
	}
	out, err := ssh.NewCertSigner(c, own)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

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
