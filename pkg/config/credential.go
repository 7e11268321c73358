package config

import (
	"fmt"
	"net/url"
	"strings"
)

func (c *Credential) fields() field {
	read := object(map[string]field{
		"prefix":          text(&c.Prefix, repositoryPrefix),
		"usernameFile":    text(&c.UsernameFile, existing),
		"passwordFile":    text(&c.PasswordFile, existing),
		"bearerTokenFile": text(&c.BearerTokenFile, existing),
		"identityFile":    text(&c.IdentityFile, existing),
		"knownHostsFile":  text(&c.KnownHostsFile, existing),
		"passphraseFile":  text(&c.PassphraseFile, existing),
		"githubApp":       c.GitHubApp.fields(),
		"namespaces":      texts(&c.Namespaces, namespace),
	}, "prefix", "namespaces")
	return func(r *reader, at place) {
		before := len(r.problems)
		read(r, at)
		if len(r.problems) == before {
			c.checkKind(r, at)
		}
	}
}

func (g *GitHubApp) fields() field {
	return object(map[string]field{
		"id":             identifier(&g.ID),
		"installationId": identifier(&g.InstallationID),
		"privateKeyFile": text(&g.PrivateKeyFile, filled, existing),
		"api":            text(&g.API, apiURL),
	}, "id", "installationId", "privateKeyFile")
}

// identifier reads what GitHub gives as a number and people write with or without
// quotes. The id of an App may be its client id instead.
func identifier(to *string) field {
	return func(r *reader, at place) {
		value, ok := r.scalar(at, "a number", "")
		if !ok {
			return
		}
		letter := func(c rune) bool {
			return !strings.ContainsRune(".-_", c) && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
		}
		if value == "" || strings.ContainsFunc(value, letter) {
			r.refuse(at, "%q is no id; give the number that GitHub shows", value)
			return
		}
		*to = value
	}
}

// apiURL is told without its value, which may carry a credential.
func apiURL(_ *reader, value string) error {
	u, err := url.Parse(value)
	switch {
	case err == nil && u.User != nil:
		return fmt.Errorf("carries a credential; remove it")
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return fmt.Errorf("is not the base URL of an API; write it as in https://github.example.com/api/v3")
	}
	return nil
}

// way is one kind of credential, by the keys that it takes together.
type way struct {
	keys   []string
	given  []string // of keys and optional ones
	scheme string   // of the URLs that it is for; http stands for https too
}

func (c *Credential) ways() []way {
	all := []way{
		{keys: []string{"usernameFile", "passwordFile"}, scheme: "http"},
		{keys: []string{"bearerTokenFile"}, scheme: "http"},
		{keys: []string{"identityFile", "knownHostsFile"}, scheme: "ssh"},
		{keys: []string{"githubApp"}, scheme: "http"},
	}
	set := func(i int, key, value string) {
		if value != "" {
			all[i].given = append(all[i].given, key)
		}
	}
	set(0, "usernameFile", c.UsernameFile)
	set(0, "passwordFile", c.PasswordFile)
	set(1, "bearerTokenFile", c.BearerTokenFile)
	set(2, "identityFile", c.IdentityFile)
	set(2, "knownHostsFile", c.KnownHostsFile)
	set(2, "passphraseFile", c.PassphraseFile)
	set(3, "githubApp", c.GitHubApp.ID)
	return all
}

// checkKind refuses a credential that is none, half or two, and one that the URLs
// under its prefix cannot use.
func (c *Credential) checkKind(r *reader, at place) {
	var found []way
	var choices []string
	for _, w := range c.ways() {
		choices = append(choices, strings.Join(w.keys, " and "))
		if len(w.given) > 0 {
			found = append(found, w)
		}
	}
	switch len(found) {
	case 0:
		r.refuse(at, "has no credential; give one of %s", strings.Join(choices, "; "))
		return
	case 1:
	default:
		r.refuse(at, "has two kinds of credential, %s and %s; keep one", found[0].given[0], found[1].given[0])
		return
	}
	found[0].check(r, at, c.Prefix)
}

func (w way) check(r *reader, at place, prefix string) {
	for _, key := range w.keys {
		if !strings.Contains(" "+strings.Join(w.given, " ")+" ", " "+key+" ") {
			r.refuse(place{at.node, join(at.key, key)}, "is missing; %s needs it", w.given[0])
			return
		}
	}
	ssh := strings.HasPrefix(strings.ToLower(prefix), "ssh:")
	switch {
	case ssh && w.scheme != "ssh":
		r.refuse(r.seen(join(at.key, "prefix")), "is an ssh URL, which %s cannot be used for; give identityFile and knownHostsFile, or an https prefix", w.given[0])
	case !ssh && w.scheme == "ssh":
		r.refuse(r.seen(join(at.key, "prefix")), "is no ssh URL, which alone identityFile can be used for; write it as in ssh://git@github.com/acme")
	}
}
