package git

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// signingKey is an SSH key with what its line allows.
type signingKey struct {
	key        ssh.PublicKey
	blob       []byte
	name       string // whom an error or a status names
	namespaces string // pattern list; empty: all
	after      time.Time
	before     time.Time
}

const minRSABits = 2048

// parseSigner reads one line: [principals [options]] type base64 [comment].
func parseSigner(line string) (signingKey, error) {
	words, err := splitWords(line)
	if err != nil {
		return signingKey{}, err
	}
	at := slices.IndexFunc(words[:min(len(words), 3)], isKeyType)
	if at < 0 || len(words) <= at+1 {
		return signingKey{}, errors.New("it is no public key: write \"[principals [options]] <type> <base64>\"")
	}
	k, err := parseKey(words[at], words[at+1])
	if err != nil || at == 0 {
		k.name = strings.Join(words[min(at+2, len(words)):], " ")
		return k, err
	}
	if k.name, err = principals(words[0]); err != nil || at == 1 {
		return k, err
	}
	return k, k.options(words[1])
}

// splitWords cuts at blanks outside of quotes, which stay.
func splitWords(line string) ([]string, error) {
	quoted := false
	words := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t')
	})
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	return words, nil
}

func isKeyType(word string) bool {
	return strings.HasPrefix(word, "ssh-") || strings.HasPrefix(word, "ecdsa-sha2-") || strings.HasPrefix(word, "sk-")
}

func parseKey(kind, text string) (signingKey, error) {
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return signingKey{}, errors.New("the key is not base64")
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil || key.Type() != kind {
		return signingKey{}, fmt.Errorf("the key is no %s key", cut(kind))
	}
	if err := acceptable(key); err != nil {
		return signingKey{}, err
	}
	return signingKey{key: key, blob: blob}, nil
}

// acceptable says which keys are strong enough, and which sign by themselves.
func acceptable(key ssh.PublicKey) error {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	case ssh.KeyAlgoRSA:
		inner, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return errors.New("the RSA key cannot be read")
		}
		public, ok := inner.CryptoPublicKey().(*rsa.PublicKey)
		if !ok || public.N.BitLen() < minRSABits {
			return fmt.Errorf("the RSA key has less than %d bits; use an Ed25519 key", minRSABits)
		}
		return nil
	}
	return fmt.Errorf("keys of type %s are not accepted; use an Ed25519, ECDSA or RSA key", cut(key.Type()))
}

// principals are whom the key stands for. git looks the name up by the key, so
// they tell who signed and restrict nothing.
func principals(word string) (string, error) {
	word = strings.Trim(word, `"`)
	if strings.Contains(word, "=") || slices.Contains(loginOptions, strings.ToLower(word)) {
		return "", errors.New("it begins with an option of authorized_keys, which says nothing of signatures; write the line without it")
	}
	named := func(p string) bool { return p != "" && p[0] != '!' }
	if !slices.ContainsFunc(strings.Split(word, ","), named) {
		return "", errors.New("its principals name nobody")
	}
	return word, nil
}

// loginOptions are those of sshd(8), AUTHORIZED_KEYS FILE FORMAT, without a value.
var loginOptions = []string{
	"agent-forwarding", "cert-authority", "no-agent-forwarding", "no-port-forwarding", "no-pty", "no-user-rc", "no-x11-forwarding",
	"no-touch-required", "port-forwarding", "pty", "restrict", "user-rc", "verify-required", "x11-forwarding",
}

// options are those of ssh-keygen(1), ALLOWED SIGNERS. One that is not known may
// restrict the key, so the line is refused.
func (k *signingKey) options(word string) (err error) {
	for _, option := range splitOptions(word) {
		name, value, _ := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			k.namespaces = value
			if value == "" {
				err = errors.New("namespaces is empty")
			}
		case "valid-after":
			k.after, err = parseStamp(value)
		case "valid-before":
			k.before, err = parseStamp(value)
		case "cert-authority":
			err = errors.New("certificates are not accepted; list the keys themselves")
		default:
			err = fmt.Errorf("option %q is not known", cut(name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func splitOptions(word string) []string {
	quoted := false
	return strings.FieldsFunc(word, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && r == ','
	})
}

// parseStamp reads YYYYMMDD[HHMM[SS]][Z]. All are taken as UTC: a pod has no other
// time zone that its owner would expect.
func parseStamp(s string) (time.Time, error) {
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if at, err := time.Parse(layout, strings.TrimSuffix(s, "Z")); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("the time %q is not of the form YYYYMMDD[HHMM[SS]][Z]", cut(s))
}

// usable says what keeps the key from having signed at a time; nil when nothing.
// That it is over now counts too: who has an old key can write old dates.
func (k signingKey) usable(signed, now time.Time) error {
	switch {
	case !matchList(k.namespaces, sshNamespace):
		return fmt.Errorf("that key may sign in the namespaces %q only, not in %q", cut(k.namespaces), sshNamespace)
	case signed.Before(k.after):
		return fmt.Errorf("that key is valid after %s, the commit is of %s", stamp(k.after), stamp(signed))
	case !k.before.IsZero() && (signed.After(k.before) || now.After(k.before)):
		return fmt.Errorf("that key was valid before %s; sign with a new one", stamp(k.before))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// describe names the key in a status.
func (k signingKey) describe() string {
	print := ssh.FingerprintSHA256(k.key)
	if k.name == "" {
		return print
	}
	return fmt.Sprintf("%s (%s)", oneLine(k.name), print)
}

func (k signingKey) is(blob []byte) bool { return bytes.Equal(k.blob, blob) }

// matchList matches a pattern list of ssh_config(5): one of its patterns must
// match and no negated one. An empty list matches all.
func matchList(list, name string) bool {
	if list == "" {
		return true
	}
	found := false
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(strings.TrimSpace(pattern), "!")
		if !matchPattern(pattern, name) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// matchPattern knows * and ?. It goes back to the last star only, so that it takes
// at most the product of both lengths.
func matchPattern(pattern, name string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p, n = p+1, n+1
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
