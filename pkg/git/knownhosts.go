package git

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- what OpenSSH hashes host names with
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// knownHosts are the lines of a known_hosts file, as sshd(8) describes them.
type knownHosts struct {
	text  string
	lines []hostLine
}

// hostLine is one key and the hosts it speaks for.
type hostLine struct {
	marker string // "", revoked or cert-authority
	hosts  []string
	key    ssh.PublicKey
}

const (
	markerRevoked   = "revoked"
	markerAuthority = "cert-authority"
)

// parseKnownHosts reads a file that must hold a key. A line with a kind of key
// that is not spoken here counts for nothing; another line that does not parse
// is an error which names it.
func parseKnownHosts(text []byte) (*knownHosts, error) {
	k := &knownHosts{text: string(text)}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		marker, hosts, key, _, _, err := ssh.ParseKnownHosts(line)
		switch {
		case blank(line), err != nil && foreignKey(line):
			continue
		case err != nil, marker != "" && marker != markerRevoked && marker != markerAuthority:
			return nil, fmt.Errorf("line %d is none of known_hosts; write it as ssh-keyscan prints it: host, kind of key, key", number)
		}
		k.lines = append(k.lines, hostLine{marker, hosts, key})
	}
	if !slices.ContainsFunc(k.lines, func(l hostLine) bool { return l.marker != markerRevoked }) {
		return nil, errors.New("it holds no host's key; put in what ssh-keyscan prints for the host, once you have compared the fingerprint")
	}
	return k, nil
}

func blank(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) == 0 || line[0] == '#'
}

// foreignKey says whether a line is well formed but for a kind of key that the
// ssh package does not know: the blob begins with the kind that stands before it.
func foreignKey(line []byte) bool {
	fields := bytes.Fields(line)
	if len(fields) > 0 && fields[0][0] == '@' {
		fields = fields[1:]
	}
	if len(fields) < 3 {
		return false
	}
	blob, err := base64.StdEncoding.DecodeString(string(fields[2]))
	if err != nil || len(blob) < 4 {
		return false
	}
	_, err = ssh.ParsePublicKey(blob)
	return err != nil && bytes.HasPrefix(blob[4:], fields[1]) && int(blob[3]) == len(fields[1])
}

// hostName is how a host stands in known_hosts: in brackets with its port, where
// that is not 22.
func hostName(host, port string) string {
	if port == "22" {
		return host
	}
	return "[" + host + "]:" + port
}

// of are the lines for a host, those of revoked keys left out.
func (k *knownHosts) of(host string) []hostLine {
	var out []hostLine
	for _, l := range k.lines {
		if l.marker != markerRevoked && l.speaksFor(host) {
			out = append(out, l)
		}
	}
	return out
}

func (l hostLine) speaksFor(host string) bool {
	found := false
	for _, name := range l.hosts {
		pattern, not := strings.CutPrefix(strings.ToLower(name), "!")
		switch {
		case name[:min(1, len(name))] == "|":
			found = found || hashedAs(name, host)
		case wildcard(pattern, host) && not:
			return false
		case wildcard(pattern, host):
			found = true
		}
	}
	return found
}

// hashedAs says whether |1|salt|hash is that of the host.
func hashedAs(pattern, host string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(host))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)) == parts[3]
}

// wildcard matches * and ? without regard for dots, as OpenSSH does. Its time is
// the product of both lengths at most.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark, p = p, i, p+1
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// algorithms are those to offer to a host: only of the keys that are known, else
// a server that has several would show one that is not, and seem to be another.
func algorithms(lines []hostLine) []string {
	var out []string
	for _, l := range lines {
		if l.marker == markerAuthority {
			out = append(out, ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01,
				ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01)
		}
	}
	for _, l := range lines {
		if l.marker == "" {
			out = append(out, keyAlgorithms(l.key.Type())...)
		}
	}
	return out
}

// keyAlgorithms leave out those that sign with SHA-1.
func keyAlgorithms(kind string) []string {
	switch kind {
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	case ssh.InsecureKeyAlgoDSA:
		return nil
	}
	return []string{kind}
}

// errHostKey is a host's key that is not the one known.
var errHostKey = errors.New("the host shows another key than known_hosts has")

// check accepts a key that a host shows, or says what is wrong with it.
func (k *knownHosts) check(host string, address string, remote net.Addr, key ssh.PublicKey) error {
	lines := k.of(host)
	if revoked := k.revoked(key); revoked {
		return fmt.Errorf("%w: %s, which a line marked @revoked names", errHostKey, fingerprint(key))
	}
	checker := ssh.CertChecker{
		IsHostAuthority: func(authority ssh.PublicKey, _ string) bool {
			return slices.ContainsFunc(lines, func(l hostLine) bool { return l.marker == markerAuthority && same(l.key, authority) })
		},
		HostKeyFallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if slices.ContainsFunc(lines, func(l hostLine) bool { return l.marker == "" && same(l.key, key) }) {
				return nil
			}
			return fmt.Errorf("%w: %s, not %s", errHostKey, fingerprint(key), fingerprints(lines))
		},
	}
	if err := checker.CheckHostKey(address, remote, key); err != nil {
		if errors.Is(err, errHostKey) {
			return err
		}
		return fmt.Errorf("%w: %w", errHostKey, err)
	}
	return nil
}

// revoked looks at the key, and for a certificate at the key in it and at the
// one that signed it.
func (k *knownHosts) revoked(key ssh.PublicKey) bool {
	keys := []ssh.PublicKey{key}
	if c, ok := key.(*ssh.Certificate); ok {
		keys = []ssh.PublicKey{c.Key, c.SignatureKey}
	}
	return slices.ContainsFunc(k.lines, func(l hostLine) bool {
		return l.marker == markerRevoked && slices.ContainsFunc(keys, func(key ssh.PublicKey) bool { return same(l.key, key) })
	})
}

func same(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

func fingerprint(key ssh.PublicKey) string { return key.Type() + " " + ssh.FingerprintSHA256(key) }

func fingerprints(lines []hostLine) string {
	var out []string
	for _, l := range lines {
		out = append(out, fingerprint(l.key))
	}
	return strings.Join(out, " or ")
}
