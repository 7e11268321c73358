package git_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// signed reads a file of testdata/signed; its README says how they were made.
func signed(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "signed", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// keysOf reads values that are files of testdata/signed/keys, or lines as they stand.
func keysOf(t *testing.T, values ...string) git.Keys {
	t.Helper()
	secret := map[string][]byte{}
	for i, v := range values {
		if !strings.Contains(v, " ") {
			v = signed(t, "keys/"+v)
		}
		secret[string(rune('a'+i))] = []byte(v)
	}
	keys, err := git.ParseKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// signatureOf is the gpgsig header of a commit.
func signatureOf(commit string) string {
	_, rest, _ := strings.Cut(commit, "\ngpgsig ")
	sig, _, _ := strings.Cut(rest, "\n\n")
	return "gpgsig " + sig + "\n"
}

// planter puts commit objects on a server and verifies them.
type planter struct {
	*site
	now time.Time
}

func newPlanter(t *testing.T) *planter {
	p := &planter{now: time.Date(2026, 1, 16, 0, 0, 0, 0, time.UTC)}
	p.site = newSite(t, gitserver.Options{}, git.Options{Now: func() time.Time { return p.now }})
	blob := p.put("blob", "signed\n")
	p.put("tree", "100644 f\x00"+raw(t, blob))
	return p
}

func (p *planter) verify(t *testing.T, commit string, keys git.Keys) (sha, signer string, err error) {
	t.Helper()
	s := p.in(t)
	sha = s.put("commit", commit)
	s.atServer("update-ref", "refs/heads/main", sha)
	s.fetch("main")
	signer, err = p.store.Verify(t.Context(), p.url(), sha, keys)
	return sha, signer, err
}

func TestVerifyAcceptsWhatAKeySigned(t *testing.T) {
	p := newPlanter(t)
	all := []string{"gpg-ada.asc", "gpg-rsa.asc", "gpg-subkey.asc", "ssh-ada.pub", "ssh-ecdsa.pub", "ssh-rsa.pub"}
	ada := signed(t, "keys/ssh-ada.pub")
	line, _, _ := strings.Cut(ada, " ada@")
	cases := map[string]struct {
		commit string
		keys   []string
		want   string
	}{
		"an OpenPGP key":                  {"gpg-ada", all, "ada <ada@example.com> ("},
		"an RSA one":                      {"gpg-rsa", all, "rsa <rsa@example.com> ("},
		"a subkey, named by its owner":    {"gpg-subkey", all, "subkey <subkey@example.com> ("},
		"one that has not expired yet":    {"gpg-expired", []string{"gpg-expired.asc"}, "expired <"},
		"a signature that is still valid": {"gpg-shortlived", all, "rsa <"},
		"several keys in one value":       {"gpg-ada", []string{signed(t, "keys/gpg-rsa.asc") + "\n" + signed(t, "keys/gpg-ada.asc")}, "ada <"},
		"an SSH key":                      {"ssh-ada", all, "ada@example.com (SHA256:"},
		"an ECDSA one":                    {"ssh-ecdsa", all, "ecdsa@example.com (SHA256:"},
		"an RSA one of SSH":               {"ssh-rsa", all, "rsa@example.com (SHA256:"},
		"one over SHA-256":                {"ssh-sha256", all, "ada@example.com (SHA256:"},
		"a key without a comment":         {"ssh-ada", []string{line}, "SHA256:"},
		"an allowed signer":               {"ssh-ada", []string{"# who\n\nada@example.com,a* " + ada}, "ada@example.com,a* (SHA256:"},
		"with options that let it": {
			"ssh-ada", []string{`ada namespaces="file,g?t",valid-after="20260101",valid-before=20260201000000Z ` + ada}, "ada (SHA256:",
		},
		"a second line of the key": {"ssh-ada", []string{"old valid-before=20250101 " + ada + "\nnew " + ada}, "new (SHA256:"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, signer, err := p.verify(t, signed(t, "commits/"+c.commit), keysOf(t, c.keys...))
			if err != nil || !strings.HasPrefix(signer, c.want) {
				t.Errorf("signer %q (%v), want %q…", signer, err, c.want)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	p := newPlanter(t)
	gpg, ed, rsa := signed(t, "commits/gpg-ada"), signed(t, "commits/ssh-ada"), signed(t, "commits/gpg-rsa")
	ada := "a " + signed(t, "keys/ssh-ada.pub")
	later := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		commit string
		keys   []string
		now    time.Time
		words  []string
	}{
		"a commit without a signature":        {commit: signed(t, "commits/unsigned"), words: []string{"not signed"}},
		"an OpenPGP key that is not listed":   {commit: rsa, words: []string{"OpenPGP key", "none of the 1"}},
		"an SSH key that is not listed":       {commit: signed(t, "commits/ssh-ecdsa"), words: []string{"SSH key SHA256:", "none of the 1"}},
		"OpenPGP where only SSH keys are":     {commit: gpg, keys: []string{ada}, words: []string{"OpenPGP key", "none of the 0"}},
		"SSH where only OpenPGP keys are":     {commit: ed, keys: []string{"gpg-ada.asc"}, words: []string{"SSH key", "none of the 0"}},
		"a key that has expired":              {commit: signed(t, "commits/gpg-expired"), keys: []string{"gpg-expired.asc"}, now: later, words: []string{"expired <expired@", "has expired"}},
		"a key that is revoked":               {commit: signed(t, "commits/gpg-revoked"), keys: []string{"gpg-revoked.asc"}, words: []string{"revoked <revoked@", "is revoked"}},
		"a signature that has expired":        {commit: signed(t, "commits/gpg-shortlived"), keys: []string{"gpg-rsa.asc"}, now: later, words: []string{"rsa <", "signature"}},
		"a signature of the future":           {commit: rsa, keys: []string{"gpg-rsa.asc"}, now: later.AddDate(-1, 0, 0), words: []string{"rsa <"}},
		"an RSA key of 1024 bits":             {commit: signed(t, "commits/gpg-weak"), keys: []string{"gpg-weak.asc"}, words: []string{"1024 bits"}},
		"OpenPGP over SHA-1":                  {commit: signed(t, "commits/gpg-sha1"), keys: []string{"gpg-rsa.asc"}, words: []string{"SHA-1"}},
		"an RSA key of SSH of 1024 bits":      {commit: signed(t, "commits/ssh-weak"), words: []string{"2048 bits"}},
		"a signature for files":               {commit: signed(t, "commits/ssh-namespace"), words: []string{"namespace", `"file"`}},
		"another message":                     {commit: gpg + "!", words: []string{"does not belong"}},
		"another message under SSH":           {commit: ed + "!", words: []string{"does not belong"}},
		"another parent":                      {commit: strings.Replace(ed, "\nauthor", "\nparent "+strings.Repeat("5", 40)+"\nauthor", 1), words: []string{"does not belong"}},
		"the signature of another commit":     {commit: strings.Replace(ed, signatureOf(ed), signatureOf(signed(t, "commits/ssh-sha256")), 1), words: []string{"does not belong"}},
		"two signatures":                      {commit: strings.Replace(ed, "gpgsig ", signatureOf(ed)+"gpgsig ", 1), words: []string{"2 signatures"}},
		"two of two kinds":                    {commit: strings.Replace(ed, "gpgsig ", signatureOf(gpg)+"gpgsig ", 1), words: []string{"2 signatures"}},
		"a signature in the message":          {commit: signed(t, "commits/unsigned") + "\n" + signatureOf(ed), words: []string{"not signed"}},
		"a header put before the signature":   {commit: strings.Replace(ed, "gpgsig ", "x y\ngpgsig ", 1), words: []string{"does not belong"}},
		"an X.509 signature":                  {commit: strings.NewReplacer("BEGIN SSH SIGNATURE", "BEGIN SIGNED MESSAGE").Replace(ed), words: []string{"X.509"}},
		"a signature of no kind":              {commit: strings.Replace(ed, "-----BEGIN", "+++++BEGIN", 1), words: []string{"neither"}},
		"one without an end":                  {commit: strings.Replace(ed, "-----END SSH", "-----FIN SSH", 1), words: []string{"no end"}},
		"one that is not base64":              {commit: strings.Replace(ed, "U1NIU0lH", "*1NIU0lH", 1), words: []string{"base64"}},
		"one of other bytes":                  {commit: strings.Replace(ed, "U1NIU0lH", "U1NIU0lI", 1), words: []string{"malformed"}},
		"armor around nothing":                {commit: strings.Replace(ed, signatureOf(ed), "gpgsig -----BEGIN PGP SIGNATURE-----\n \n -----END PGP SIGNATURE-----\n", 1), words: []string{"OpenPGP"}},
		"a namespace that the line lacks":     {commit: ed, keys: []string{strings.Replace(ada, "a ", `a namespaces="file,x*" `, 1)}, words: []string{"namespaces", "file,x*"}},
		"a namespace that the line negates":   {commit: ed, keys: []string{strings.Replace(ada, "a ", `a namespaces="*,!git" `, 1)}, words: []string{"namespaces"}},
		"a commit before the key was valid":   {commit: ed, keys: []string{strings.Replace(ada, "a ", "a valid-after=202601151201 ", 1)}, words: []string{"valid after 2026-01-15T12:01:00Z"}},
		"a commit after it":                   {commit: ed, keys: []string{strings.Replace(ada, "a ", "a valid-before=20260115 ", 1)}, words: []string{"valid before"}},
		"a commit of before, looked at after": {commit: ed, keys: []string{strings.Replace(ada, "a ", "a valid-before=20260120 ", 1)}, now: later, words: []string{"valid before 2026-01-20"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p.now = c.now
			if c.now.IsZero() {
				p.now = time.Date(2026, 1, 16, 0, 0, 0, 0, time.UTC)
			}
			if c.keys == nil {
				c.keys = []string{"gpg-ada.asc", "ssh-ada.pub"}
			}
			sha, signer, err := p.verify(t, c.commit, keysOf(t, c.keys...))
			wantFault(t, err, fault.Permanent, fault.SourceRefused, append(c.words, sha, p.repo.URL(), "spec.source.verify")...)
			if signer != "" {
				t.Errorf("it has the signer %q all the same", signer)
			}
		})
	}
	t.Run("every commit where there are no keys", func(t *testing.T) {
		_, _, err := p.verify(t, gpg, git.Keys{})
		wantFault(t, err, fault.Permanent, fault.SourceRefused, "none of the 0")
	})
	t.Run("a commit that is not there is no refusal", func(t *testing.T) {
		_, err := p.store.Verify(t.Context(), p.url(), strings.Repeat("5", 40), git.Keys{})
		wantFault(t, err, fault.Transient, fault.FetchFailed, "not in the store")
	})
}

// A signature for SHA-256 repositories beside that of SHA-1 is not signed, as in git.
func TestVerifyPassesOverSignaturesOfOtherHashFunctions(t *testing.T) {
	p := newPlanter(t)
	ed := signed(t, "commits/ssh-ada")
	both := strings.Replace(ed, "gpgsig ", "gpgsig-sha256 x\n y\ngpgsig ", 1)
	if _, _, err := p.verify(t, both, keysOf(t, "ssh-ada.pub")); err != nil {
		t.Error(err)
	}
}

// securityKey is a public key of a FIDO token; none is at hand to sign with.
func securityKey() string {
	blob := ssh.Marshal(struct{ Kind, Key, Application string }{ssh.KeyAlgoSKED25519, strings.Repeat("k", 32), "ssh:"})
	return ssh.KeyAlgoSKED25519 + " " + base64.StdEncoding.EncodeToString(blob)
}

func TestParseKeysRefuses(t *testing.T) {
	ada := signed(t, "keys/ssh-ada.pub")
	kind, rest, _ := strings.Cut(strings.TrimSpace(ada), " ")
	cases := map[string]struct {
		value string
		words []string
	}{
		"nothing":                        {"", []string{"no public key"}},
		"comments alone":                 {"# nobody\n\n", []string{"no public key"}},
		"a line that is no key":          {ada + "canary\n", []string{"keys.txt:2", "no public key"}},
		"a private key of SSH":           {"-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n", []string{"keys.txt", "private key"}},
		"a private key of OpenPGP":       {"-----BEGIN PGP PRIVATE KEY BLOCK-----\ncanary\n", []string{"keys.txt", "private key"}},
		"an OpenPGP message":             {"-----BEGIN PGP MESSAGE-----\n\nYQ==\n-----END PGP MESSAGE-----\n", []string{"keys.txt", "PGP MESSAGE"}},
		"a block without an end":         {signed(t, "keys/gpg-ada.asc")[:200], []string{"keys.txt", "OpenPGP"}},
		"a security key":                 {"a " + securityKey(), []string{"keys.txt:1", "sk-ssh-ed25519@openssh.com", "not accepted"}},
		"a weak RSA key":                 {signed(t, "keys/ssh-weak.pub"), []string{"keys.txt:1", "2048 bits"}},
		"a key of another type":          {"ssh-rsa " + rest, []string{"keys.txt:1", "no ssh-rsa key"}},
		"a key that is not base64":       {kind + " ****", []string{"keys.txt:1", "base64"}},
		"a certificate authority":        {"*@acme.com cert-authority " + ada, []string{"keys.txt:1", "certificates"}},
		"one of authorized_keys":         {"cert-authority " + ada, []string{"keys.txt:1", "authorized_keys"}},
		"a login option":                 {`command="x y" ` + ada, []string{"keys.txt:1", "authorized_keys"}},
		"principals that name nobody":    {"!a@b " + ada, []string{"keys.txt:1", "nobody"}},
		"an option that is not known":    {"a touch=1 " + ada, []string{"keys.txt:1", `"touch"`}},
		"a time that is none":            {"a valid-before=2026 " + ada, []string{"keys.txt:1", `"2026"`, "YYYYMMDD"}},
		"namespaces that are empty":      {`a namespaces="" ` + ada, []string{"keys.txt:1", "namespaces"}},
		"a quote that is not closed":     {`a namespaces="git ` + ada, []string{"keys.txt:1", "quote"}},
		"more keys than anybody reviews": {strings.Repeat(ada, 1001), []string{"1001 keys"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := git.ParseKeys(map[string][]byte{"keys.txt": []byte(c.value)})
			wantFault(t, err, fault.Permanent, fault.SourceRefused, append(c.words, "spec.source.verify.secretRef")...)
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the value shows: %v", err)
			}
		})
	}
}
