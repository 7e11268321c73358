package config

import (
	"slices"
	"strings"
)

// Git says which hosts, credentials and repositories may be used, by whom.
type Git struct {
	InsecureHosts []string // hosts that may be spoken to over http, any port
	Credentials   []Credential
	Sources       []Source          // empty: every namespace may use every repo
	Aliases       map[string]string // another canonical name of a repo -> its own
}

// Credential is for every repository under a URL prefix. One way to
// authenticate is set: username and password, bearer token, or SSH identity.
type Credential struct {
	Prefix          string
	UsernameFile    string
	PasswordFile    string
	BearerTokenFile string
	IdentityFile    string // private SSH key
	KnownHostsFile  string
	Namespaces      []string // "*": all
}

// Source says which namespaces may use the repositories under a URL prefix.
type Source struct {
	Prefix     string
	Namespaces []string // "*": all
}

// Credential returns the one with the longest prefix of url among those that
// Applications of the namespace may use.
func (g Git) Credential(url, namespace string) (Credential, bool) {
	var best Credential
	for _, c := range g.Credentials {
		if len(c.Prefix) > len(best.Prefix) && under(url, c.Prefix) && named(c.Namespaces, namespace) {
			best = c
		}
	}
	return best, best.Prefix != ""
}

// Allows says whether Applications of the namespace may use url. The source
// with the longest prefix decides; without any source everything is allowed,
// with sources of which none fits, nothing.
func (g Git) Allows(url, namespace string) bool {
	if len(g.Sources) == 0 {
		return true
	}
	var best Source
	for _, s := range g.Sources {
		if len(s.Prefix) > len(best.Prefix) && under(url, s.Prefix) {
			best = s
		}
	}
	return named(best.Namespaces, namespace)
}

// Canonical returns a repository's own name where the given one is an alias.
func (g Git) Canonical(repo string) string {
	if own, ok := g.Aliases[repo]; ok {
		return own
	}
	return repo
}

func named(namespaces []string, namespace string) bool {
	return slices.Contains(namespaces, "*") || slices.Contains(namespaces, namespace)
}

// under compares whole path segments, so that a prefix of one owner or host
// never fits another whose name only begins alike.
func under(url, prefix string) bool {
	prefix = strings.TrimRight(prefix, "/")
	rest, ok := strings.CutPrefix(url, prefix)
	return ok && (rest == "" || rest[0] == '/')
}
