package source

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// fetching is Heads without a memory.
type fetching struct{ *git.Store }

func (f fetching) At(ctx context.Context, q git.Query) (git.Commit, error) { return f.Fetch(ctx, q) }

// gitServer serves acme/config, and wants a credential for acme/private.
func gitServer(t *testing.T) (repo string, s *Assembler) {
	t.Helper()
	server, err := gitserver.New(t.TempDir(), gitserver.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/acme/private") {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	made, err := server.Create(t.Context(), "acme/config")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.CommitAndPush(t.Context(), "first", map[string][]byte{"web/a.yaml": []byte("a: b\n")}); err != nil {
		t.Fatal(err)
	}
	store, err := git.Open(t.TempDir(), git.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	policy := Policy{Git: config.Git{InsecureHosts: []string{"127.0.0.1"}}}
	return made.URL(), &Assembler{Policy: policy, Store: store, Heads: fetching{store}}
}

// An error of one of several sources names that one's fields, and no others.
func TestErrorsNameTheSourceThatTheyAreAbout(t *testing.T) {
	repo, s := gitServer(t)
	beside := func(name string) string { return strings.Replace(repo, "acme/config", "acme/"+name, 1) }
	for name, c := range map[string]struct {
		other  v1alpha1.NamedSource
		says   []string
		reason fault.Reason
		class  fault.Class
	}{
		"a repository that is not there": {
			v1alpha1.NamedSource{Repo: beside("nothing")}, []string{"spec.sources[values].repo: fetch", "404"}, fault.FetchFailed, fault.Permanent},
		"one that wants a credential": {
			v1alpha1.NamedSource{Repo: beside("private")}, []string{"spec.sources[values].repo", "name a Secret in spec.sources[values].secretRef"}, fault.FetchFailed, fault.Permanent},
		"a URL that is refused": {
			v1alpha1.NamedSource{Repo: "http://git.example.com/x"}, []string{"spec.sources[values].repo", "plain http"}, fault.SourceRefused, fault.Permanent},
		"a branch that is not there": {
			v1alpha1.NamedSource{Repo: repo, Ref: "nothing"}, []string{"spec.sources[values].ref", "nothing"}, fault.FetchFailed, fault.Permanent},
		"a range without a tag": {
			v1alpha1.NamedSource{Repo: repo, Semver: ">=1"}, []string{"spec.sources[values].semver", "no tag is in"}, fault.FetchFailed, fault.Permanent},
		"a host that is away": {
			v1alpha1.NamedSource{Repo: "http://127.0.0.1:1/x"}, []string{"spec.sources[values]: ", "connection refused"}, fault.FetchFailed, fault.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			a := application("team-a", repo)
			a.Spec.Source.Path = "web"
			c.other.Name = "values"
			a.Spec.Sources = []v1alpha1.NamedSource{c.other}
			_, err := s.Assemble(t.Context(), a, Freshness{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, word := range c.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q lacks %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "spec.source.") || strings.Count(err.Error(), "spec.sources[values].repo") > 1 {
				t.Errorf("%q names another field, or one twice", err)
			}
			if class, _ := fault.ClassOf(err); class != c.class || fault.ReasonOf(err) != c.reason {
				t.Errorf("%q is %s, %s; want %s, %s", err, class, fault.ReasonOf(err), c.class, c.reason)
			}
		})
	}
}

func TestACredentialIsForOneServer(t *testing.T) {
	for name, c := range map[string]struct {
		a, b string
		want bool
	}{
		"another path":              {"https://charts.example.com/a", "https://charts.example.com/b", true},
		"its default port":          {"https://charts.example.com/a", "https://Charts.example.com:443/b", true},
		"its registry":              {"https://charts.example.com/a", "oci://charts.example.com/b", true},
		"another port":              {"https://charts.example.com/a", "https://charts.example.com:8443/a", false},
		"the same in clear text":    {"https://charts.example.com/a", "http://charts.example.com/a", false},
		"a name that begins so":     {"https://charts.example.com", "https://charts.example.com.evil.example/a", false},
		"a user that looks like it": {"https://charts.example.com", "https://charts.example.com@evil.example/a", false},
		"nothing":                   {"", "", false},
	} {
		if got := sameServer(c.a, c.b); got != c.want {
			t.Errorf("%s: %q and %q are the same: %v", name, c.a, c.b, got)
		}
	}
}
