package helm_test

import (
	"testing"
	"testing/fstest"

	"github.com/plumb-gitops/plumb/pkg/render/helm"
)

func templated(values, template string) fstest.MapFS {
	return fstest.MapFS{
		"chart/Chart.yaml":       {Data: []byte("apiVersion: v2\nname: a\nversion: 1.0.0\n")},
		"chart/values.yaml":      {Data: []byte(values)},
		"chart/templates/a.yaml": {Data: []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n" + template)},
	}
}

// twice renders twice and returns contents and digests.
func twice(t *testing.T, tree fstest.MapFS) (contents, digests [2]string) {
	t.Helper()
	for i := range 2 {
		rendered, err := helm.Template(tree, helm.Params{Path: "chart", ReleaseName: "rel"})
		if err != nil {
			t.Fatal(err)
		}
		o, err := rendered[0].Object()
		if err != nil {
			t.Fatal(err)
		}
		if digests[i], err = o.Digest(); err != nil {
			t.Fatal(err)
		}
		contents[i] = string(rendered[0].Content)
	}
	return contents, digests
}

func TestDrawsAtRandomAreNoChange(t *testing.T) {
	for name, template := range map[string]string{
		"letters":                   `  a: {{ randAlphaNum 24 | b64enc }}`,
		"the password of a default": `  a: {{ .Values.password | default (randAlpha 20) | quote }}`,
		"digits":                    `  a: "{{ randNumeric 20 }}"`,
		"any character":             `  a: {{ randAscii 20 | b64enc }}`,
		"bytes":                     `  a: {{ randBytes 16 }}`,
		"a number":                  `  a: "{{ randInt 1 1000000000 }}"`,
		"an order":                  `  a: {{ shuffle "abcdefghijklmnopqrstuvwxyz" }}`,
		"an id":                     `  a: {{ uuidv4 }}`,
		"a salted hash":             `  a: {{ bcrypt "x" | quote }}`,
		"a line of htpasswd":        `  a: {{ htpasswd "user" "x" | quote }}`,
		"ciphertext":                `  a: {{ encryptAES "0123456789abcdef0123456789abcdef" "x" }}`,
		"a key":                     `  a: {{ genPrivateKey "ed25519" | b64enc }}`,
		"a certificate and its authority": `{{- $ca := genCA "ca" 365 }}{{- $c := genSignedCert "a" nil (list "a.b") 365 $ca }}
  ca: {{ $ca.Cert | b64enc }}
  cert: {{ $c.Cert | b64enc }}
  key: {{ $c.Key | b64enc }}`,
		"an authority built of another": `{{- $ca := genCA "ca" 365 }}{{- $b := buildCustomCert ($ca.Cert | b64enc) ($ca.Key | b64enc) }}
  a: {{ $b.Cert | b64enc }}`,
		"the clock":                           `  a: "{{ now.UnixNano }}"`,
		"what a template makes of a template": "  a: {{ tpl \"{{ randAlphaNum 24 }}\" . }}",
	} {
		t.Run(name, func(t *testing.T) {
			contents, digests := twice(t, templated("password: null", template+"\n"))
			if contents[0] == contents[1] {
				t.Fatal("both renders draw the same; this is no test")
			}
			if digests[0] != digests[1] {
				t.Error("the digest is another")
			}
		})
	}
}

func TestWhatTheSourceSaysIsAChangeBesideADraw(t *testing.T) {
	for name, c := range map[string]struct{ template, before, after string }{
		"another value":         {`  a: {{ randAlphaNum 24 }}{{ "\n" }}  b: {{ .Values.b }}`, "b: one", "b: two"},
		"another length":        {`  a: {{ randAlphaNum (int .Values.size) }}`, "size: 8", "size: 9"},
		"another word to hash":  {`  a: {{ htpasswd "user" .Values.p | quote }}`, "p: one", "p: two"},
		"another name":          {`  a: {{ (genCA .Values.cn 365).Cert | b64enc }}`, "cn: one", "cn: two"},
		"a password at last":    {`  a: {{ .Values.p | default (randAlphaNum 24) }}`, "p: ", "p: mine"},
		"a password instead of": {`  a: {{ .Values.p | default (randAlphaNum 24) }}`, "p: mine", "p: yours"},
	} {
		t.Run(name, func(t *testing.T) {
			_, before := twice(t, templated(c.before, c.template+"\n"))
			_, after := twice(t, templated(c.after, c.template+"\n"))
			if before[0] == after[0] {
				t.Error("the digest stays")
			}
		})
	}
}

func TestKeysAndValuesComeInOrder(t *testing.T) {
	tree := templated("m: {c: 3, a: 1, e: 5, b: 2, d: 4}", "  a: {{ keys .Values.m | join \"\" }}{{ values .Values.m | join \"\" }}\n")
	for range 10 {
		contents, _ := twice(t, tree)
		const want = `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"stringData":{"a":"abcde12345"}}`
		if contents[0] != want || contents[1] != want {
			t.Fatalf("content is %s, want %s", contents[0], want)
		}
	}
}

func TestTimeZonesAreKnown(t *testing.T) {
	contents, _ := twice(t, templated("", `  a: {{ dateInZone "15:04" 0 "Asia/Seoul" | quote }}{{ "\n" }}  b: {{ dateInZone "15:04" 0 "Nowhere/Atall" | quote }}`+"\n"))
	const want = `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"stringData":{"a":"09:00","b":"00:00"}}`
	if contents[0] != want {
		t.Errorf("content is %s, want %s", contents[0], want)
	}
}

// TestDrawsThatCannotStandStillAreAllowed renders a chart that cannot do without a
// real certificate.
func TestDrawsThatCannotStandStillAreAllowed(t *testing.T) {
	contents, digests := twice(t, templated("", `  a: {{ decryptAES "0123456789abcdef0123456789abcdef" (encryptAES "0123456789abcdef0123456789abcdef" (uuidv4)) }}`+"\n"))
	if contents[0] == contents[1] || digests[0] == digests[1] {
		t.Error("want another content with another digest")
	}
}
