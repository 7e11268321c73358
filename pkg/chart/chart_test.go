package chart_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/provenance"
	"helm.sh/helm/v4/pkg/repo/v1"

	"github.com/plumb-gitops/plumb/pkg/chart"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/oci"
	"github.com/plumb-gitops/plumb/pkg/tree/archive"
)

const password = "canary-password"

var versions = []string{"1.2.0", "1.10.0", "1.10.0+build.7", "2.0.0-rc.1"}

func fails(t *testing.T, err error, class fault.Class, want string) {
	t.Helper()
	reason := map[fault.Class]fault.Reason{fault.Permanent: fault.SourceRefused}[class]
	if reason == "" {
		reason = fault.FetchFailed
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want it to have %q", err, want)
		return
	}
	if got, _ := fault.ClassOf(err); got != class || fault.ReasonOf(err) != reason {
		t.Errorf("%v is %s, %s; want %s, %s", err, got, fault.ReasonOf(err), class, reason)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("%v tells a secret", err)
	}
}

func TestWhichVersion(t *testing.T) {
	s, host := serve(t), images(t)
	s.add(t, "web", versions...)
	s.index(t, "", nil)
	for _, v := range versions {
		s.push(t, host, "web", v)
	}
	for name, c := range map[string]struct{ version, want, err string }{
		"the newest release":                  {"", "1.10.0", ""},
		"one version":                         {"1.2.0", "1.2.0", ""},
		"one version with build metadata":     {"1.10.0+build.7", "1.10.0+build.7", ""},
		"one pre-release":                     {"2.0.0-rc.1", "2.0.0-rc.1", ""},
		"a range":                             {"^1", "1.10.0", ""},
		"a range of patches":                  {"1.2", "1.2.0", ""},
		"a range with pre-releases":           {">=1.0.0-0", "2.0.0-rc.1", ""},
		"a version that is not there":         {"1.2.1", "", "1.2.1"},
		"a range that none is in":             {">=3", "", ">=3"},
		"what is neither a version nor range": {"newest", "", "neither a version nor a range"},
	} {
		for kind, q := range map[string]chart.Query{"repository": {Repo: s.URL}, "registry": {Repo: "oci://" + host + "/charts"}} {
			t.Run(name+" of a "+kind, func(t *testing.T) {
				q.Name, q.Version = "web", c.version
				got, err := fetcher(chart.Options{}).Fetch(t.Context(), q)
				if c.err != "" {
					fails(t, err, fault.Permanent, c.err)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				data, err := got.Tree.ReadFile("templates/a.yaml")
				if short, _, _ := strings.Cut(got.Version, "+"); err != nil || short != strings.Split(c.want, "+")[0] || string(data) != "version: "+got.Version {
					t.Errorf("%s with %q, %v; want %s", got.Version, data, err, c.want)
				}
				if strings.Contains(c.version, "+") && got.Version != c.want {
					t.Errorf("%s, want %s", got.Version, c.want)
				}
			})
		}
	}
}

func TestADigestPins(t *testing.T) {
	s, host := serve(t), images(t)
	s.add(t, "web", versions...)
	s.index(t, "", nil)
	sum, err := provenance.DigestFile(filepath.Join(s.dir, "web-1.2.0.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	archived, manifest := "sha256:"+sum, s.push(t, host, "web", "1.2.0")
	other := "sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct{ repo, version, digest, err string }{
		"an archive":                     {s.URL, "1.2.0", archived, ""},
		"an archive by range":            {s.URL, "~1.2", archived, ""},
		"an archive of another version":  {s.URL, "1.10.0", archived, "and " + archived + " is wanted"},
		"an archive with another digest": {s.URL, "1.2.0", other, "and " + other + " is wanted"},
		"a manifest":                     {"oci://" + host + "/charts", "1.2.0", manifest, ""},
		"a manifest by range":            {"oci://" + host + "/charts", "~1.2", manifest, ""},
		"a manifest alone":               {"oci://" + host + "/charts", "", manifest, ""},
		"a manifest of another version":  {"oci://" + host + "/charts", "1.10.0", manifest, `"1.10.0" is wanted`},
		"a manifest that is not there":   {"oci://" + host + "/charts", "1.2.0", other, "check the repository"},
		"what is no digest":              {s.URL, "1.2.0", "md5:1", "not of the form sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := fetcher(chart.Options{}).Fetch(t.Context(), chart.Query{Repo: c.repo, Name: "web", Version: c.version, Digest: c.digest})
			if c.err != "" {
				fails(t, err, fault.Permanent, c.err)
				return
			}
			if err != nil || got.Version != "1.2.0" || got.Digest != c.digest {
				t.Errorf("%s, %s, %v", got.Version, got.Digest, err)
			}
		})
	}
}

func TestAnArchiveMustHaveTheDigestOfTheIndex(t *testing.T) {
	s := serve(t)
	s.add(t, "web", "1.0.0")
	s.index(t, "", nil)
	s.add(t, "web", "1.0.1")
	if err := os.Rename(filepath.Join(s.dir, "web-1.0.1.tgz"), filepath.Join(s.dir, "web-1.0.0.tgz")); err != nil {
		t.Fatal(err)
	}
	_, err := fetcher(chart.Options{}).Fetch(t.Context(), chart.Query{Repo: s.URL, Name: "web"})
	fails(t, err, fault.Transient, "changed after it was published")
}

func TestWhatIsFetchedAgain(t *testing.T) {
	s := serve(t)
	s.add(t, "web", "1.0.0")
	s.index(t, "", nil)
	f := fetcher(chart.Options{})
	version := func() string {
		t.Helper()
		got, err := f.Fetch(t.Context(), chart.Query{Repo: s.URL, Name: "web"})
		if err != nil {
			t.Fatal(err)
		}
		return got.Version
	}
	version()
	s.take()
	asked := 0
	s.guard(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-Modified-Since") != "" {
			asked++
		}
		return true
	})
	version()
	if seen, _ := s.take(); !cmp.Equal(seen, []string{"/index.yaml"}) || asked != 1 {
		t.Errorf("the second fetch asked %q, %d times with a condition", seen, asked)
	}
	s.add(t, "web", "1.1.0")
	s.index(t, "", nil)
	later(t, filepath.Join(s.dir, "index.yaml"))
	if v := version(); v != "1.1.0" {
		t.Errorf("after a release: %s", v)
	}
	s.take()
	var wait sync.WaitGroup
	for range 30 {
		wait.Go(func() { _ = version() })
	}
	wait.Wait()
	if seen, _ := s.take(); len(seen) > 20 {
		t.Errorf("30 callers made %d requests", len(seen))
	}
}

