package source

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

func TestFollows(t *testing.T) {
	cases := map[string]struct {
		ref, semver, pushed string
		want                bool
	}{
		"a branch by its short name":           {ref: "main", pushed: "refs/heads/main", want: true},
		"a tag by its short name":              {ref: "v1", pushed: "refs/tags/v1", want: true},
		"a full name is itself":                {ref: "refs/heads/main", pushed: "refs/heads/main", want: true},
		"another branch is not":                {ref: "main", pushed: "refs/heads/maintenance"},
		"a full name is not taken for a short": {ref: "refs/heads/main", pushed: "refs/tags/refs/heads/main"},
		"HEAD may be any branch":               {pushed: "refs/heads/trunk", want: true},
		"HEAD is no tag":                       {pushed: "refs/tags/v1"},
		"a range follows every tag in it":      {semver: ">=1.2 <2", pushed: "refs/tags/v1.4.2", want: true},
		"but none beside it":                   {semver: ">=1.2 <2", pushed: "refs/tags/v2.0.0"},
		"nor a branch of that name":            {semver: ">=1.2 <2", pushed: "refs/heads/v1.4.2"},
		"nor a pre-release it does not name":   {semver: ">=1.2 <2", pushed: "refs/tags/v1.5.0-rc.1"},
		"a commit never moves":                 {ref: strings.Repeat("a", 40), pushed: "refs/heads/main"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Follows(c.ref, c.semver, c.pushed); got != c.want {
				t.Errorf("Follows(%q, %q) = %v", c.ref, c.pushed, got)
			}
		})
	}
}

func application(namespace, repo string) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Namespace, a.Name, a.Spec.Source.Repo = namespace, "web", repo
	return a
}

func TestSourcesSayWhichNamespaceMayUseWhichRepository(t *testing.T) {
	p := Policy{Git: config.Git{Sources: []config.Source{
		{Prefix: "https://git.example.com/acme", Namespaces: []string{"*"}},
		{Prefix: "https://git.example.com/acme/private", Namespaces: []string{"team-a"}},
	}}}
	cases := map[string]struct {
		namespace, repo string
		says            string // empty: allowed
	}{
		"a repository for all":                    {namespace: "team-b", repo: "https://git.example.com/acme/config"},
		"the longest prefix decides":              {namespace: "team-b", repo: "https://git.example.com/acme/private", says: "git.sources"},
		"and lets its own in":                     {namespace: "team-a", repo: "https://git.example.com/acme/private"},
		"what no source names is nobody's":        {namespace: "team-a", repo: "https://elsewhere.example.com/x", says: "git.sources"},
		"a prefix ends where a name ends":         {namespace: "team-a", repo: "https://git.example.com/acmeister/x", says: "git.sources"},
		"a URL of another kind is no repository":  {namespace: "team-a", repo: "file:///etc", says: "spec.source.repo"},
		"http is for hosts that are named only":   {namespace: "team-a", repo: "http://git.example.com/acme/config", says: "spec.source.repo"},
		"a credential in the URL is not repeated": {namespace: "team-a", repo: "https://me:hunter2@git.example.com/acme/x", says: "spec.source.repo"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := p.Query(t.Context(), application(c.namespace, c.repo))
			switch {
			case c.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.says == "":
			case err == nil || !strings.Contains(err.Error(), c.says) || fault.ReasonOf(err) != fault.SourceRefused:
				t.Errorf("%v (%s); want SourceRefused that names %s", err, fault.ReasonOf(err), c.says)
			case strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the credential stands in the error: %v", err)
			}
		})
	}
}

// A configured credential is read from its files at each use, so that one that
// was rotated is taken up.
func TestConfiguredCredentialsAreReadAtEachUse(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	p := Policy{Git: config.Git{Credentials: []config.Credential{
		{Prefix: "https://git.example.com/", BearerTokenFile: token, Namespaces: []string{"team-a"}},
	}}}
	a := application("team-a", "https://git.example.com/acme/config")
	if _, err := p.Query(t.Context(), a); err == nil || fault.ReasonOf(err) != fault.FetchFailed {
		t.Errorf("a file that is missing: %v", err)
	}
	write := func(text string) {
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	first, err := p.Query(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	write("two\n")
	second, err := p.Query(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if first.Credential.Key() == second.Credential.Key() {
		t.Error("the rotated token was not read")
	}
	foreign, err := p.Query(t.Context(), application("team-b", a.Spec.Source.Repo))
	if err != nil || foreign.Credential.Key() == second.Credential.Key() {
		t.Errorf("a namespace that may not use it got the credential (%v)", err)
	}
}

func TestAliasesNameOneRepository(t *testing.T) {
	p := Policy{Git: config.Git{Aliases: map[string]string{"ssh.example.com/acme/config": "git.example.com/acme/config"}}}
	if got := p.Canonical("ssh.example.com/acme/config"); got != "git.example.com/acme/config" {
		t.Errorf("the alias is %q", got)
	}
	if got := p.RepoOf(Main(application("a", "https://SSH.example.com/acme/config.git"))); got != "git.example.com/acme/config" {
		t.Errorf("the repository of the Application is %q", got)
	}
	if got := p.RepoOf(Main(application("a", "file:///etc"))); got != "" {
		t.Errorf("what is no repository has the name %q", got)
	}
}

func TestAnAnnouncementIsWaitedForWhereItIsMeant(t *testing.T) {
	p := Policy{Git: config.Git{Aliases: map[string]string{"ssh.example.com/acme/values": "git.example.com/acme/values"}}}
	a := application("team-a", "https://git.example.com/acme/config")
	a.Spec.Source.Ref = "main"
	a.Spec.Sources = []v1alpha1.NamedSource{
		{Name: "values", Repo: "https://git.example.com/acme/values", Ref: "main"},
		{Name: "stable", Repo: "https://git.example.com/acme/values", Semver: ">=1"},
		{Name: "same", Repo: "https://git.example.com/acme/config", Ref: "main"},
		{Name: "image", Repo: "oci://git.example.com/acme/values", Ref: "main"},
	}
	cases := map[string]struct {
		fresh Freshness
		want  []string
	}{
		"a request's hint is one of spec.source":     {fresh: Freshness{Want: "abc"}, want: []string{""}},
		"a push is one of every tree that follows":   {fresh: Freshness{Repo: "git.example.com/acme/config", Want: "abc", WantRef: "refs/heads/main"}, want: []string{"", "same"}},
		"also under another name of the repository":  {fresh: Freshness{Repo: "ssh.example.com/acme/values", Want: "abc", WantRef: "refs/heads/main"}, want: []string{"values"}},
		"a tag is one of the range that it falls in": {fresh: Freshness{Repo: "git.example.com/acme/values", Want: "abc", WantRef: "refs/tags/v1.2.0"}, want: []string{"stable"}},
		"another branch is nobody's":                 {fresh: Freshness{Repo: "git.example.com/acme/config", Want: "abc", WantRef: "refs/heads/other"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range Trees(a) {
				if !f.Artifact() && c.fresh.of(p, f).Want != "" {
					got = append(got, f.Name)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("waited for in %q, want %q", got, c.want)
			}
		})
	}
}
