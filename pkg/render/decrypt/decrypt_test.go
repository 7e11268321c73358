package decrypt_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/decrypt"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// keysOf parses the test keys whose names are given; none: both.
func keysOf(t testing.TB, names ...string) decrypt.Keys {
	t.Helper()
	if len(names) == 0 {
		names = []string{"test.agekey", "test.asc"}
	}
	secret := map[string][]byte{"sops.aws-kms": []byte("left alone")}
	for _, name := range names {
		secret[name] = read(t, "keys/"+name)
	}
	keys, err := decrypt.ParseKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// documents decodes what both YAML and JSON files are.
func documents(t *testing.T, data []byte) []any {
	t.Helper()
	var out []any
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var v any
		if err := decoder.Decode(&v); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("%v in:\n%s", err, data)
		}
		out = append(out, v)
	}
}

// wholeNumbers are what they become on their way through JSON.
var wholeNumbers = cmp.FilterValues(func(a, b any) bool {
	_, f := a.(float64)
	_, g := b.(float64)
	return f != g
}, cmp.Comparer(func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }))

// TestFilesOfSOPS decrypts what the sops library has encrypted (testdata/generate)
// and compares it with what that was made of.
func TestFilesOfSOPS(t *testing.T) {
	cases := map[string]struct {
		file, plain string
		keys        []string
	}{
		"an object with encrypted data, age":     {file: "secret.yaml", keys: []string{"test.agekey"}},
		"an object with encrypted data, PGP":     {file: "secret.yaml", keys: []string{"test.asc"}},
		"values of every type, comments, a list": {file: "everything.yaml"},
		"for a PGP key alone":                    {file: "pgp.yaml", plain: "any.yaml"},
		"a MAC of encrypted values only":         {file: "mac-only.yaml"},
		"a pattern of what is not encrypted":     {file: "unencrypted-regex.yaml"},
		"a comment before what is encrypted":     {file: "encrypted-comment.yaml"},
		"JSON":                                   {file: "values.json"},
		"two of three groups":                    {file: "groups.yaml", plain: "any.yaml"},
		"all of two groups":                      {file: "all-groups-at-once.yaml", plain: "any.yaml"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.plain == "" {
				c.plain = c.file
			}
			plain, err := keysOf(t, c.keys...).Decrypt("a/"+c.file, read(t, "encrypted/"+c.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(documents(t, read(t, "plain/"+c.plain)), documents(t, plain.Data), wholeNumbers); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
			if bytes.Contains(plain.Data, []byte("ENC[")) || len(plain.Secrets) == 0 {
				t.Errorf("secrets are %d, text is\n%s", len(plain.Secrets), plain.Data)
			}
		})
	}
}

func TestFilesThatAreNoTrees(t *testing.T) {
	cases := map[string]struct {
		file, name, want string
	}{
		"dotenv":                      {"app.env", "app.env", "USER=admin\nPASSWORD=canary-5ecret-env=\nEMPTY=\nLINES=one\\ntwo\nSHOWN_unencrypted=shown\n"},
		"dotenv of another name":      {"app.env", "config.enc", "USER=admin\nPASSWORD=canary-5ecret-env=\nEMPTY=\nLINES=one\\ntwo\nSHOWN_unencrypted=shown\n"},
		"ini":                         {"app.ini", "app.ini", "[database]\nhost = db.example.com\npassword = canary-5ecret-ini\n[cache]\nsize = 10\n"},
		"binary":                      {"blob.bin", "blob.bin", "canary-5ecret-binary\x00\xff\nline"},
		"the envelope of a JSON file": {"blob.bin", "blob.json", "{\n  \"data\": \"canary-5ecret-binary\\u0000\\ufffd\\nline\"\n}\n"},
		"an ini file of another name": {"app.ini", "app.conf", "[database]\nhost = db.example.com\npassword = canary-5ecret-ini\n[cache]\nsize = 10\n"},
		"a YAML file of another name": {"pgp.yaml", "values", "password: \"canary-5ecret-any\"\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			plain, err := keysOf(t).Decrypt(c.name, read(t, "encrypted/"+c.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(plain.Data)); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func TestFilesThatAreLeftAsTheyAre(t *testing.T) {
	cases := map[string]struct{ name, data string }{
		"plain YAML":                         {"a.yaml", "a: 1\n"},
		"a map called sops":                  {"a.yaml", "sops: {note: ENC[AES256_GCM, is how it begins}\n"},
		"a template that shows how":          {"t/a.yaml", "sops:\n  mac: ENC[AES256_GCM,x]\n{{ if }}\n"},
		"JSON without the block":             {"a.json", `{"sops": "ENC[AES256_GCM,"}`},
		"a page about it":                    {"README.md", "# sops\nwrites ENC[AES256_GCM,data:…]\n"},
		"lines of an env file without block": {"a.env", "# sops\nA=ENC[AES256_GCM,\n"},
		"a list":                             {"a.yaml", "- sops\n- ENC[AES256_GCM,\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			plain, err := keysOf(t).Decrypt(c.name, []byte(c.data))
			if err != nil || string(plain.Data) != c.data || plain.Secrets != nil {
				t.Errorf("got %q, %v, %v", plain.Data, plain.Secrets, err)
			}
		})
	}
	encrypted := read(t, "encrypted/secret.yaml")
	plain, err := decrypt.Keys{}.Decrypt("secret.yaml", encrypted)
	if err != nil || !bytes.Equal(plain.Data, encrypted) {
		t.Errorf("without keys: %v", err)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	change := func(file, old, new string) []byte {
		text := string(read(t, "encrypted/"+file))
		if !strings.Contains(text, old) {
			t.Fatalf("%s has no %q", file, old)
		}
		return []byte(strings.Replace(text, old, new, 1))
	}
	value := func(file, key string) string {
		for line := range strings.Lines(string(read(t, "encrypted/"+file))) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), key+": "); ok {
				return rest
			}
		}
		t.Fatalf("%s has no %s", file, key)
		return ""
	}
	big := append(read(t, "encrypted/secret.yaml"), bytes.Repeat([]byte("#"), 5<<20)...)
	cases := map[string]struct {
		data []byte
		keys []string
		want string
	}{
		"for somebody else": {
			data: read(t, "encrypted/for-somebody-else.yaml"),
			want: "f.yaml: decrypt SOPS file: it is encrypted for age1",
		},
		"for a key that was not given": {
			data: read(t, "encrypted/pgp.yaml"), keys: []string{"test.agekey"}, want: "it is encrypted for PGP ",
		},
		"with too few groups": {
			data: read(t, "encrypted/too-few-groups.yaml"), want: "it wants keys of 2 of its 2 key groups",
		},
		"a plain value changed":  {change("secret.yaml", "tier: \"1\"", "tier: \"2\""), nil, "its MAC does not match"},
		"a value added":          {change("everything.yaml", "plain_unencrypted:", "more_unencrypted: 1\nplain_unencrypted:"), nil, "its MAC does not match"},
		"a document dropped":     {change("everything.yaml", "third:\n", "third_unencrypted: []\nfourth:\n"), nil, "does not belong here"},
		"a value replaced":       {change("everything.yaml", value("everything.yaml", "a"), "canary-5ecret-put"), nil, "a: the value is not encrypted"},
		"a value of a number":    {change("everything.yaml", value("everything.yaml", "int"), "42"), nil, "int is not encrypted"},
		"a value moved":          {change("everything.yaml", value("everything.yaml", "big"), value("everything.yaml", "int")), nil, "big: the value does not belong here"},
		"a value dropped":        {change("mac-only.yaml", value("mac-only.yaml", "password_secret"), `""`), nil, "its MAC does not match"},
		"a MAC of another time":  {change("secret.yaml", "lastmodified: \"2", "lastmodified: \"3"), nil, "sops.mac: "},
		"no time":                {change("secret.yaml", "lastmodified:", "was:"), nil, "sops.lastmodified is not a time"},
		"two rules":              {change("secret.yaml", "encrypted_regex:", "encrypted_suffix: _x\n    encrypted_regex:"), nil, "more than one rule"},
		"a broken rule":          {change("secret.yaml", "encrypted_regex: ", "encrypted_regex: ("), nil, "no regular expression"},
		"no keys":                {change("pgp.yaml", "pgp:", "gpg:"), nil, "name no key"},
		"an alias":               {change("everything.yaml", "plain_unencrypted: shown", "x_unencrypted: &a 1\nplain_unencrypted: *a"), nil, "no aliases"},
		"deep nesting":           {change("everything.yaml", "shown", strings.Repeat("[", 200)+strings.Repeat("]", 200)), nil, "nested deeper than 100"},
		"a key that is a number": {change("everything.yaml", "plain_unencrypted:", "1:"), nil, "keys that are strings"},
		"a file too large":       {big, nil, "more than the 4194304"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			plain, err := keysOf(t, c.keys...).Decrypt("f.yaml", c.data)
			class, _ := fault.ClassOf(err)
			if err == nil || !strings.Contains(err.Error(), c.want) || class != fault.Permanent || fault.ReasonOf(err) != fault.RenderFailed {
				t.Fatalf("error is %v (%s), want %q, permanent, in it", err, class, c.want)
			}
			if plain.Data != nil || strings.Contains(err.Error(), "canary") || len(err.Error()) > 1500 {
				t.Errorf("got %q, error is %v", plain.Data, err)
			}
		})
	}
}

