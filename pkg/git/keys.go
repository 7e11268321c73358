package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Keys are public keys that may sign commits. The zero value is none: it accepts
// no commit.
type Keys struct {
	pgp openpgp.EntityList
	ssh []signingKey
}

// maxKeyRing is how many keys one Secret may hold.
const maxKeyRing = 1000

// ParseKeys reads the values of a Secret. Each is one or more armored OpenPGP
// public keys, or lines as of ssh-keygen(1), ALLOWED SIGNERS, or as of an
// authorized_keys file without options. Errors are permanent, name the value and
// the line, and repeat neither: private keys, kinds of keys that are not accepted
// (security keys, certificates, DSA, RSA below 2048 bits), and no key at all.
func ParseKeys(secret map[string][]byte) (Keys, error) {
	var k Keys
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		if err := k.add(name, secret[name]); err != nil {
			return Keys{}, err
		}
	}
	switch n := len(k.pgp) + len(k.ssh); {
	case n == 0:
		return Keys{}, refuseKeys(fault.Place{}, "the Secret holds no public key; put armored OpenPGP keys or SSH public keys into its values")
	case n > maxKeyRing:
		return Keys{}, refuseKeys(fault.Place{}, "the Secret holds %d keys, the limit is %d", n, maxKeyRing)
	}
	return k, nil
}

func refuseKeys(at fault.Place, format string, args ...any) error {
	at.Field = "spec.source.verify.secretRef"
	return fault.Refuse(fault.SourceRefused, at, "read keys: "+format, args...)
}

func (k *Keys) add(name string, value []byte) error {
	at := fault.Place{File: name}
	switch {
	case bytes.Contains(value, []byte("PRIVATE KEY")):
		return refuseKeys(at, "it is a private key; put the public one there, and consider this one known to others")
	case !bytes.Contains(value, []byte("-----BEGIN PGP")):
		return k.addLines(name, string(value))
	}
	found, err := openPGP(value)
	if err != nil {
		return refuseKeys(at, "it is no armored OpenPGP public key: %w", err)
	}
	k.pgp = append(k.pgp, found...)
	return nil
}

// openPGP reads armored blocks that follow each other.
func openPGP(value []byte) (keys openpgp.EntityList, err error) {
	defer contain(&err)
	for rest := bytes.NewReader(value); ; {
		block, err := armor.Decode(rest)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if block.Type != openpgp.PublicKeyType {
			return nil, fmt.Errorf("it holds a %q", cut(block.Type))
		}
		found, err := openpgp.ReadKeyRing(block.Body)
		if err != nil {
			return nil, err
		}
		keys = append(keys, found...)
	}
	if len(keys) == 0 {
		return nil, errors.New("no key is in it")
	}
	return keys, nil
}

// contain turns a panic of a library over hostile input into an error.
func contain(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("it is malformed: %v", p)
	}
}

func (k *Keys) addLines(name, text string) error {
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := parseSigner(line)
		if err != nil {
			return refuseKeys(fault.Place{File: name, Line: number}, "%w", err)
		}
		k.ssh = append(k.ssh, key)
	}
	return nil
}
