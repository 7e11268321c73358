package decrypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	agearmor "filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/getsops/sops/v3/shamir"
	"go.yaml.in/yaml/v3"
)

// metadata is the sops block of a file, as sops/v3/stores writes it. Numbers and
// booleans are read as text, which flat formats have only.
type metadata struct {
	group                   `yaml:",inline"`
	Groups                  []group `yaml:"key_groups"`
	Threshold               string  `yaml:"shamir_threshold"`
	LastModified            string  `yaml:"lastmodified"`
	MAC                     string  `yaml:"mac"`
	MACOnlyEncrypted        string  `yaml:"mac_only_encrypted"`
	UnencryptedSuffix       string  `yaml:"unencrypted_suffix"`
	EncryptedSuffix         string  `yaml:"encrypted_suffix"`
	UnencryptedRegex        string  `yaml:"unencrypted_regex"`
	EncryptedRegex          string  `yaml:"encrypted_regex"`
	UnencryptedCommentRegex string  `yaml:"unencrypted_comment_regex"`
	EncryptedCommentRegex   string  `yaml:"encrypted_comment_regex"`
}

// group are the keys of which each opens one part of the data key.
type group struct {
	Age []struct {
		Recipient string `yaml:"recipient"`
		Enc       string `yaml:"enc"`
	} `yaml:"age"`
	PGP []struct {
		Fingerprint string `yaml:"fp"`
		Enc         string `yaml:"enc"`
	} `yaml:"pgp"`
	// Keys of services are never asked; they are named in errors.
	KMS []struct {
		ARN string `yaml:"arn"`
	} `yaml:"kms"`
	GCP []struct {
		Resource string `yaml:"resource_id"`
	} `yaml:"gcp_kms"`
	Azure []struct {
		Vault string `yaml:"vault_url"`
		Name  string `yaml:"name"`
	} `yaml:"azure_kv"`
	Vault []struct {
		Address string `yaml:"vault_address"`
		Name    string `yaml:"key_name"`
	} `yaml:"hc_vault"`
	Huawei []struct {
		ID string `yaml:"key_id"`
	} `yaml:"hckms"`
}

// maxKeys bounds what a file may have tried.
const maxKeys = 64

func parseMetadata(n *yaml.Node) (metadata, error) {
	var m metadata
	if err := n.Decode(&m); err != nil {
		return metadata{}, errors.New("its sops metadata are not those of SOPS")
	}
	if !m.empty() {
		m.Groups = []group{m.group}
	}
	if len(m.Groups) == 0 {
		return metadata{}, errors.New("its sops metadata name no key")
	}
	if len(m.recipients()) > maxKeys {
		return metadata{}, fmt.Errorf("it is encrypted for more than %d keys", maxKeys)
	}
	return m, nil
}

func (g group) empty() bool { return len(g.recipients()) == 0 }

// recipients are the public ids of a group's keys.
func (g group) recipients() []string {
	var out []string
	for _, k := range g.Age {
		out = append(out, k.Recipient)
	}
	for _, k := range g.PGP {
		out = append(out, "PGP "+k.Fingerprint)
	}
	for _, k := range g.KMS {
		out = append(out, k.ARN)
	}
	for _, k := range g.GCP {
		out = append(out, k.Resource)
	}
	for _, k := range g.Azure {
		out = append(out, k.Vault+"/"+k.Name)
	}
	for _, k := range g.Vault {
		out = append(out, k.Address+"/"+k.Name)
	}
	for _, k := range g.Huawei {
		out = append(out, k.ID)
	}
	return out
}

