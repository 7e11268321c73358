package git

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Of OpenSSH, PROTOCOL.sshsig.
const (
	sshMagic     = "SSHSIG"
	sshVersion   = 1
	sshNamespace = "git"
)

// sshSignature is the blob of a signature after its magic.
type sshSignature struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// sshSigned is what the key signs, after the magic.
type sshSigned struct {
	Namespace, Reserved, Hash string
	Digest                    []byte
}

func parseSSHSignature(text string) (s sshSignature, sig *ssh.Signature, err error) {
	body, ok := strings.CutSuffix(strings.TrimPrefix(text, sshHeader), sshFooter)
	if !ok {
		return s, nil, errors.New("its SSH signature has no end")
	}
	blob, err := base64.StdEncoding.DecodeString(body) // passes over line ends
	if err != nil {
		return s, nil, errors.New("its SSH signature is not base64")
	}
	rest, ok := strings.CutPrefix(string(blob), sshMagic)
	sig = &ssh.Signature{}
	if !ok || ssh.Unmarshal([]byte(rest), &s) != nil || ssh.Unmarshal(s.Signature, sig) != nil {
		return s, nil, errors.New("its SSH signature is malformed")
	}
	switch {
	case s.Version != sshVersion:
		return s, nil, fmt.Errorf("its SSH signature is of version %d, not %d", s.Version, sshVersion)
	case s.Namespace != sshNamespace:
		return s, nil, fmt.Errorf("its SSH signature is for the namespace %q, not %q", cut(s.Namespace), sshNamespace)
	case len(sig.Rest) > 0:
		return s, nil, errors.New("its SSH signature has more behind it; security keys are not accepted")
	}
	return s, sig, nil
}

func (s sshSignature) digest(payload []byte) ([]byte, error) {
	switch s.Hash {
	case "sha256":
		sum := sha256.Sum256(payload)
		return sum[:], nil
	case "sha512":
		sum := sha512.Sum512(payload)
		return sum[:], nil
	}
	return nil, fmt.Errorf("its SSH signature uses the hash function %q; sha256 and sha512 are accepted", cut(s.Hash))
}

func (k Keys) checkSSH(payload []byte, text string, now time.Time) (string, error) {
	s, sig, err := parseSSHSignature(text)
	if err != nil {
		return "", err
	}
	digest, err := s.digest(payload)
	if err != nil {
		return "", err
	}
	key, err := ssh.ParsePublicKey(s.PublicKey)
	if err != nil {
		return "", errors.New("its SSH signature names no key")
	}
	if err := acceptable(key); err != nil {
		return "", fmt.Errorf("its SSH signature: %w", err)
	}
	if sig.Format == ssh.KeyAlgoRSA {
		return "", errors.New("its SSH signature uses SHA-1; sign with rsa-sha2-512 or an Ed25519 key")
	}
	if !slices.ContainsFunc(k.ssh, func(known signingKey) bool { return known.is(s.PublicKey) }) {
		return "", fmt.Errorf("it is signed by the SSH key %s, which is none of the %d that may sign", ssh.FingerprintSHA256(key), len(k.ssh))
	}
	signed := append([]byte(sshMagic), ssh.Marshal(sshSigned{s.Namespace, s.Reserved, s.Hash, digest})...)
	if err := key.Verify(signed, sig); err != nil {
		return "", fmt.Errorf("its SSH signature by %s does not belong to it", ssh.FingerprintSHA256(key))
	}
	return k.signerOf(payload, s.PublicKey, now)
}

// signerOf finds a line that lets the key have signed the commit.
func (k Keys) signerOf(payload, blob []byte, now time.Time) (string, error) {
	at, err := committed(payload)
	if err != nil {
		return "", err
	}
	for _, known := range k.ssh {
		if !known.is(blob) {
			continue
		}
		if why := known.usable(at, now); why != nil {
			err = fmt.Errorf("it is signed by %s: %w", known.describe(), why)
			continue
		}
		return known.describe(), nil
	}
	return "", err
}
