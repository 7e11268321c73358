package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// scheme is how a provider proves that it knows the secret.
type scheme struct {
	// key makes the HMAC key of the secret; nil: the secret itself.
	key func(secret []byte) []byte
	// before is signed in front of the body; nil: nothing.
	before func(Request) string
	// proves decides by the request, the secret and the HMAC of the body.
	proves func(q Request, secret, mac []byte) bool
}

// Authenticate reports whether the request proves knowledge of one of the
// secrets. An empty secret proves nothing. Every call computes one HMAC over
// the body for each secret, whatever the provider and whatever the request
// carries, so that time tells neither which secret matched nor how a hook is
// set up. SHA-1 is not accepted anywhere.
func (p Provider) Authenticate(q Request, secrets [][]byte) bool {
	authentic := false
	for _, secret := range secrets {
		proved := p.scheme.proves(q, secret, p.scheme.sign(q, secret))
		authentic = authentic || proved && len(secret) > 0
	}
	return authentic
}

func (s scheme) sign(q Request, secret []byte) []byte {
	key := secret
	if s.key != nil {
		key = s.key(secret)
	}
	mac := hmac.New(sha256.New, key)
	if s.before != nil {
		mac.Write([]byte(s.before(q)))
	}
	mac.Write(q.Body)
	return mac.Sum(nil)
}

// hmacHeader expects the hex HMAC-SHA256 of the body after prefix in the first
// of the headers that is there.
//
//   - GitHub: https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
//   - Bitbucket Cloud: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
//   - Bitbucket Server: https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
func hmacHeader(prefix string, names ...string) scheme {
	return scheme{proves: func(q Request, _, mac []byte) bool {
		for _, name := range names {
			if value := q.Header.Get(name); value != "" {
				signature, found := strings.CutPrefix(value, prefix)
				given, err := hex.DecodeString(signature)
				return found && err == nil && hmac.Equal(given, mac)
			}
		}
		return false
	}}
}

// giteaScheme is the bare hex HMAC-SHA256; Forgejo and Gogs send it under their own names too.
// https://docs.gitea.com/usage/webhooks
var giteaScheme = hmacHeader("", "X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature")

// pathScheme is for those that sign nothing and send no header: the secret is in the URL.
var pathScheme = scheme{proves: func(q Request, secret, _ []byte) bool {
	return same([]byte(q.PathSecret), secret)
}}

// authorizationScheme takes the Authorization header as it is configured at
// the registry, whole or after "Bearer ".
//
//   - Harbor ("Auth Header"): https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks
//   - Distribution (endpoints.headers): https://distribution.github.io/distribution/about/notifications/
var authorizationScheme = scheme{proves: func(q Request, secret, _ []byte) bool {
	given := []byte(q.Header.Get("Authorization"))
	whole := same(given, secret)
	bearer := same(given, append([]byte("Bearer "), secret...))
	return whole || bearer
}}

// gitlabScheme takes either the token header or the signature of GitLab's
// signing tokens, which follow Standard Webhooks: the secret is "whsec_" and
// the base64 of the key, the signature covers "<id>.<timestamp>.<body>".
// https://docs.gitlab.com/user/project/integrations/webhooks/ and
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
var gitlabScheme = scheme{
	key: signingKey,
	before: func(q Request) string {
		return q.Header.Get("Webhook-Id") + "." + q.Header.Get("Webhook-Timestamp") + "."
	},
	proves: func(q Request, secret, mac []byte) bool {
		token := same([]byte(q.Header.Get("X-Gitlab-Token")), secret)
		signed := signingPrefixed(secret) && fresh(q) && listed(q.Header.Get("Webhook-Signature"), mac)
		return token || signed
	},
}

const signingPrefix = "whsec_"

func signingPrefixed(secret []byte) bool { return len(signingKey(secret)) > 0 }

// signingKey is nil where the secret is no signing token.
func signingKey(secret []byte) []byte {
	encoded, found := bytes.CutPrefix(secret, []byte(signingPrefix))
	if !found {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(string(encoded))
	if err != nil {
		return nil
	}
	return key
}

// tolerance is what the reference libraries of Standard Webhooks allow.
const tolerance = 5 * time.Minute

func fresh(q Request) bool {
	seconds, err := strconv.ParseInt(q.Header.Get("Webhook-Timestamp"), 10, 64)
	if err != nil {
		return false
	}
	return q.Received.Sub(time.Unix(seconds, 0)).Abs() <= tolerance
}

// listed looks for the signature in a list of "v1,<base64>" parted by blanks.
func listed(signatures string, mac []byte) bool {
	found := false
	for _, entry := range strings.Fields(signatures) {
		encoded, isV1 := strings.CutPrefix(entry, "v1,")
		given, err := base64.StdEncoding.DecodeString(encoded)
		found = found || isV1 && err == nil && hmac.Equal(given, mac)
	}
	return found
}

// same compares in constant time, the lengths too.
func same(given, secret []byte) bool {
	a, b := sha256.Sum256(given), sha256.Sum256(secret)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