func TestKeysAreNamedByTheirPublicHalves(t *testing.T) {
	both, one := keysOf(t), keysOf(t, "test.agekey")
	if both.ID() == one.ID() || one.ID() != keysOf(t, "test.agekey").ID() || one.ID() == "" || (decrypt.Keys{}).ID() != "" {
		t.Errorf("ids are %q and %q", both.ID(), one.ID())
	}
	private := strings.TrimSpace(string(read(t, "keys/test.agekey")))
	private = private[strings.LastIndex(private, "\n")+1:]
	encoded, err := json.Marshal(map[string]any{"k": both, "p": &both})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "k", both, "p", &both)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "k", struct{ K decrypt.Keys }{both})
	text := fmt.Sprintf("%v %+v %#v %s %q %x %v %s %s", both, both, both, both, both, both, struct{ K decrypt.Keys }{both}, encoded, log.String())
	if strings.Contains(text, private[:20]) || strings.Contains(text, "ring") {
		t.Errorf("a key shows itself: %s", text)
	}
	if !strings.Contains(text, "keys of ") || !strings.Contains(both.String(), "age1") {
		t.Errorf("no public id in %s", text)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	private := string(read(t, "keys/test.asc"))
	cases := map[string]struct {
		secret map[string]string
		want   string
	}{
		"no keys at all":        {map[string]string{"password": "canary-5ecret"}, "the Secret holds no decryption key"},
		"a broken age identity": {map[string]string{"a.agekey": "AGE-SECRET-KEY-1CANARY"}, "data[a.agekey]: read decryption key: want age identities"},
		"an age recipient":      {map[string]string{"a.agekey": identity.Recipient().String()}, "want age identities"},
		"an empty age file":     {map[string]string{"a.agekey": ""}, "want age identities"},
		"a PGP key cut short":   {map[string]string{"a.asc": private[:300]}, "want an armored PGP private key"},
		"something else":        {map[string]string{"a.asc": "CANARY"}, "want an armored PGP private key"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			secret := map[string][]byte{}
			for key, value := range c.secret {
				secret[key] = []byte(value)
			}
			_, err := decrypt.ParseKeys(secret)
			class, _ := fault.ClassOf(err)
			if err == nil || !strings.Contains(err.Error(), c.want) || class != fault.Permanent || strings.Contains(strings.ToLower(err.Error()), "canary") {
				t.Errorf("error is %v (%s), want %q in it", err, class, c.want)
			}
		})
	}
}

func FuzzDecrypt(f *testing.F) {
	files, err := filepath.Glob("testdata/encrypted/*")
	if err != nil {
		f.Fatal(err)
	}
	keys := keysOf(f)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Base(file), data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		plain, err := keys.Decrypt(name, data)
		if err != nil && (plain.Data != nil || strings.Contains(err.Error(), "canary")) {
			t.Errorf("error tells %v", err)
		}
	})
}
