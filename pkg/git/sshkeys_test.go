package git_test

import (
	"crypto"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

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
		"the known one":                          {host: []ssh.Signer{ed}, known: string(server.known(ed))},
		"one of three, and only RSA is known":    {host: []ssh.Signer{ed, ec, rs}, known: string(server.known(rs))},
		"one of three, and only ECDSA is known":  {host: []ssh.Signer{ed, ec, rs}, known: string(server.known(ec))},
		"a new one, told beside the old":         {host: []ssh.Signer{ed}, known: string(server.known(old, ed))},
		"a hashed host":                          {host: []ssh.Signer{ed}, known: hashed},
		"a pattern":                              {host: []ssh.Signer{ed}, known: line("[127.0.0.*]:"+port, ed)},
		"a certificate of the authority":         {host: []ssh.Signer{certified}, known: "@cert-authority " + line("[127.0.0.1]:"+port, authority)},
		"a line of a kind that nobody speaks":    {host: []ssh.Signer{ed}, known: foreignLine + string(server.known(ed))},
		"a changed one":                          {host: []ssh.Signer{ed}, known: string(server.known(old)), words: []string{"another key", ssh.FingerprintSHA256(ed.PublicKey()), ssh.FingerprintSHA256(old.PublicKey()), "key known_hosts"}},
		"another kind than is known":             {host: []ssh.Signer{ed}, known: string(server.known(rs)), words: []string{"another key", "ssh-ed25519", "key known_hosts"}},
		"a revoked one":                          {host: []ssh.Signer{ed}, known: string(server.known(ed)) + "@revoked " + line("*", ed), words: []string{"@revoked"}},
		"a certificate of a revoked authority":   {host: []ssh.Signer{certified}, known: "@cert-authority " + line("*", authority) + "@revoked " + line("*", authority), words: []string{"@revoked"}},
		"a certificate of somebody else":         {host: []ssh.Signer{certified}, known: "@cert-authority " + line("*", old), words: []string{"another key", "no authorities"}},
		"a certificate for another host":         {host: []ssh.Signer{certificate(t, newKey(t), authority, "github.com")}, known: "@cert-authority " + line("*", authority), words: []string{"principal"}},
		"an authority's own key, without a cert": {host: []ssh.Signer{authority}, known: "@cert-authority " + line("*", authority), words: []string{"another key"}},
		"an authority's own key, where others are known": {
			host: []ssh.Signer{authority}, known: "@cert-authority " + line("*", authority) + line("*", old), words: []string{"another key", ssh.FingerprintSHA256(old.PublicKey())},
		},
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
