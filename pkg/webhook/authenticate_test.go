package webhook_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/webhook"
)

const (
	secret = "It's a Secret to Everybody"
	text   = "Hello, World!"
	// signature is what GitHub's documentation gives for secret and text
	// (docs.github.com, "Validating webhook deliveries", testing).
	signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

	// The example of the Standard Webhooks specification.
	signingToken = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	signedText   = `{"test": 2432232314}`
	signedID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	signedAt     = "1614265330"
	signedAs     = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var signedTime = time.Unix(1614265330, 0)

func mac(h func() hash.Hash, key, body string) string {
	m := hmac.New(h, []byte(key))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

// headers is a short way to write a request's headers.
type headers map[string]string

func (hs headers) request(path, body string) webhook.Request {
	q := webhook.Request{Header: http.Header{}, PathSecret: path, Body: []byte(body), Received: signedTime}
	for name, value := range hs {
		q.Header.Set(name, value)
	}
	return q
}

func signed(id, at, as string) headers {
	return headers{"Webhook-Id": id, "Webhook-Timestamp": at, "Webhook-Signature": as}
}

func TestAuthenticate(t *testing.T) {
	sha1Of, emptyKey := mac(sha1.New, secret, text), mac(sha256.New, "", text)
	for what, c := range map[string]struct {
		provider string
		with     headers
		path     string
		body     string // default text
		secrets  string // one a line, default secret
		want     bool
	}{
		"GitHub: right":                         {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + signature}, want: true},
		"GitHub: capital hex":                   {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + strings.ToUpper(signature)}, want: true},
		"GitHub: no signature":                  {provider: "github"},
		"GitHub: another body":                  {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + signature}, body: text + " "},
		"GitHub: SHA-1 only":                    {provider: "github", with: headers{"X-Hub-Signature": "sha1=" + sha1Of}},
		"GitHub: SHA-1 in the place of SHA-256": {provider: "github", with: headers{"X-Hub-Signature-256": "sha1=" + sha1Of}},
		"GitHub: SHA-1 called SHA-256":          {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + sha1Of}},
		"GitHub: no prefix":                     {provider: "github", with: headers{"X-Hub-Signature-256": signature}},
		"GitHub: cut":                           {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + signature[:62]}},
		"GitHub: nothing after the prefix":      {provider: "github", with: headers{"X-Hub-Signature-256": "sha256="}},
		"GitHub: no hex":                        {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + strings.Repeat("z", 64)}},
		"GitHub: the secret as token":           {provider: "github", with: headers{"X-Gitlab-Token": secret, "Authorization": secret}, path: secret},
		"GitHub: signed with an empty secret":   {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + emptyKey}},
		"an empty secret matches nothing":       {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + emptyKey}, secrets: "\n"},
		"the new one of two secrets":            {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + signature}, secrets: secret + "\nolder", want: true},
		"the old one of two secrets":            {provider: "github", with: headers{"X-Hub-Signature-256": "sha256=" + signature}, secrets: "newer\n" + secret, want: true},
		"GHCR: right":                           {provider: "ghcr", with: headers{"X-Hub-Signature-256": "sha256=" + signature}, want: true},
		"GHCR: wrong":                           {provider: "ghcr", with: headers{"X-Hub-Signature-256": "sha256=" + emptyKey}},
		"Bitbucket: right":                      {provider: "bitbucket", with: headers{"X-Hub-Signature": "sha256=" + signature}, want: true},
		"Bitbucket: SHA-1":                      {provider: "bitbucket", with: headers{"X-Hub-Signature": "sha1=" + sha1Of}},
		"Bitbucket: no signature":               {provider: "bitbucket"},
		"Bitbucket Server: right":               {provider: "bitbucket-server", with: headers{"X-Hub-Signature": "sha256=" + signature}, want: true},
		"Bitbucket Server: wrong":               {provider: "bitbucket-server", with: headers{"X-Hub-Signature": "sha256=" + emptyKey}},
		"Gitea: right":                          {provider: "gitea", with: headers{"X-Gitea-Signature": signature}, want: true},
		"Gitea: as Forgejo":                     {provider: "gitea", with: headers{"X-Forgejo-Signature": signature}, want: true},
		"Gitea: as Gogs":                        {provider: "gitea", with: headers{"X-Gogs-Signature": signature}, want: true},
		"Gitea: wrong":                          {provider: "gitea", with: headers{"X-Gitea-Signature": emptyKey}},
		"Gitea: a wrong one before a right one": {provider: "gitea", with: headers{"X-Gitea-Signature": emptyKey, "X-Gogs-Signature": signature}},
		"generic: right":                        {provider: "generic", with: headers{"X-Signature-256": "sha256=" + signature}, want: true},
		"generic: wrong":                        {provider: "generic", with: headers{"X-Signature-256": "sha256=" + emptyKey}},
		"generic: the header of GitHub":         {provider: "generic", with: headers{"X-Hub-Signature-256": "sha256=" + signature}},

		"GitLab: token":                                         {provider: "gitlab", with: headers{"X-Gitlab-Token": secret}, want: true},
		"GitLab: part of the token":                             {provider: "gitlab", with: headers{"X-Gitlab-Token": secret[:10]}},
		"GitLab: no token":                                      {provider: "gitlab"},
		"GitLab: empty token and empty secret":                  {provider: "gitlab", with: headers{"X-Gitlab-Token": ""}, secrets: "\n"},
		"GitLab: signed":                                        {provider: "gitlab", with: signed(signedID, signedAt, signedAs), body: signedText, secrets: signingToken, want: true},
		"GitLab: signed, several signatures":                    {provider: "gitlab", with: signed(signedID, signedAt, "v2,x v1,AAAA "+signedAs), body: signedText, secrets: signingToken, want: true},
		"GitLab: signed, another body":                          {provider: "gitlab", with: signed(signedID, signedAt, signedAs), body: signedText + " ", secrets: signingToken},
		"GitLab: signed, another id":                            {provider: "gitlab", with: signed("msg_other", signedAt, signedAs), body: signedText, secrets: signingToken},
		"GitLab: signed, another time":                          {provider: "gitlab", with: signed(signedID, "1614265331", signedAs), body: signedText, secrets: signingToken},
		"GitLab: signed, another version":                       {provider: "gitlab", with: signed(signedID, signedAt, strings.Replace(signedAs, "v1", "v2", 1)), body: signedText, secrets: signingToken},
		"GitLab: signed with no signing token":                  {provider: "gitlab", with: signed(signedID, signedAt, unkeyed(signedID, signedAt, signedText)), body: signedText, secrets: "whsec_"},
		"GitLab: signed with a secret that is no signing token": {provider: "gitlab", with: signed(signedID, signedAt, unkeyed(signedID, signedAt, signedText)), body: signedText, secrets: "plain"},

		"Docker Hub: secret in the path":  {provider: "dockerhub", path: secret, want: true},
		"Docker Hub: another path":        {provider: "dockerhub", path: secret + "x"},
		"Docker Hub: no path":             {provider: "dockerhub"},
		"Docker Hub: empty secret":        {provider: "dockerhub", secrets: "\n"},
		"Docker Hub: secret elsewhere":    {provider: "dockerhub", with: headers{"Authorization": secret}},
		"Quay: secret in the path":        {provider: "quay", path: secret, want: true},
		"Quay: another path":              {provider: "quay", path: "x"},
		"Harbor: header":                  {provider: "harbor", with: headers{"Authorization": secret}, want: true},
		"Harbor: bearer":                  {provider: "harbor", with: headers{"Authorization": "Bearer " + secret}, want: true},
		"Harbor: wrong":                   {provider: "harbor", with: headers{"Authorization": "Bearer x"}},
		"Harbor: empty bearer":            {provider: "harbor", with: headers{"Authorization": "Bearer "}, secrets: "\n"},
		"Harbor: no header":               {provider: "harbor"},
		"Distribution: bearer":            {provider: "distribution", with: headers{"Authorization": "Bearer " + secret}, want: true},
		"Distribution: basic, kept whole": {provider: "distribution", with: headers{"Authorization": "Basic dTpw"}, secrets: "Basic dTpw", want: true},
		"Distribution: no header":         {provider: "distribution"},
	} {
		t.Run(what, func(t *testing.T) {
			body, lines := c.body, c.secrets
			if body == "" {
				body = text
			}
			if lines == "" {
				lines = secret
			}
			var secrets [][]byte
			for line := range strings.SplitSeq(lines, "\n") {
				secrets = append(secrets, []byte(line))
			}
			if got := provider(t, c.provider).Authenticate(c.with.request(c.path, body), secrets); got != c.want {
				t.Errorf("authentic: %t, want %t", got, c.want)
			}
		})
	}
}

