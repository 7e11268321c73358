package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Providers are the kinds of webhook, Git hosts first, then registries.
var Providers = []string{
	"github", "gitlab", "gitea", "bitbucket", "bitbucket-server", "generic",
	"dockerhub", "ghcr", "quay", "harbor", "distribution",
}

// labelText is what Kubernetes takes as the name of a label, whose prefix is optional,
// and without it as a value.
var labelText = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)

func labelled(_ *reader, value string) error {
	if !labelText.MatchString(value) {
		return fmt.Errorf("%q is not a label; use at most 63 letters, digits, '-', '_' and '.', as in env: prod", value)
	}
	return nil
}

var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func filled(_ *reader, value string) error {
	if strings.TrimSpace(value) == "" {
		return errors.New("is empty; give a value")
	}
	return nil
}

// name keeps to a DNS label (RFC 1123), as Kubernetes does.
func name(_ *reader, value string) error {
	if !label.MatchString(value) {
		return fmt.Errorf("%q is not a name; use lower-case letters, digits and '-', at most 63", value)
	}
	return nil
}

func namespace(r *reader, value string) error {
	if value == "*" {
		return nil
	}
	return name(r, value)
}

// account may be empty: none.
func account(_ *reader, value string) error {
	for _, part := range strings.Split(value, ".") {
		if value != "" && !label.MatchString(part) {
			return fmt.Errorf("%q is not a name of a service account; give one, of the Application's own namespace", value)
		}
	}
	return nil
}

func oneOf(words ...string) rule {
	return func(_ *reader, value string) error {
		for _, w := range words {
			if value == w {
				return nil
			}
		}
		return fmt.Errorf("%q is not known; use one of %s", value, strings.Join(words, ", "))
	}
}

func glob(_ *reader, value string) error {
	if _, err := path.Match(value, ""); err != nil || value == "" {
		return fmt.Errorf("%q is not a glob; use * and ? as in team-*", value)
	}
	return nil
}

// address is what net.Listen takes: host:port, the host may be empty.
func address(_ *reader, value string) error {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is not an address; write host:port or :port", value)
	}
	return nil
}

func host(_ *reader, value string) error {
	if net.ParseIP(value) == nil && (value == "" || strings.ContainsAny(value, "/:@*? ")) {
		return fmt.Errorf("%q is not a host; give a name or an IP address, without scheme and port", value)
	}
	return nil
}

// existing accepts a file that can be opened and is not empty; an empty text
// means that no file is named.
func existing(r *reader, value string) error {
	if value == "" || !r.check {
		return nil
	}
	f, err := os.Open(value)
	if err != nil {
		return fmt.Errorf("%w; create the file or mend the path", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory; name a file", value)
	case info.Size() == 0 && info.Mode().IsRegular():
		return fmt.Errorf("%s is empty; write the value into it", value)
	}
	return nil
}

func natsURL(_ *reader, value string) error {
	if value == "" {
		return nil
	}
	for _, one := range strings.Split(value, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || u.Host == "" || !strings.Contains(" nats tls ws wss ", " "+u.Scheme+" "):
			return errors.New("is not a NATS URL; write it as in nats://host:4222, several with commas between")
		case u.User != nil:
			return errors.New("carries a credential; move it into the file that nats.credentialsFile names")
		}
	}
	return nil
}

// repositoryPrefix is a repository's URL or the part before those of several.
// What is wrong is told without the value, which may carry a credential.
func repositoryPrefix(_ *reader, value string) error {
	u, err := url.Parse(value)
	switch {
	case err == nil && hasPassword(u):
		return errors.New("carries a credential; move it into a file")
	case err != nil || canonical(value) == "":
		return errors.New("is not a repository URL; write it as in https://github.com/acme or ssh://git@github.com/acme")
	}
	return nil
}

// hasPassword leaves the user of an SSH URL alone: it is part of the address.
func hasPassword(u *url.URL) bool {
	_, password := u.User.Password()
	return password || u.User != nil && u.Scheme != "ssh"
}

// repository is a canonical name: host[:port]/path, lower-cased.
func repository(_ *reader, value string) error {
	at, rest, ok := strings.Cut(value, "/")
	if !ok || at == "" || rest == "" || strings.ContainsAny(value, "@ ") ||
		strings.Contains(value, "://") || strings.HasSuffix(value, ".git") || value != strings.ToLower(value) {
		return fmt.Errorf("%q is not a repository's name; write lower-case host/path without scheme and .git", value)
	}
	return nil
}
