package git

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport/http"
)

// Credential is what a fetch shows to the server. The zero value is nothing: an
// anonymous fetch. It never prints its content, in whatever it is embedded.
type Credential struct {
	secret *secret // a pointer, since fmt looks through unexported values
}

// secret is one kind of credential: user name and password, a token, a key for
// ssh, or a GitHub App, which is changed for a token before anything is sent.
type secret struct {
	username, password, bearer string
	key                        *sshKey
	app                        *App
	minted                     bool // the password is a token that a GitHub App got
}

// Basic is a user name and a password or token. Line ends around either, which
// creep into Secrets made from files, are cut off. Two empty ones are no credential.
func Basic(username, password string) Credential {
	return credential(secret{username: trimLine(username), password: trimLine(password)})
}

// Bearer is a token sent as "Authorization: Bearer"; an empty one is no credential.
func Bearer(token string) Credential { return credential(secret{bearer: trimLine(token)}) }

func credential(s secret) Credential {
	if s == (secret{}) {
		return Credential{}
	}
	return Credential{&s}
}

func trimLine(s string) string { return strings.Trim(s, "\r\n") }

// String names the kind of credential.
func (c Credential) String() string {
	switch {
	case c.secret == nil:
		return "no credential"
	case c.secret.key != nil:
		return "SSH key"
	case c.secret.app != nil:
		return "GitHub App"
	case c.secret.minted:
		return "token of the GitHub App"
	case c.secret.bearer != "":
		return "bearer token"
	default:
		return "user name and password"
	}
}

// GoString is String.
func (c Credential) GoString() string { return c.String() }

// MarshalText is String, so that no encoder writes the secret.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// sshKey is nil unless the credential is one for ssh.
func (c Credential) sshKey() *sshKey {
	if c.secret == nil {
		return nil
	}
	return c.secret.key
}

// app is nil unless the credential is a GitHub App.
func (c Credential) app() *App {
	if c.secret == nil {
		return nil
	}
	return c.secret.app
}

// auth is the credential as go-git wants it for http; nil when there is none.
func (c Credential) auth() http.AuthMethod {
	switch {
	case c.secret == nil:
		return nil
	case c.secret.bearer != "":
		return &http.TokenAuth{Token: c.secret.bearer}
	default:
		return &http.BasicAuth{Username: c.secret.username, Password: c.secret.password}
	}
}

// Key tells credentials apart without telling what they are: callers with different ones
// never share a fetch.
func (c Credential) Key() string {
	if c.secret == nil {
		return ""
	}
	parts := []string{c.secret.username, c.secret.password, c.secret.bearer}
	if k := c.secret.key; k != nil {
		parts = append(parts, "ssh", k.user, string(k.private), string(k.passphrase), k.hosts.text)
	}
	if a := c.secret.app; a != nil {
		parts = append(parts, "app", a.ID, a.InstallationID, string(a.PrivateKey), a.API.String())
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return string(sum[:])
}

// scrub takes the credential, in every form it is sent in, out of a text that a
// server or a library made.
func (c Credential) scrub(text string) string {
	if c.secret == nil {
		return text
	}
	pair := base64.StdEncoding.EncodeToString([]byte(c.secret.username + ":" + c.secret.password))
	for _, s := range []string{pair, c.secret.password, c.secret.bearer} {
		if s != "" {
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	return text
}
