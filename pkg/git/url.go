package git

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// URL is a repository that Plumb may contact. Only ParseURL makes one; the zero
// value is refused by every method of Store.
type URL struct {
	scheme string // https, http or ssh
	user   string // ssh only
	host   string // lower case, with the port where one was given
	path   string // as given, decoded, with its leading slash
	repo   string
}

// ParseURL reads an https or ssh URL (also user@host:path), or an http URL whose
// host, on any port, is in insecureHosts; a loopback host must be in there too.
// Everything else is a permanent fault with reason SourceRefused. The message
// never repeats the URL, which may carry a credential.
func ParseURL(s string, insecureHosts []string) (URL, error) {
	repo, err := event.RepoName(s)
	if err != nil {
		return URL{}, fault.Refuse(fault.SourceRefused, fault.Place{}, "%w", err)
	}
	u, err := split(s)
	if err != nil {
		return URL{}, err
	}
	u.repo = repo
	if err := u.checkHost(insecureHosts); err != nil {
		return URL{}, err
	}
	return u, nil
}

func split(s string) (URL, error) {
	if !strings.Contains(s, "://") {
		return splitShort(s)
	}
	p, err := url.Parse(s)
	if err != nil {
		return URL{}, refuseURL("it does not parse") // url.Error repeats the URL
	}
	u := URL{scheme: strings.ToLower(p.Scheme), host: strings.ToLower(p.Host), path: strings.TrimRight(p.Path, "/")}
	if p.User == nil {
		return u, nil
	}
	if _, password := p.User.Password(); password || u.scheme != "ssh" {
		return URL{}, refuseURL("it carries a credential; put that into the Secret of secretRef")
	}
	u.user = p.User.Username()
	return u, checkUser(u.user)
}

// splitShort reads [user@]host:path, which event.RepoName has found well formed.
func splitShort(s string) (URL, error) {
	before, path, _ := strings.Cut(s, ":")
	u := URL{scheme: "ssh", host: strings.ToLower(before), path: "/" + strings.Trim(path, "/")}
	if at := strings.LastIndexByte(before, '@'); at >= 0 {
		u.user, u.host = before[:at], strings.ToLower(before[at+1:])
		return u, checkUser(u.user)
	}
	return u, nil
}

func checkUser(user string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	if user == "" || user[0] == '-' || strings.ContainsFunc(user, func(r rune) bool { return !plain(r) }) {
		return refuseURL("its user is empty, begins with a dash or holds other than letters, digits, dots, dashes and underscores")
	}
	return nil
}

// checkHost keeps plain http and loopback to the hosts that the configuration
// lists, and link-local addresses (cloud metadata) out altogether.
func (u URL) checkHost(insecureHosts []string) error {
	name := u.hostname()
	listed := slices.ContainsFunc(insecureHosts, func(h string) bool { return strings.EqualFold(strings.Trim(h, "[]"), name) })
	addr, err := netip.ParseAddr(name)
	literal := err == nil
	switch {
	case literal && egress.Forbidden(addr):
		return refuseURL("its host is a link-local or unspecified address")
	case listed:
		return nil
	case u.scheme == "http":
		return refuseURL("plain http is only for the hosts in git.insecureHosts")
	case literal && addr.Unmap().IsLoopback(), name == "localhost", strings.HasSuffix(name, ".localhost"):
		return refuseURL("its host is this machine; only hosts in git.insecureHosts may be")
	}
	return nil
}

func refuseURL(why string) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{}, "read repository URL: %s", why)
}

// hostname is the host without port and brackets.
func (u URL) hostname() string { return (&url.URL{Host: u.host}).Hostname() }

// Repo is the canonical name of the repository: lower-cased host[:port]/path
// without scheme, user, default port or ".git".
func (u URL) Repo() string { return u.repo }

// Known is Repo, or the name that git.aliases gives the repository instead.
func (u URL) Known(aliases map[string]string) string {
	if name, ok := aliases[u.repo]; ok {
		return name
	}
	return u.repo
}

// String is the URL to fetch from. It holds no credential.
func (u URL) String() string {
	out := url.URL{Scheme: u.scheme, Host: u.host, Path: u.path}
	if u.user != "" {
		out.User = url.User(u.user)
	}
	return out.String()
}
