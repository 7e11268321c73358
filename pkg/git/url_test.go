package git_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

func TestParseURLAccepts(t *testing.T) {
	type named struct{ URL, Repo string }
	tests := map[string]struct {
		in   string
		want named
	}{
		"https":                          {"https://github.com/Acme/Config.git", named{"https://github.com/Acme/Config.git", "github.com/acme/config"}},
		"a port":                         {"https://Git.Example.com:8443/x/", named{"https://git.example.com:8443/x", "git.example.com:8443/x"}},
		"ssh":                            {"ssh://git@github.com/acme/config", named{"ssh://git@github.com/acme/config", "github.com/acme/config"}},
		"the short form of ssh":          {"git@github.com:acme/config.git", named{"ssh://git@github.com/acme/config.git", "github.com/acme/config"}},
		"the short form without a user":  {"github.com:acme/config", named{"ssh://github.com/acme/config", "github.com/acme/config"}},
		"http on a listed host":          {"http://git.local:3000/acme/config", named{"http://git.local:3000/acme/config", "git.local:3000/acme/config"}},
		"https on a listed loopback":     {"https://127.0.0.1/x", named{"https://127.0.0.1/x", "127.0.0.1/x"}},
		"http on a listed IPv6 loopback": {"http://[::1]:8080/x", named{"http://[::1]:8080/x", "[::1]:8080/x"}},
		"a private address":              {"https://10.1.2.3/x", named{"https://10.1.2.3/x", "10.1.2.3/x"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u, err := git.ParseURL(tt.in, []string{"git.local", "127.0.0.1", "[::1]"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, named{u.String(), u.Repo()}); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseURLRefuses(t *testing.T) {
	tests := map[string]struct{ in, word string }{
		"nothing":                        {"", "empty"},
		"an option":                      {"--upload-pack=touch /tmp/x", "neither a URL"},
		"a command":                      {"ext::sh -c 'touch /tmp/x'", "neither a URL"},
		"a file":                         {"file:///etc", "scheme"},
		"a path":                         {"/etc/passwd", "neither a URL"},
		"another scheme":                 {"git://github.com/acme/config", "scheme"},
		"a host like an option":          {"ssh://-oProxyCommand=touch/x", "host"},
		"a short host like an option":    {"-oProxyCommand=x:acme/config", "host"},
		"a user like an option":          {"ssh://-oProxyCommand=x@github.com/acme/config", "user"},
		"a short user like an option":    {"-l@github.com:acme/config", "user"},
		"a host like an option, a user":  {"ssh://git@-oProxyCommand=touch/x", "host"},
		"a command after ssh":            {"ssh::ext::sh -c x", "neither a URL"},
		"a port like an option":          {"ssh://git@github.com:-oProxyCommand=x/acme", "does not parse"},
		"a port that is none":            {"ssh://git@github.com:99999/acme/config", "port"},
		"a path like an option":          {"git@github.com:--upload-pack=x", "dash"},
		"a user with a command":          {"ssh://$(id)@github.com/acme/config", "user"},
		"the metadata service by ssh":    {"git@169.254.169.254:latest/x", "link-local"},
		"this machine by ssh":            {"ssh://git@localhost/x", "this machine"},
		"a password":                     {"https://ada:hunter2@github.com/acme/config", "credential"},
		"a token":                        {"https://hunter2@github.com/acme/config", "credential"},
		"a password for ssh":             {"ssh://git:hunter2@github.com/acme/config", "credential"},
		"a newline":                      {"https://github.com/acme/config\n--upload-pack=x", "control"},
		"a carriage return":              {"https://github.com/acme\r/config", "control"},
		"a backslash":                    {`https://github.com\@evil.example/acme`, "backslash"},
		"a query":                        {"https://github.com/acme/config?ref=--upload-pack=x", "query"},
		"dots":                           {"https://github.com/acme/../../x", "dots"},
		"a segment like an option":       {"https://github.com/--upload-pack=x/y", "dash"},
		"no path":                        {"https://github.com", "path"},
		"plain http":                     {"http://github.com/acme/config", "insecureHosts"},
		"plain http on a similar host":   {"http://git.local.example.com/x", "insecureHosts"},
		"the metadata service":           {"https://169.254.169.254/latest", "link-local"},
		"the metadata service, listed":   {"http://169.254.169.254/latest", "link-local"},
		"the metadata service as mapped": {"https://[::ffff:169.254.169.254]/latest", "link-local"},
		"loopback":                       {"https://127.0.0.2/x", "this machine"},
		"localhost":                      {"https://localhost/x", "this machine"},
		"the unspecified address":        {"https://0.0.0.0/x", "unspecified"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := git.ParseURL(tt.in, []string{"git.local", "169.254.169.254"})
			wantFault(t, err, fault.Permanent, fault.SourceRefused, tt.word)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats the credential: %v", err)
			}
		})
	}
}

func TestKnown(t *testing.T) {
	u, err := git.ParseURL("https://ssh.github.com/acme/config", nil)
	if err != nil {
		t.Fatal(err)
	}
	aliases := map[string]string{"ssh.github.com/acme/config": "github.com/acme/config"}
	if got := u.Known(aliases); got != "github.com/acme/config" {
		t.Errorf("known as %s", got)
	}
	if got := u.Known(nil); got != u.Repo() {
		t.Errorf("known as %s without aliases", got)
	}
}

func TestResolveRefuses(t *testing.T) {
	for name, ref := range map[string]string{
		"an option":         "--upload-pack=x",
		"a short option":    "-x",
		"a way up":          "../../x",
		"dots within":       "a..b",
		"a newline":         "main\n--x",
		"a NUL":             "main\x00",
		"a blank":           "my branch",
		"a caret":           "main^",
		"a tilde":           "main~1",
		"a colon":           "main:file",
		"a pattern":         "refs/heads/*",
		"a reflog":          "main@{1}",
		"an at sign":        "@",
		"a lock":            "main.lock",
		"a hidden part":     "refs/.x",
		"an empty part":     "a//b",
		"a slash first":     "/main",
		"a slash last":      "main/",
		"a dot last":        "main.",
		"a backslash":       `a\b`,
		"a name too long":   strings.Repeat("a", 256),
		"a control, hidden": "a\x7fb",
	} {
		t.Run(name, func(t *testing.T) {
			refs := map[string]string{"refs/heads/" + ref: "x", ref: "x"}
			_, _, err := git.Resolve(refs, ref)
			wantFault(t, err, fault.Permanent, fault.SourceRefused)
		})
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"https://github.com/acme/config.git", "git@github.com:acme/config", "ssh://-oProxyCommand=x/y", "http://127.0.0.1:3000/a/b",
		"https://user:pw@host/x", "ext::sh -c x", "https://[::1%25eth0]/x", "https://h/%2e%2e/x", "a:b", "https://HOST:0443/x//",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		u, err := git.ParseURL(in, loopback)
		if err != nil {
			if class, _ := fault.ClassOf(err); class != fault.Permanent || fault.ReasonOf(err) != fault.SourceRefused {
				t.Fatalf("%q: %v is not a refusal", in, err)
			}
			return
		}
		out := u.String()
		again, err := git.ParseURL(out, loopback)
		if err != nil || again.String() != out || again.Repo() != u.Repo() {
			t.Fatalf("%q becomes %q, which becomes %q (%v)", in, out, again, err)
		}
		if name, err := event.RepoName(in); err != nil || name != u.Repo() {
			t.Fatalf("%q is %s here and %s (%v) to the receiver", in, u.Repo(), name, err)
		}
		if !strings.HasPrefix(out, "https://") && !strings.HasPrefix(out, "ssh://") && !strings.HasPrefix(out, "http://127.0.0.1") {
			t.Fatalf("%q becomes %q", in, out)
		}
		if strings.ContainsFunc(out, func(r rune) bool { return r <= ' ' || r == 0x7f }) || strings.Contains(out, "//-") || strings.Contains(out, "@-") {
			t.Fatalf("%q becomes %q", in, out)
		}
	})
}

func FuzzResolve(f *testing.F) {
	for _, seed := range []string{"main", "", "HEAD", "refs/heads/main", "--x", "a..b", strings.Repeat("a", 40), "v1.2.3", "a\nb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		refs := map[string]string{"HEAD": "1", ref: "2", "refs/heads/" + ref: "3"}
		name, sha, err := git.Resolve(refs, ref)
		if err != nil {
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Fatalf("%q: %v is not permanent", ref, err)
			}
			return
		}
		if name != "" && refs[name] != sha {
			t.Fatalf("%q resolves to %s and %s", ref, name, sha)
		}
		if strings.HasPrefix(ref, "-") || strings.Contains(ref, "..") || strings.ContainsAny(ref, "\n\r\x00 ") {
			t.Fatalf("%q was accepted", ref)
		}
	})
}
