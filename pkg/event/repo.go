package event

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxRepoURL bounds the URLs that RepoName looks at.
const maxRepoURL = 2048

// defaultPorts are the schemes that name a repository and the port each leaves out.
var defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22"}

// RepoName is the canonical name of the repository that a clone URL points to:
// lower-cased host[:port]/path without scheme, user, default port or ".git".
// It reads https, http and ssh URLs and the short form user@host:path.
//
// The name is for matching and for subjects; it is never fetched from. An error
// says what is wrong and never repeats the URL, which may carry a credential.
func RepoName(rawURL string) (string, error) {
	switch {
	case rawURL == "":
		return "", errors.New("read repository URL: it is empty")
	case len(rawURL) > maxRepoURL:
		return "", errors.New("read repository URL: it is longer than 2048 bytes")
	case strings.ContainsFunc(rawURL, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return "", errors.New("read repository URL: it holds a control character or a backslash")
	}
	host, path, err := splitRepoURL(rawURL)
	if err != nil {
		return "", err
	}
	path, err = cleanRepoPath(path)
	if err != nil {
		return "", err
	}
	return strings.ToLower(host + "/" + path), nil
}

func splitRepoURL(rawURL string) (host, path string, err error) {
	if !strings.Contains(rawURL, "://") {
		return splitShortForm(rawURL)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", "", errors.New("read repository URL: it does not parse") // url.Error repeats the URL
	}
	port, known := defaultPorts[strings.ToLower(u.Scheme)]
	if !known || u.Opaque != "" {
		return "", "", errors.New("read repository URL: its scheme is none of https, http and ssh")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return "", "", errors.New("read repository URL: it has a query or a fragment")
	}
	host, err = cleanHost(u.Hostname())
	if err != nil {
		return "", "", err
	}
	if p := u.Port(); p != "" && p != port {
		number, err := strconv.ParseUint(p, 10, 16)
		if err != nil || number == 0 {
			return "", "", errors.New("read repository URL: its port is not between 1 and 65535")
		}
		if p = strconv.FormatUint(number, 10); p != port {
			host += ":" + p
		}
	}
	return host, u.Path, nil
}

// splitShortForm reads [user@]host:path as git does (git-fetch(1), GIT URLS):
// no slash may stand before the first colon.
func splitShortForm(rawURL string) (host, path string, err error) {
	host, path, found := strings.Cut(rawURL, ":")
	if !found || strings.Contains(host, "/") || strings.HasPrefix(path, ":") {
		return "", "", errors.New("read repository URL: it is neither a URL nor of the form user@host:path")
	}
	host = host[strings.LastIndexByte(host, '@')+1:]
	host, err = cleanHost(host)
	return host, path, err
}

func cleanHost(host string) (string, error) {
	host = strings.TrimSuffix(host, ".")
	if host == "" || host[0] == '-' || strings.ContainsFunc(host, notOfHost) {
		return "", errors.New("read repository URL: it has no usable host")
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]", nil
	}
	return host, nil
}

func notOfHost(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' || r == ':')
}

func cleanRepoPath(path string) (string, error) {
	path = strings.Trim(path, "/")
	if strings.HasSuffix(strings.ToLower(path), ".git") {
		path = path[:len(path)-len(".git")]
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || part[0] == '-' {
			return "", errors.New("read repository URL: its path is empty or has a segment that is empty, dots or begins with a dash")
		}
	}
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`%?#\`, r) }) {
		return "", errors.New("read repository URL: its path holds a character that no repository name has")
	}
	return path, nil
}
