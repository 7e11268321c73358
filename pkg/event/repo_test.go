package event_test

import (
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/event"
)

func TestRepoNameIsOneNamePerRepository(t *testing.T) {
	for what, c := range map[string]struct{ url, want string }{
		"https":                            {"https://github.com/acme/config", "github.com/acme/config"},
		"https with .git":                  {"https://github.com/acme/config.git", "github.com/acme/config"},
		"capitals":                         {"HTTPS://GitHub.com/Acme/Config.GIT", "github.com/acme/config"},
		"a slash at the end":               {"https://github.com/acme/config.git/", "github.com/acme/config"},
		"a user and a password":            {"https://user:s3cret@github.com/acme/config.git", "github.com/acme/config"},
		"the default port":                 {"https://github.com:443/acme/config", "github.com/acme/config"},
		"the default port with zeros":      {"https://github.com:00443/acme/config", "github.com/acme/config"},
		"another port":                     {"http://127.0.0.1:3000/acme/config.git", "127.0.0.1:3000/acme/config"},
		"http and its port":                {"http://git.example.com:80/acme/config", "git.example.com/acme/config"},
		"https on the port of http":        {"https://git.example.com:80/acme/config", "git.example.com:80/acme/config"},
		"ssh":                              {"ssh://git@github.com/acme/config.git", "github.com/acme/config"},
		"ssh with its port":                {"ssh://git@github.com:22/acme/config.git", "github.com/acme/config"},
		"ssh on a port of Bitbucket":       {"ssh://git@bb.example.com:7999/~gopher/x.git", "bb.example.com:7999/~gopher/x"},
		"the short form":                   {"git@github.com:acme/config.git", "github.com/acme/config"},
		"the short form, absolute path":    {"git@github.com:/acme/config.git", "github.com/acme/config"},
		"the short form without a user":    {"github.com:acme/config", "github.com/acme/config"},
		"groups below groups":              {"https://gitlab.com/a/b/c/d.git", "gitlab.com/a/b/c/d"},
		"IPv6":                             {"https://[2001:db8::1]:8443/a/b", "[2001:db8::1]:8443/a/b"},
		"a host with its root dot":         {"https://github.com./acme/config", "github.com/acme/config"},
		"names that are patterns for NATS": {"https://h/a.b/*/>/c d", "h/a.b/*/>/c d"},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := event.RepoName(c.url)
			if err != nil || got != c.want {
				t.Fatalf("RepoName(%q) = %q, %v; want %q", c.url, got, err, c.want)
			}
		})
	}
}

func TestRepoNameRefusesWhatIsNoRepositoryAndRepeatsNothing(t *testing.T) {
	for what, url := range map[string]string{
		"nothing":                     "",
		"a file":                      "file:///etc/passwd-s3cret",
		"an absolute path":            "/etc/passwd-s3cret",
		"a relative path":             "../s3cret",
		"a bare name":                 "s3cret",
		"a transport helper":          "ext::sh -c s3cret",
		"an option":                   "--upload-pack=s3cret",
		"a host that is an option":    "ssh://-oProxyCommand=s3cret/a",
		"a short host as an option":   "-oProxyCommand=s3cret:a",
		"a path that is an option":    "git@h:--upload-pack=s3cret",
		"another scheme":              "ftp://h/s3cret",
		"javascript":                  "javascript:alert(1)//s3cret://x",
		"no host":                     "https:///s3cret",
		"no path":                     "https://u:s3cret@h/",
		"only .git":                   "https://u:s3cret@h/.git",
		"dots":                        "https://h/../s3cret",
		"escaped dots":                "https://h/%2e%2e/s3cret",
		"an empty segment":            "https://h/a//s3cret",
		"a query":                     "https://h/a?token=s3cret",
		"a fragment":                  "https://h/a#s3cret",
		"a newline":                   "https://h/a\ns3cret",
		"an escaped newline":          "https://h/a%0as3cret",
		"an escaped NUL":              "https://h/a%00s3cret",
		"an escape that is not UTF-8": "https://h/%ffs3cret",
		"a backslash":                 `https://h\s3cret/a`,
		"a port over 65535":           "https://u:s3cret@h:65536/a",
		"port zero":                   "https://u:s3cret@h:0/a",
		"a broken escape":             "https://u:s3cret@h/%zz",
		"a host that is a pattern":    "https://*.h/s3cret",
		"ten thousand bytes of names": "https://h/s3cret" + strings.Repeat("x", 10_000),
	} {
		t.Run(what, func(t *testing.T) {
			got, err := event.RepoName(url)
			if err == nil {
				t.Fatalf("RepoName accepted %q as %q", url, got)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error repeats the URL: %v", err)
			}
		})
	}
}

func FuzzRepoName(f *testing.F) {
	for _, seed := range []string{
		"https://github.com/acme/config.git", "git@github.com:acme/config.git", "ssh://git@h:7999/~x/y.git", "file:///etc",
		"https://u:p@h/%2e%2e/x", "https://[::1]/a", "ext::sh -c x", "https://h/a%00b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		name, err := event.RepoName(url)
		if err != nil {
			return
		}
		host, path, _ := strings.Cut(name, "/")
		if host == "" || path == "" || strings.Contains(host, "@") || name != strings.ToLower(name) {
			t.Fatalf("RepoName(%q) = %q", url, name)
		}
		again, err := event.RepoName("ssh://" + name)
		if want := strings.TrimSuffix(host, ":22") + "/" + strings.TrimSuffix(path, ".git"); err != nil || again != want {
			t.Fatalf("RepoName(%q) = %q, which reads as %q, %v", url, name, again, err)
		}
	})
}
