// Package decrypt reads files encrypted by SOPS (https://getsops.io): YAML, JSON,
// dotenv, ini and binary, for age and PGP keys that are handed in. It asks no agent,
// no key service and no network, and reads no file of the machine.
//
// It is a reader of its own, and not the sops library, whose packages link the SDKs
// of three clouds; see docs/decisions/012-sops.md. It may import fault. A file that
// cannot be decrypted is a permanent fault that names the file and the public ids of
// its recipients; no error, and no form of Keys, tells a key or a plaintext.
package decrypt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Keys are private keys. The zero value holds none and decrypts nothing.
type Keys struct{ ring *ring }

type ring struct {
	age    []age.Identity
	pgp    openpgp.EntityList
	public []string // sorted
}

// ParseKeys reads the keys of a Secret, as Flux lays it out: values whose key ends in
// .agekey hold age identities, one a line, those ending in .asc armored PGP private
// keys without a passphrase. Others are left alone; that none is there is an error.
func ParseKeys(secret map[string][]byte) (Keys, error) {
	r := &ring{}
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		var err error
		switch {
		case strings.HasSuffix(name, ".agekey"):
			err = r.addAge(secret[name])
		case strings.HasSuffix(name, ".asc"):
			err = r.addPGP(secret[name])
		}
		if err != nil {
			return Keys{}, fault.Refuse(fault.SourceRefused, fault.Place{Field: fmt.Sprintf("data[%s]", name)}, "read decryption key: %w", err)
		}
	}
	if len(r.public) == 0 {
		return Keys{}, fault.Refuse(fault.SourceRefused, fault.Place{}, "the Secret holds no decryption key: want a key ending in .agekey (age) or .asc (armored PGP)")
	}
	slices.Sort(r.public)
	r.public = slices.Compact(r.public)
	return Keys{r}, nil
}

// addAge does not pass on what age says: it may quote the line.
func (r *ring) addAge(text []byte) error {
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return errors.New("want age identities, lines that begin with AGE-SECRET-KEY-, and comments")
	}
	for _, identity := range identities {
		switch i := identity.(type) {
		case *age.X25519Identity:
			r.public = append(r.public, i.Recipient().String())
		case *age.HybridIdentity:
			r.public = append(r.public, i.Recipient().String())
		default:
			return errors.New("age knows this identity, Plumb does not")
		}
		r.age = append(r.age, identity)
	}
	return nil
}

func (r *ring) addPGP(text []byte) error {
	entities, err := openpgp.ReadArmoredKeyRing(io.LimitReader(bytes.NewReader(text), 1<<20))
	if err != nil {
		return errors.New("want an armored PGP private key, as gpg --export-secret-keys --armor writes it")
	}
	for _, e := range entities {
		if e.PrivateKey == nil {
			return errors.New("the PGP key is a public one; export the private key")
		}
		if locked(e) {
			return errors.New("the PGP key has a passphrase; remove it, as gpg --edit-key and passwd do")
		}
		r.public = append(r.public, fmt.Sprintf("%X", e.PrimaryKey.Fingerprint))
	}
	r.pgp = append(r.pgp, entities...)
	return nil
}

func locked(e *openpgp.Entity) bool {
	if e.PrivateKey.Encrypted {
		return true
	}
	return slices.ContainsFunc(e.Subkeys, func(s openpgp.Subkey) bool { return s.PrivateKey != nil && s.PrivateKey.Encrypted })
}

// Given is false for the zero value.
func (k Keys) Given() bool { return k.ring != nil }

// ID stands for the keys in the keys of caches: SHA-256 in hex over their public
// halves. Without keys it is empty.
func (k Keys) ID() string {
	if k.ring == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(k.ring.public, "\n")))
	return hex.EncodeToString(sum[:])
}

// String tells the public ids: age recipients and PGP fingerprints.
func (k Keys) String() string {
	if k.ring == nil {
		return "no keys"
	}
	return "keys of " + listed(k.ring.public)
}

// Format keeps %+v, %#v and the like from the private halves.
func (k Keys) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// LogValue implements slog.LogValuer.
func (k Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText keeps encoders from the private halves.
func (k Keys) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// listed names up to ten ids.
func listed(ids []string) string {
	const most = 10
	if len(ids) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return strings.Join(ids, ", ")
}
