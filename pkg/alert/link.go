package alert

import (
	"net/url"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/event"
)

// repoName is the canonical name of a repository; empty when it has none. It
// carries no credentials.
func repoName(repo string) string {
	name, err := event.RepoName(repo)
	if err != nil {
		return ""
	}
	return line(name, maxText)
}

// commitURL is the page of a commit on the repository's host; empty when the
// revision is no full SHA or the page would not be on https. Hosts are told
// apart by their name, Bitbucket Server by its clone path; GitHub, Gitea and
// Forgejo share a form, which others are likely to have, too.
func commitURL(repo, revision string) string {
	name, err := event.RepoName(repo)
	if err != nil || !fullSHA(revision) || !onHTTPS(repo, name) {
		return ""
	}
	host, _, _ := strings.Cut(name, "/")
	path := pathOf(repo, name)
	switch project, inServer := strings.CutPrefix(path, "scm/"); {
	case inServer && strings.Count(project, "/") == 1:
		owner, slug, _ := strings.Cut(project, "/")
		path = "projects/" + owner + "/repos/" + slug + "/commits/" + revision
	case host == "bitbucket.org":
		path += "/commits/" + revision
	case strings.Contains(host, "gitlab"):
		path += "/-/commit/" + revision
	default:
		path += "/commit/" + revision
	}
	u := url.URL{Scheme: "https", Host: host, Path: "/" + path}
	return u.String()
}

// onHTTPS says whether the repository's page may be on https: over SSH it is
// where the host is that of a page, and a port is not.
func onHTTPS(repo, name string) bool {
	host, _, _ := strings.Cut(name, "/")
	scheme, _, isURL := strings.Cut(strings.ToLower(repo), "://")
	return isURL && scheme == "https" || (!isURL || scheme == "ssh") && !strings.Contains(host, ":")
}

// pathOf is the repository's path as it was written: names of some hosts differ
// by case.
func pathOf(repo, name string) string {
	_, lower, _ := strings.Cut(name, "/")
	if u, err := url.Parse(repo); err == nil && u.Path != "" {
		repo = u.Path
	}
	if at := strings.LastIndex(strings.ToLower(repo), lower); at >= 0 {
		return repo[at : at+len(lower)]
	}
	return lower
}

func fullSHA(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}
