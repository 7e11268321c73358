package checks

import (
	"context"
	"net/url"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// host is where and how to ask.
type host struct {
	kind
	provider string
	base     *url.URL // of the API
	repo     string   // owner/name, as the URL has it
}

// kind is one way to ask.
type kind struct {
	api     string // its path on the host of the repository
	headers func(Token) map[string]string
	ask     func(context.Context, *asking, string) error
}

// kindOf finds one by its name in spec.sync.checks.provider.
func kindOf(provider string) (kind, bool) {
	switch provider {
	case "github":
		return kind{"/api/v3", githubHeaders, github}, true // of GitHub Enterprise Server
	case "gitlab":
		return kind{"/api/v4", bearerHeaders, gitlab}, true
	case "gitea":
		return kind{"/api/v1", giteaHeaders, gitea}, true
	}
	return kind{}, false
}

// known are hosts that are what they are whatever their name.
var known = map[string]string{"github.com": "github", "gitlab.com": "gitlab", "codeberg.org": "gitea", "gitea.com": "gitea"}

// hostOf finds the API of a repository's host.
func hostOf(q Query) (host, error) {
	u, err := repository(q.Repo)
	if err != nil {
		return host{}, err
	}
	h := host{provider: q.Provider, base: u, repo: strings.Trim(strings.TrimSuffix(strings.TrimRight(u.Path, "/"), ".git"), "/")}
	if h.provider == "" {
		h.provider = guess(u.Hostname())
	}
	var ok bool
	if h.kind, ok = kindOf(h.provider); !ok {
		return h, fault.Refuse(fault.SourceRefused, fault.Place{Field: "spec.sync.checks.provider"},
			"read checks: host %s does not tell what it is; say github, gitlab or gitea", u.Host)
	}
	if strings.Count(h.repo, "/") < 1 || h.provider != "gitlab" && strings.Count(h.repo, "/") > 1 {
		return h, fault.Refuse(fault.SourceRefused, fault.Place{Field: "spec.source.repo"}, "read checks: the URL has no owner and name of a repository on %s", u.Host)
	}
	u.Path = h.api
	if h.provider == "github" && (u.Hostname() == "github.com" || u.Hostname() == "www.github.com") {
		u.Host, u.Path = "api.github.com", ""
	}
	return h, nil
}

// repository reads what git clones; over ssh the API is that of the same host.
func repository(repo string) (*url.URL, error) {
	refused := fault.Refuse(fault.SourceRefused, fault.Place{Field: "spec.source.repo"}, "read checks: only repositories of https and ssh URLs have commit statuses")
	if !strings.Contains(repo, "://") {
		before, path, short := strings.Cut(repo, ":")
		if !short {
			return nil, refused
		}
		repo = "ssh://" + before + "/" + strings.TrimLeft(path, "/")
	}
	u, err := url.Parse(repo)
	if err != nil || u.Hostname() == "" {
		return nil, refused
	}
	switch u.Scheme {
	case "ssh":
		host := hostname(u)
		if web, is := webOf[host]; is {
			host = web
		}
		return &url.URL{Scheme: "https", Host: host, Path: u.Path}, nil
	case "https", "http":
		return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: u.Path}, nil
	}
	return nil, refused
}

// webOf are hosts for ssh on the port of https, and what they belong to.
var webOf = map[string]string{"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}

// hostname is the host without its port, in brackets where it has to be.
func hostname(u *url.URL) string {
	name := strings.ToLower(u.Hostname())
	if strings.Contains(name, ":") {
		return "[" + name + "]"
	}
	return name
}

// guess tells the kind of a host by its name; empty when that says nothing.
func guess(name string) string {
	if provider, is := known[strings.TrimPrefix(name, "www.")]; is {
		return provider
	}
	for _, provider := range []string{"github", "gitlab", "gitea"} {
		if strings.Contains(name, provider) {
			return provider
		}
	}
	if strings.Contains(name, "forgejo") {
		return "gitea"
	}
	return ""
}

// escaped is owner/name as two segments of a path.
func (h host) escaped() string {
	segments := strings.Split(h.repo, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}
