package config

import (
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/event"
)

// Git says which hosts, credentials and repositories may be used, by whom.
type Git struct {
	InsecureHosts []string // hosts that may be spoken to over http, any port
	Credentials   []Credential
	Sources       []Source          // empty: every namespace may use every repo
	Aliases       map[string]string // another canonical name of a repo -> its own
}

// Credential is for every repository under a URL prefix. One way to
// authenticate is set: username and password, bearer token, SSH key with
// known_hosts, or GitHub App.
type Credential struct {
	Prefix          string
	UsernameFile    string
	PasswordFile    string
	BearerTokenFile string
	IdentityFile    string // private key, for ssh
	KnownHostsFile  string
	PassphraseFile  string // of IdentityFile, where it has one
	GitHubApp       GitHubApp
	Namespaces      []string // "*": all
}

// GitHubApp is an App as installed for an owner; the zero value is none.
type GitHubApp struct {
	ID             string
	InstallationID string
	PrivateKeyFile string
	API            string // base URL; empty: https://api.github.com
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
	longest := 0
	for _, c := range g.Credentials {
		if n := under(url, c.Prefix); n > longest && named(c.Namespaces, namespace) {
			best, longest = c, n
		}
	}
	return best, longest > 0
}

// Allows says whether Applications of the namespace may use url. The source
// with the longest prefix decides; without any source everything is allowed,
// with sources of which none fits, nothing.
func (g Git) Allows(url, namespace string) bool {
	if len(g.Sources) == 0 {
		return true
	}
	var best Source
	longest := 0
	for _, s := range g.Sources {
		if n := under(url, s.Prefix); n > longest {
			best, longest = s, n
		}
	}
	return named(best.Namespaces, namespace)
}

func named(namespaces []string, namespace string) bool {
	return slices.Contains(namespaces, "*") || slices.Contains(namespaces, namespace)
}

// under returns the length of prefix in its canonical form when it is one of
// url, else 0. Whole path segments are compared, so that no owner or host fits
// another whose name only begins alike, and without regard to case, user,
// default port and ".git", which lead to the same repository on many hosts.
func under(url, prefix string) int {
	u, p := canonical(url), canonical(prefix)
	rest, ok := strings.CutPrefix(u, p)
	if u == "" || p == "" || !ok || rest != "" && rest[0] != '/' {
		return 0
	}
	return len(p)
}

// canonical is scheme://host[:port]/path as event.RepoName writes it, also for a
// host alone; empty when it is no such URL.
func canonical(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	spoken := scheme
	if scheme == "oci" {
		spoken = "https" // RepoName knows the schemes of Git, and registries speak this one
	}
	// A segment more, as RepoName wants a path.
	name, err := event.RepoName(spoken + "://" + strings.TrimSuffix(strings.TrimRight(rest, "/"), ".git") + "/x")
	if !ok || err != nil {
		return ""
	}
	return scheme + "://" + strings.TrimSuffix(name, "/x")
}