func (m metadata) recipients() []string {
	var out []string
	for _, g := range m.Groups {
		out = append(out, g.recipients()...)
	}
	for i, id := range out {
		out[i] = public(id)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// public bounds an id that the file tells.
func public(id string) string {
	id = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, id)
	return strings.ToValidUTF8(id[:min(len(id), 120)], "?")
}

func (m metadata) macOnly() bool {
	only, _ := strconv.ParseBool(m.MACOnlyEncrypted)
	return only
}

// stamp is the context of the MAC.
func (m metadata) stamp() (string, error) {
	t, err := time.Parse(time.RFC3339, m.LastModified)
	if err != nil {
		return "", errors.New("sops.lastmodified is not a time")
	}
	return t.Format(time.RFC3339), nil
}

// dataKey is the key of the file's values: the part of its one group, or as many
// parts as Shamir's scheme wants put together.
func (k Keys) dataKey(m metadata) ([]byte, error) {
	var parts [][]byte
	for _, g := range m.Groups {
		if part := k.part(g); part != nil {
			parts = append(parts, part)
		}
	}
	want := len(m.Groups)
	if n, _ := strconv.Atoi(m.Threshold); n > 0 && n <= want {
		want = n
	}
	switch {
	case len(parts) == 0:
		return nil, fmt.Errorf("it is encrypted for %s, and none of these is among the %s; add a private key to the Secret of spec.source.decryption, or this recipient to the file with sops updatekeys", listed(m.recipients()), k)
	case len(parts) < want:
		return nil, fmt.Errorf("it wants keys of %d of its %d key groups, and the %s open %d; its recipients are %s", want, len(m.Groups), k, len(parts), listed(m.recipients()))
	case len(m.Groups) == 1:
		return parts[0], nil
	}
	key, err := shamir.Combine(parts)
	if err != nil {
		return nil, errors.New("the parts of its data key do not fit together")
	}
	return key, nil
}

// part is what the first fitting key of a group gives, nil when none fits.
func (k Keys) part(g group) []byte {
	for _, key := range g.Age {
		if len(k.ring.age) == 0 {
			break
		}
		r, err := age.Decrypt(agearmor.NewReader(strings.NewReader(key.Enc)), k.ring.age...)
		if part := drain(r, err); part != nil {
			return part
		}
	}
	for _, key := range g.PGP {
		if part := k.pgpPart(key.Enc); part != nil {
			return part
		}
	}
	return nil
}

func (k Keys) pgpPart(enc string) []byte {
	if len(k.ring.pgp) == 0 {
		return nil
	}
	block, err := armor.Decode(strings.NewReader(enc))
	if err != nil {
		return nil
	}
	message, err := openpgp.ReadMessage(block.Body, k.ring.pgp, nil, nil)
	if err != nil {
		return nil
	}
	return drain(message.UnverifiedBody, nil)
}

// drain reads a part of a data key, which has some 32 bytes.
func drain(r io.Reader, err error) []byte {
	if err != nil {
		return nil
	}
	part, err := io.ReadAll(io.LimitReader(r, 256))
	if err != nil || len(part) == 0 {
		return nil
	}
	return bytes.Clone(part)
}

// rules say which values of a file are encrypted. A rule over comments cannot be
// told from the values alone: there a value that looks encrypted is, which the MAC
// and its own authentication confirm.
type rules struct {
	suffix    string
	pattern   *regexp.Regexp
	matching  bool // matching keys are the encrypted ones
	byComment bool
}

func (m metadata) rules() (rules, error) {
	r := rules{suffix: "_unencrypted"}
	given := 0
	for _, rule := range []struct {
		text string
		rules
	}{
		{m.UnencryptedSuffix, rules{suffix: m.UnencryptedSuffix}},
		{m.EncryptedSuffix, rules{suffix: m.EncryptedSuffix, matching: true}},
		{m.UnencryptedRegex, rules{}},
		{m.EncryptedRegex, rules{matching: true}},
		{m.UnencryptedCommentRegex, rules{byComment: true}},
		{m.EncryptedCommentRegex, rules{byComment: true}},
	} {
		if rule.text == "" {
			continue
		}
		if given++; given > 1 {
			return rules{}, errors.New("its sops metadata hold more than one rule of what is encrypted")
		}
		r = rule.rules
		if r.suffix == "" && !r.byComment {
			var err error
			if r.pattern, err = regexp.Compile(rule.text); err != nil {
				return rules{}, errors.New("the pattern of its sops metadata is no regular expression")
			}
		}
	}
	return r, nil
}

func (r rules) encrypted(path []string, text string) bool {
	if r.byComment {
		return strings.HasPrefix(text, mark)
	}
	hit := slices.ContainsFunc(path, func(key string) bool {
		if r.pattern != nil {
			return r.pattern.MatchString(key)
		}
		return strings.HasSuffix(key, r.suffix)
	})
	return hit == r.matching
}