// web is an index with one release of chart web, and what else is said of it.
func web(url, digest string) func(*repo.IndexFile) {
	return func(i *repo.IndexFile) {
		i.Entries = map[string]repo.ChartVersions{"web": {{Metadata: &helmchart.Metadata{APIVersion: "v2", Name: "web", Version: "1.0.0"}, URLs: []string{url}, Digest: digest}}}
	}
}

func TestWhereTheArchiveIs(t *testing.T) {
	s, other := serve(t), serve(t)
	s.add(t, "web", "1.0.0")
	other.add(t, "web", "1.0.0")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ci:"+password))
	locked := func(inner func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") != basic {
				http.Error(w, r.Header.Get("Authorization"), http.StatusUnauthorized)
				return false
			}
			return inner == nil || inner(w, r)
		}
	}
	away := func(to string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, ".tgz") {
				return true
			}
			http.Redirect(w, r, to+r.URL.Path+"?X-Amz-Signature=canary", http.StatusFound)
			return false
		}
	}
	ci := oci.Basic("ci", password)
	for name, c := range map[string]struct {
		url        string // in the index
		door       func(http.ResponseWriter, *http.Request) bool
		credential oci.Credential
		err        string
		elsewhere  bool // the other site is asked
	}{
		"beside the index":                      {"web-1.0.0.tgz", locked(nil), ci, "", false},
		"at an absolute URL":                    {s.URL + "/web-1.0.0.tgz", locked(nil), ci, "", false},
		"at an absolute path":                   {"/web-1.0.0.tgz", locked(nil), ci, "", false},
		"on another host":                       {other.local() + "/web-1.0.0.tgz", locked(nil), ci, "", true},
		"on another port":                       {other.URL + "/web-1.0.0.tgz", locked(nil), ci, "", true},
		"on another host, by a redirect":        {"web-1.0.0.tgz", locked(away(other.local())), ci, "", true},
		"on another port, by a redirect":        {"web-1.0.0.tgz", locked(away(other.URL)), ci, "", true},
		"at the metadata service":               {"http://169.254.169.254/x.tgz", nil, ci, "link-local", false},
		"at the metadata service by a redirect": {"web-1.0.0.tgz", away("http://169.254.169.254"), ci, "link-local", false},
		"in a file":                             {"file:///etc/passwd", nil, ci, "scheme is not https", false},
		"at a URL with a credential":            {"https://u:canary@registry.local/x.tgz", nil, ci, "carries a credential", false},
		"nowhere":                               {"web-9.tgz", nil, ci, "does not have the archive", false},
		"without the credential":                {"web-1.0.0.tgz", locked(nil), oci.Credential{}, "wants a credential", false},
		"with another credential":               {"web-1.0.0.tgz", locked(nil), oci.Basic("ci", "canary-wrong"), "refuses the user name and password", false},
	} {
		t.Run(name, func(t *testing.T) {
			s.guard(c.door)
			s.index(t, "", web(c.url, ""))
			got, err := fetcher(chart.Options{}).Fetch(t.Context(), chart.Query{Repo: s.URL, Name: "web", Credential: c.credential})
			if c.err != "" {
				fails(t, err, fault.Permanent, c.err)
			} else if err != nil || got.Version != "1.0.0" || got.Digest == "" {
				t.Errorf("%+v, %v", got, err)
			}
			seen, auths := other.take()
			if len(auths) > 0 || (len(seen) > 0) != c.elsewhere {
				t.Errorf("the other site was asked %q and saw %d credentials", seen, len(auths))
			}
		})
	}
}

