package git

import (
	"crypto/ed25519"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hostKey is the same key for the same seed.
func hostKey(t testing.TB, seed byte) ssh.PublicKey {
	t.Helper()
	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize)).Public())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Files are read as the ssh package's own reader of known_hosts files does, which
// takes files only and does not tell which keys it knows.
func TestKnownHostsAreReadAsTheLibraryDoes(t *testing.T) {
	key, other := hostKey(t, 1), hostKey(t, 2)
	text := " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	for _, file := range []string{
		"a.example" + text, "b.example" + text, "a.example,b.example" + text, "[a.example]:2222" + text,
		"*.example" + text, "*.example,!a.example" + text, "?.example" + text, "[*.example]:2222" + text,
		"a.example" + text + " a comment", "10.0.0.1" + text, "[10.0.0.1]:2222" + text, "!a.example" + text,
		knownhosts.HashHostname("a.example") + text, knownhosts.HashHostname("[a.example]:2222") + text,
		"# comment\n\n  a.example\t" + text + "  \r\n", "a.example" + text + "\n@revoked *" + text,
		"b.example" + text + "\n@revoked c.example" + text,
	} {
		name := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		want, err := knownhosts.New(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseKnownHosts([]byte(file))
		if err != nil {
			t.Fatalf("%q: %v", file, err)
		}
		for _, host := range []string{"a.example:22", "b.example:22", "a.example:2222", "10.0.0.1:22", "10.0.0.1:2222", "example:22"} {
			at, port, _ := net.SplitHostPort(host)
			remote := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 22}
			for _, k := range []ssh.PublicKey{key, other} {
				ours, theirs := got.check(hostName(at, port), host, remote, k), want(host, remote, k)
				if (ours == nil) != (theirs == nil) {
					t.Errorf("%q at %s: %v here, %v there", file, host, ours, theirs)
				}
				if known := len(got.of(hostName(at, port))) > 0; ours == nil && !known || ours != nil && !errors.Is(ours, errHostKey) {
					t.Errorf("%q at %s: %v, known %v", file, host, ours, known)
				}
			}
		}
	}
	capital, err := parseKnownHosts([]byte("A.EXAMPLE" + text)) // which the library minds, and ssh does not
	if err != nil || len(capital.of("a.example")) != 1 {
		t.Errorf("capitals count (%v)", err)
	}
}

// Only algorithms of keys that are known are offered, and none with SHA-1.
func TestAlgorithmsAreThoseOfTheKnownKeys(t *testing.T) {
	ed := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hostKey(t, 1))))
	known, err := parseKnownHosts([]byte("a " + ed + "\n@cert-authority b " + ed + "\n@revoked c " + ed + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := algorithms(known.of("a")); !slices.Equal(got, []string{ssh.KeyAlgoED25519}) {
		t.Errorf("a key: %q", got)
	}
	certificates := algorithms(known.of("b"))
	if len(certificates) == 0 || slices.ContainsFunc(certificates, func(a string) bool { return !strings.Contains(a, "-cert-v01@") || a == ssh.CertAlgoRSAv01 }) {
		t.Errorf("an authority: %q", certificates)
	}
	if got := algorithms(known.of("c")); got != nil {
		t.Errorf("a revoked key: %q", got)
	}
	if got := keyAlgorithms(ssh.KeyAlgoRSA); slices.Contains(got, ssh.KeyAlgoRSA) {
		t.Errorf("RSA signs with SHA-1: %q", got)
	}
}

func TestWildcards(t *testing.T) {
	for pattern, c := range map[string]struct{ yes, no []string }{
		"*":                              {yes: []string{"", "a", "[h]:22"}},
		"a*c":                            {yes: []string{"ac", "abc", "abbc", "acc"}, no: []string{"", "ab", "cab", "abcd"}},
		"?":                              {yes: []string{"a"}, no: []string{"", "ab"}},
		"*.b.*":                          {yes: []string{"a.b.c", ".b."}, no: []string{"b.c", "a.b"}},
		"[1.2]:22":                       {yes: []string{"[1.2]:22"}, no: []string{"1", "2"}},
		"**a**":                          {yes: []string{"a", "bab"}, no: []string{"", "b"}},
		"":                               {yes: []string{""}, no: []string{"a"}},
		strings.Repeat("*a", 2000) + "b": {no: []string{strings.Repeat("a", 4000)}}, // soon
	} {
		for _, host := range c.yes {
			if !wildcard(pattern, host) {
				t.Errorf("%.20q does not match %q", pattern, host)
			}
		}
		for _, host := range c.no {
			if wildcard(pattern, host) {
				t.Errorf("%.20q matches %.20q", pattern, host)
			}
		}
	}
}

func FuzzKnownHosts(f *testing.F) {
	ed := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hostKey(f, 1))))
	for _, seed := range []string{"a " + ed, "@revoked * " + ed + "\nb " + ed, "|1|c2FsdA==|aGFzaA== " + ed, "@x", "a b c", "! " + ed, "# x\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		known, err := parseKnownHosts([]byte(text))
		if err != nil {
			if strings.Contains(err.Error(), "AAAA") {
				t.Fatalf("the error repeats the file: %v", err)
			}
			return
		}
		for _, host := range []string{"a", "[a]:2222"} {
			if err := known.check(host, net.JoinHostPort("a", "22"), &net.TCPAddr{}, hostKey(t, 9)); err == nil {
				t.Fatalf("a key that is not in %q is let through", text)
			}
			_ = algorithms(known.of(host))
		}
	})
}
