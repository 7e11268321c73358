package oci

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Credential is what a fetch shows to a registry or to a Helm repository. The zero
// value is nothing: an anonymous fetch. It never prints its content, in whatever it
// is embedded.
type Credential struct {
	secret *secret // a pointer, since fmt looks through unexported values
}

// secret is one login for any host, or several by host and path.
type secret struct {
	any    login
	logins map[string]login // host[:port][/path] of a docker configuration
}

type login struct{ username, password, identity, bearer string }

// Basic is a user name and a password or token. Line ends around either, which
// creep into Secrets made from files, are cut off. Two empty ones are no credential.
func Basic(username, password string) Credential {
	return single(login{username: trimLine(username), password: trimLine(password)})
}

// Bearer is a token that is sent as it is; an empty one is no credential.
func Bearer(token string) Credential { return single(login{bearer: trimLine(token)}) }

// Identity is a token that a registry's token server takes in exchange for one of
// its own, as docker login keeps it; an empty one is no credential.
func Identity(token string) Credential { return single(login{identity: trimLine(token)}) }

func single(l login) Credential {
	if l == (login{}) {
		return Credential{}
	}
	return Credential{&secret{any: l}}
}

func trimLine(s string) string { return strings.Trim(s, "\r\n") }

// String names the kind of credential.
func (c Credential) String() string {
	switch {
	case c.secret == nil:
		return "no credential"
	case c.secret.logins != nil:
		return "docker configuration"
	}
	return c.secret.any.kind()
}

func (l login) kind() string {
	switch {
	case l.bearer != "":
		return "bearer token"
	case l.identity != "":
		return "identity token"
	case l != login{}:
		return "user name and password"
	}
	return "no credential"
}

// GoString is String.
func (c Credential) GoString() string { return c.String() }

// MarshalText is String, so that no encoder writes the secret.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// For is what an Authorization header to u says; empty when there is nothing to
// say to that host. Whoever sends it is in charge of where it goes.
func (c Credential) For(u *url.URL) string {
	l := c.login(u.Host, strings.Trim(u.Path, "/"))
	switch {
	case l.bearer != "":
		return "Bearer " + l.bearer
	case l.username != "" || l.password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.username+":"+l.password))
	}
	return ""
}

// Key tells credentials apart without telling what they are: callers with
// different ones never share an answer.
func (c Credential) Key() string {
	if c.secret == nil {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", c.secret.any.fields(), c.secret.fields()))
	return string(sum[:])
}

func (l login) fields() []string { return []string{l.username, l.password, l.identity, l.bearer} }

func (s *secret) fields() map[string][]string { // fmt prints maps by sorted keys
	all := map[string][]string{}
	for prefix, l := range s.logins {
		all[prefix] = l.fields()
	}
	return all
}

// login is the one for a repository of a host.
func (c Credential) login(host, repository string) login {
	switch {
	case c.secret == nil:
		return login{}
	case c.secret.logins == nil:
		return c.secret.any
	}
	return c.secret.find(host, repository)
}

func (l login) authenticator() authn.Authenticator {
	return authn.FromConfig(authn.AuthConfig{
		Username: l.username, Password: l.password, IdentityToken: l.identity, RegistryToken: l.bearer,
	})
}