// unkeyed signs with an empty key, as a receiver would compute it that takes
// the missing key of a malformed signing token for one.
func unkeyed(id, at, body string) string {
	sum, _ := hex.DecodeString(mac(sha256.New, "", id+"."+at+"."+body))
	return "v1," + base64.StdEncoding.EncodeToString(sum)
}

func TestSignaturesOfGitLabExpire(t *testing.T) {
	for late, want := range map[time.Duration]bool{0: true, 5 * time.Minute: true, -5 * time.Minute: true, 301 * time.Second: false, -301 * time.Second: false, 1000 * time.Hour: false} {
		q := signed(signedID, signedAt, signedAs).request("", signedText)
		q.Received = signedTime.Add(late)
		if got := provider(t, "gitlab").Authenticate(q, [][]byte{[]byte(signingToken)}); got != want {
			t.Errorf("%s after the signature: authentic %t, want %t", late, got, want)
		}
	}
}

func TestNoProviderTakesARequestWithoutProof(t *testing.T) {
	for _, p := range webhook.Providers() {
		for what, secrets := range map[string][][]byte{"no secrets": nil, "an empty secret": {{}}, "a secret": {[]byte(secret)}} {
			if p.Authenticate(headers{}.request("", text), secrets) {
				t.Errorf("%s with %s takes a request that proves nothing", p.Name(), what)
			}
		}
	}
}