func TestRepositoriesThatAreRefused(t *testing.T) {
	s := serve(t)
	s.add(t, "web", "1.0.0")
	s.index(t, "", nil)
	index, err := os.ReadFile(filepath.Join(s.dir, "index.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "7")
			if code == 404 {
				w.Header().Del("Retry-After")
			}
			w.WriteHeader(code)
			return false
		}
	}
	body := func(text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "index.yaml") {
				return true
			}
			fmt.Fprint(w, text)
			return false
		}
	}
	for name, c := range map[string]struct {
		q     chart.Query
		door  func(http.ResponseWriter, *http.Request) bool
		class fault.Class
		want  string
	}{
		"no repository":              {chart.Query{}, status(404), fault.Permanent, "no Helm repository at this URL"},
		"too many requests":          {chart.Query{}, status(429), fault.RetryAfter, "come back later"},
		"a page":                     {chart.Query{}, body("<html>canary</html>"), fault.Permanent, "not the index of a Helm repository"},
		"an empty index":             {chart.Query{}, body(""), fault.Permanent, "not the index"},
		"a bomb of aliases":          {chart.Query{}, body(bomb()), fault.Permanent, "not the index"},
		"an index that is too large": {chart.Query{}, body(string(index) + strings.Repeat("#", 1<<20)), fault.Permanent, "more than 1048576 bytes"},
		"an unknown chart":           {chart.Query{Name: "db"}, nil, fault.Permanent, "no chart of this name"},
		"a name that leaves":         {chart.Query{Name: "../web"}, nil, fault.Permanent, "the name of a chart"},
		"a name with a URL":          {chart.Query{Name: "web?x"}, nil, fault.Permanent, "the name of a chart"},
		"plain http":                 {chart.Query{Repo: "http://charts.local"}, nil, fault.Permanent, "git.insecureHosts"},
		"a file":                     {chart.Query{Repo: "file:///etc"}, nil, fault.Permanent, "scheme is not https"},
		"a credential":               {chart.Query{Repo: "https://u:canary@charts.local"}, nil, fault.Permanent, "carries a credential"},
		"a link-local address":       {chart.Query{Repo: "https://169.254.169.254/"}, nil, fault.Permanent, "link-local"},
		"an archive that is none": {chart.Query{}, func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "index.yaml") {
				fmt.Fprint(w, "apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: [x.tgz]}]}")
				return false
			}
			fmt.Fprint(w, "hello")
			return false
		}, fault.Permanent, "read the archive"},
		"an archive that is too large": {chart.Query{}, func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "index.yaml") {
				return true
			}
			_, _ = w.Write(make([]byte, 1<<20+1))
			return false
		}, fault.Permanent, "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s.guard(c.door)
			if c.q.Repo == "" {
				c.q.Repo = s.URL
			}
			if c.q.Name == "" {
				c.q.Name = "web"
			}
			_, err := fetcher(chart.Options{Index: 1 << 20, Limits: archive.Limits{Archive: 1 << 20}}).Fetch(t.Context(), c.q)
			fails(t, err, c.class, c.want)
		})
	}
}

func bomb() string {
	lines := []string{"apiVersion: v1", "a0: &a0 [x,x,x,x,x,x,x,x,x,x]"}
	for i := range 12 {
		lines = append(lines, fmt.Sprintf("a%d: &a%d [%s]", i+1, i+1, strings.Join(slices.Repeat([]string{fmt.Sprintf("*a%d", i)}, 10), ",")))
	}
	return strings.Join(append(lines, "entries: {web: *a12}"), "\n")
}

// An index in JSON, with digests in both spellings, and entries that are none.
func TestIndexesOfOtherMakers(t *testing.T) {
	s := serve(t)
	s.add(t, "web", "1.0.0", "1.1.0", "1.2.0")
	sum, err := provenance.DigestFile(filepath.Join(s.dir, "web-1.0.0.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	text := `{"apiVersion":"v1","entries":{"web":[{"version":"1.1.0"},{"urls":["x"]},{"version":"1.2.0","urls":["web-1.2.0.tgz"],"digest":"md5"},{"version":"1.0.0","urls":["web-1.0.0.tgz"],"digest":"sha256:` + sum + `"}]}}`
	if err := os.WriteFile(filepath.Join(s.dir, "index.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := fetcher(chart.Options{}).Fetch(t.Context(), chart.Query{Repo: s.URL + "/", Name: "web"})
	if err != nil || got.Version != "1.0.0" || got.Digest != "sha256:"+sum {
		t.Errorf("%+v, %v", got, err)
	}
}
