package git

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Verify finds out that one of the keys signed a commit that a Fetch of the URL
// returned, and says which: its owner and fingerprint. What is signed is the
// commit object without its gpgsig header, byte by byte, and with it the whole
// tree, submodules included. Keys must be valid now. A commit without a good
// signature is a permanent fault (SourceRefused) that says what was found.
func (s *Store) Verify(ctx context.Context, u URL, sha string, k Keys) (signer string, err error) {
	o, commit, err := s.objectsOf(ctx, u, sha)
	if err != nil {
		return "", err
	}
	data, err := o.read(commit, plumbing.CommitObject, maxCommitObject)
	if damaged(err) {
		return "", fault.As(fault.FetchFailed, fmt.Errorf("read commit %s of %s: %w", sha, u, err))
	}
	if err == nil {
		signer, err = k.check(data, s.o.Now())
	}
	if err != nil {
		return "", fault.Refuse(fault.SourceRefused, fault.Place{Field: "spec.source.verify"}, "commit %s of %s is refused: %w", sha, u, err)
	}
	return signer, nil
}

const (
	pgpHeader = "-----BEGIN PGP SIGNATURE-----"
	sshHeader = "-----BEGIN SSH SIGNATURE-----"
	sshFooter = "-----END SSH SIGNATURE-----"
)

// check verifies a commit object. It never panics, whatever the object holds.
func (k Keys) check(commit []byte, now time.Time) (signer string, err error) {
	defer contain(&err)
	payload, signature, err := splitSignature(commit)
	if err != nil {
		return "", err
	}
	switch text := strings.TrimSpace(string(signature)); {
	case strings.HasPrefix(text, pgpHeader):
		return k.checkPGP(payload, text, now)
	case strings.HasPrefix(text, sshHeader):
		return k.checkSSH(payload, text, now)
	case strings.HasPrefix(text, "-----BEGIN SIGNED MESSAGE-----"):
		return "", errors.New("it has an X.509 signature; sign with an OpenPGP or SSH key")
	}
	return "", errors.New("its signature is neither OpenPGP nor SSH")
}

// signatureHeader is gitformat-signature(5)'s. Headers that only begin so belong
// to other hash functions: git leaves them out of what is signed, too.
const signatureHeader = "gpgsig"

// splitSignature takes the signature out of a commit object, as git's
// parse_signed_commit does.
func splitSignature(commit []byte) (payload, signature []byte, err error) {
	into := &payload
	var dropped []byte
	count := 0
	for len(commit) > 0 {
		end := bytes.IndexByte(commit, '\n') + 1
		if end == 0 {
			end = len(commit)
		}
		line := commit[:end]
		commit = commit[end:]
		switch {
		case line[0] == '\n':
			payload = slices.Concat(payload, line, commit)
			commit = nil
			continue
		case line[0] == ' ' && into != &payload:
			line = line[1:]
		case bytes.HasPrefix(line, []byte(signatureHeader+" ")):
			count++
			into, line = &signature, line[len(signatureHeader)+1:]
		case bytes.HasPrefix(line, []byte(signatureHeader)):
			into = &dropped
		case line[0] != ' ':
			into = &payload
		}
		*into = append(*into, line...)
	}
	switch {
	case count == 0:
		return nil, nil, errors.New("it is not signed")
	case count > 1:
		return nil, nil, fmt.Errorf("it has %d signatures, where one is allowed", count)
	}
	return payload, signature, nil
}

// committed is when the commit says that it was made, which is signed with it.
func committed(payload []byte) (time.Time, error) {
	for line := range bytes.Lines(payload) {
		if line[0] == '\n' {
			break
		}
		rest, ok := bytes.CutPrefix(line, []byte("committer "))
		if !ok {
			continue
		}
		words := strings.Fields(string(rest[bytes.LastIndexByte(rest, '>')+1:]))
		if len(words) == 0 {
			break
		}
		seconds, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil || seconds < 0 {
			break
		}
		return time.Unix(seconds, 0), nil
	}
	return time.Time{}, errors.New("it does not say when it was committed")
}

// strong are the hash functions that a signature may use.
var strong = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

func (k Keys) checkPGP(payload []byte, text string, now time.Time) (string, error) {
	block, err := armor.Decode(strings.NewReader(text))
	if err != nil {
		return "", fmt.Errorf("its OpenPGP signature is malformed: %w", err)
	}
	packets, err := io.ReadAll(block.Body)
	if err != nil {
		return "", fmt.Errorf("its OpenPGP signature is malformed: %w", err)
	}
	sig, signer, err := openpgp.VerifyDetachedSignature(k.pgp, bytes.NewReader(payload), bytes.NewReader(packets), &packet.Config{Time: func() time.Time { return now }})
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", fmt.Errorf("it is signed by the OpenPGP key %s, which is none of the %d that may sign", issuer(packets), len(k.pgp))
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return "", fmt.Errorf("it is signed by %s, which has expired; renew it, or sign with another", describeEntity(signer))
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "", fmt.Errorf("it is signed by %s, which is revoked", describeEntity(signer))
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return "", fmt.Errorf("its signature by %s has expired, or is of the future", describeEntity(signer))
	case err != nil:
		return "", fmt.Errorf("its OpenPGP signature by %s does not belong to it: %w", issuer(packets), err)
	}
	if err := strongPGP(sig, signer); err != nil {
		return "", err
	}
	return describeEntity(signer), nil
}

// strongPGP refuses what the library lets pass for the sake of old messages.
func strongPGP(sig *packet.Signature, signer *openpgp.Entity) error {
	switch {
	case sig.SigType != packet.SigTypeBinary:
		return fmt.Errorf("its OpenPGP signature is of type %#x, not one over bytes", int(sig.SigType))
	case !slices.Contains(strong, sig.Hash):
		return fmt.Errorf("its OpenPGP signature uses the weak hash function %s; sign with SHA-256 or better", sig.Hash)
	}
	for _, key := range (openpgp.EntityList{signer}).KeysByIdUsage(*sig.IssuerKeyId, packet.KeyFlagSign) {
		bits, err := key.PublicKey.BitLength()
		switch key.PublicKey.PubKeyAlgo {
		case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
			if err != nil || bits < minRSABits {
				return fmt.Errorf("it is signed by an RSA key of %d bits, which is too weak; use one of %d or more", bits, minRSABits)
			}
		case packet.PubKeyAlgoDSA, packet.PubKeyAlgoElGamal:
			return errors.New("it is signed by a DSA key, which is too weak; use an Ed25519 or RSA key")
		}
	}
	return nil
}

// issuer is the key that a signature claims to be of.
func issuer(packets []byte) string {
	p, err := packet.Read(bytes.NewReader(packets))
	sig, ok := p.(*packet.Signature)
	switch {
	case err != nil || !ok || sig.IssuerKeyId == nil:
		return "of an unknown name"
	case len(sig.IssuerFingerprint) > 0:
		return fmt.Sprintf("%X", sig.IssuerFingerprint)
	}
	return fmt.Sprintf("%016X", *sig.IssuerKeyId)
}

func describeEntity(e *openpgp.Entity) string {
	print := fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)
	if identity := e.PrimaryIdentity(); identity != nil {
		return fmt.Sprintf("%s (%s)", oneLine(identity.Name), print)
	}
	return print
}
