// Command generate encrypts the files of ../plain with the sops library itself, for
// new keys, into ../encrypted. Run it in this directory: go run .
//
// It stands below testdata since linking sops takes in the SDKs of three clouds.
package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/pgp"
	"github.com/getsops/sops/v3/shamir"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// recipients are one public key of each kind, and one whose private key is lost.
type recipients struct {
	age, lost, pgp string
	ring           string
}

func (r recipients) group(ids ...string) sops.KeyGroup {
	var out sops.KeyGroup
	for _, id := range ids {
		if id == r.pgp {
			key := pgp.NewMasterKeyFromFingerprint(id)
			pgp.PubRing(r.ring).ApplyToMasterKey(key)
			out = append(out, key)
			continue
		}
		key, err := sopsage.MasterKeyFromRecipient(id)
		if err != nil {
			panic(err)
		}
		out = append(out, key)
	}
	return out
}

func run() error {
	r, err := newKeys()
	if err != nil {
		return err
	}
	defer os.Remove(r.ring)
	one := []sops.KeyGroup{r.group(r.age)}
	for name, m := range map[string]sops.Metadata{
		"secret.yaml":             {KeyGroups: []sops.KeyGroup{r.group(r.lost, r.age, r.pgp)}, EncryptedRegex: "^(data|stringData)$"},
		"everything.yaml":         {KeyGroups: one, UnencryptedSuffix: "_unencrypted"},
		"pgp.yaml":                {KeyGroups: []sops.KeyGroup{r.group(r.pgp)}, UnencryptedSuffix: "_unencrypted"},
		"mac-only.yaml":           {KeyGroups: one, EncryptedSuffix: "_secret", MACOnlyEncrypted: true},
		"unencrypted-regex.yaml":  {KeyGroups: one, UnencryptedRegex: "^(apiVersion|kind|metadata)$"},
		"encrypted-comment.yaml":  {KeyGroups: one, EncryptedCommentRegex: "sops:enc"},
		"values.json":             {KeyGroups: one, UnencryptedSuffix: "_unencrypted"},
		"app.env":                 {KeyGroups: one, UnencryptedSuffix: "_unencrypted"},
		"app.ini":                 {KeyGroups: one, UnencryptedSuffix: "_unencrypted"},
		"blob.bin":                {KeyGroups: one, UnencryptedSuffix: "_unencrypted"},
		"config.txt":              {KeyGroups: one, UnencryptedSuffix: "_unencrypted"},
		"groups.yaml":             {KeyGroups: []sops.KeyGroup{r.group(r.age), r.group(r.lost), r.group(r.pgp)}, ShamirThreshold: 2, UnencryptedSuffix: "_unencrypted"},
		"too-few-groups.yaml":     {KeyGroups: []sops.KeyGroup{r.group(r.age), r.group(r.lost)}, ShamirThreshold: 2, UnencryptedSuffix: "_unencrypted"},
		"for-somebody-else.yaml":  {KeyGroups: []sops.KeyGroup{r.group(r.lost)}, UnencryptedSuffix: "_unencrypted"},
		"all-groups-at-once.yaml": {KeyGroups: []sops.KeyGroup{r.group(r.age), r.group(r.pgp)}, UnencryptedSuffix: "_unencrypted"},
	} {
		if err := encrypt(name, m); err != nil {
			return fmt.Errorf("encrypt %s: %w", name, err)
		}
	}
	return nil
}

func newKeys() (recipients, error) {
	mine, err := age.GenerateX25519Identity()
	if err != nil {
		return recipients{}, err
	}
	lost, err := age.GenerateX25519Identity()
	if err != nil {
		return recipients{}, err
	}
	text := fmt.Sprintf("# a key of tests\n# public key: %s\n%s\n", mine.Recipient(), mine)
	if err := os.WriteFile("../keys/test.agekey", []byte(text), 0o600); err != nil {
		return recipients{}, err
	}
	entity, err := openpgp.NewEntity("Plumb test", "", "test@example.com", nil)
	if err != nil {
		return recipients{}, err
	}
	var private bytes.Buffer
	w, err := armor.Encode(&private, openpgp.PrivateKeyType, nil)
	if err != nil {
		return recipients{}, err
	}
	if err := entity.SerializePrivate(w, nil); err != nil {
		return recipients{}, err
	}
	if err := w.Close(); err != nil {
		return recipients{}, err
	}
	if err := os.WriteFile("../keys/test.asc", append(private.Bytes(), '\n'), 0o600); err != nil {
		return recipients{}, err
	}
	ring, err := os.CreateTemp("", "ring")
	if err != nil {
		return recipients{}, err
	}
	defer ring.Close()
	fingerprint := fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)
	return recipients{mine.Recipient().String(), lost.Recipient().String(), fingerprint, ring.Name()}, entity.Serialize(ring)
}

func encrypt(name string, m sops.Metadata) error {
	source := name
	if _, err := os.Stat("../plain/" + name); err != nil {
		source = "any" + filepath.Ext(name)
	}
	plain, err := os.ReadFile("../plain/" + source)
	if err != nil {
		return err
	}
	store := common.StoreForFormat(formats.FormatForPath(name), config.NewStoresConfig())
	branches, err := store.LoadPlainFile(plain)
	if err != nil {
		return err
	}
	m.Version, m.LastModified = "3.13.3", time.Now().UTC()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	if err := share(m, key); err != nil {
		return err
	}
	tree := sops.Tree{Branches: branches, Metadata: m, FilePath: name}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(key, cipher)
	if err != nil {
		return err
	}
	tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, key, m.LastModified.Format(time.RFC3339))
	if err != nil {
		return err
	}
	out, err := store.EmitEncryptedFile(tree)
	if err != nil {
		return err
	}
	return os.WriteFile("../encrypted/"+name, out, 0o644)
}

func share(m sops.Metadata, key []byte) error {
	parts := [][]byte{key}
	if len(m.KeyGroups) > 1 {
		threshold := m.ShamirThreshold
		if threshold == 0 {
			threshold = len(m.KeyGroups)
		}
		var err error
		if parts, err = shamir.Split(key, len(m.KeyGroups), threshold); err != nil {
			return err
		}
	}
	for i, group := range m.KeyGroups {
		for _, k := range group {
			if err := k.(keys.MasterKey).Encrypt(parts[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
