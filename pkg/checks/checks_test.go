package checks_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/checks"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

const (
	sha   = "0123456789abcdef0123456789abcdef01234567"
	token = "a-token-that-is-secret"
)

var now = time.Unix(1_800_000_000, 0)

// list is what a stand-in serves at one path, page by page, as the real one does.
type list struct {
	path    string            // escaped
	query   map[string]string // beside page
	pages   []any
	headers map[string]string // that a request must have
}

// serve is a Git host that answers these requests and no others.
func serve(t *testing.T, lists ...list) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, l := range lists {
			if r.Method == http.MethodGet && r.URL.EscapedPath() == l.path {
				l.answer(t, w, r)
				return
			}
		}
		t.Errorf("asked for %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func (l list) answer(t *testing.T, w http.ResponseWriter, r *http.Request) {
	for name, want := range l.headers {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: header %s is %q, want %q", l.path, name, got, want)
		}
	}
	query := maps.Collect(func(yield func(string, string) bool) {
		for name, values := range r.URL.Query() {
			if name != "page" && !yield(name, strings.Join(values, ",")) {
				return
			}
		}
	})
	if diff := cmp.Diff(l.query, query); diff != "" {
		t.Errorf("%s: query (-want +got):\n%s", l.path, diff)
	}
	page, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || page < 1 || page > len(l.pages) {
		t.Errorf("%s: page %q", l.path, r.URL.Query().Get("page"))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if page < len(l.pages) { // the link leads elsewhere: it must not be followed
		w.Header().Set("Link", `<http://127.0.0.1:1/elsewhere?page=2>; rel="next", <http://127.0.0.1:1/>; rel="last"`)
	} else {
		w.Header().Set("Link", `<http://127.0.0.1:1/>; rel="first"`)
	}
	_ = json.NewEncoder(w).Encode(l.pages[page-1])
}

type object = map[string]any

func statuses(kv ...string) []any {
	var all []any
	for i := 0; i < len(kv); i += 2 {
		all = append(all, object{"context": kv[i], "state": kv[i+1], "description": "x"})
	}
	return all
}

func TestGitHub(t *testing.T) {
	headers := map[string]string{"Authorization": "Bearer " + token, "Accept": "application/vnd.github+json", "X-Github-Api-Version": "2022-11-28", "User-Agent": "plumb"}
	host := serve(t,
		list{path: "/api/v3/repos/acme/my.config/commits/" + sha + "/status", query: map[string]string{"per_page": "100"}, headers: headers, pages: []any{
			object{"state": "pending", "statuses": statuses("ci/build", "success", "ci/lint", "failure")},
			object{"state": "pending", "statuses": statuses("ci/late", "pending", "ci/odd", "what is this", "ci/err", "error", "both", "success", "either", "failure")},
		}},
		list{path: "/api/v3/repos/acme/my.config/commits/" + sha + "/check-runs", query: map[string]string{"per_page": "100", "filter": "latest"}, headers: headers, pages: []any{
			object{"total_count": 3, "check_runs": []any{
				object{"name": "unit", "status": "completed", "conclusion": "success"},
				object{"name": "both", "status": "completed", "conclusion": "timed_out"},
			}},
			object{"total_count": 3, "check_runs": []any{
				object{"name": "e2e", "status": "in_progress", "conclusion": nil},
				object{"name": "docs", "status": "completed", "conclusion": "skipped"},
				object{"name": "either", "status": "completed", "conclusion": "success"},
				object{"name": "old", "status": "completed", "conclusion": "stale"},
			}},
		}},
	)
	got, err := client().State(t.Context(), checks.Query{Repo: host + "/acme/my.config.git", SHA: sha, Provider: "github", Token: token,
		Names: []string{"ci/build", "ci/lint", "ci/late", "ci/odd", "ci/err", "both", "either", "unit", "e2e", "docs", "old", "never"}})
	want := map[string]checks.State{
		"ci/build": checks.Green, "ci/lint": checks.Failed, "ci/late": checks.Pending, "ci/odd": checks.Pending, "ci/err": checks.Failed,
		"both": checks.Failed, "either": checks.Failed, "unit": checks.Green, "e2e": checks.Pending, "docs": checks.Green, "old": checks.Failed, "never": checks.Missing,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, states (-want +got):\n%s", err, diff)
	}
}

func TestGitLab(t *testing.T) {
	host := serve(t, list{
		path: "/api/v4/projects/acme%2Fteam%2Fconfig/repository/commits/" + sha + "/statuses", query: map[string]string{"per_page": "100"},
		headers: map[string]string{"Authorization": "Bearer " + token, "Accept": "application/json"},
		pages: []any{
			[]any{object{"name": "build", "status": "success"}, object{"name": "deploy", "status": "manual"}},
			[]any{object{"name": "lint", "status": "canceled"}, object{"name": "test", "status": "running"}, object{"name": "docs", "status": "skipped"}},
		},
	})
	got, err := client().State(t.Context(), checks.Query{Repo: host + "/acme/team/config", SHA: sha, Provider: "gitlab", Token: token,
		Names: []string{"build", "deploy", "lint", "test", "docs"}})
	want := map[string]checks.State{"build": checks.Green, "deploy": checks.Pending, "lint": checks.Failed, "test": checks.Pending, "docs": checks.Green}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, states (-want +got):\n%s", err, diff)
	}
}

// Gitea keeps every status of a context; the newest counts, in whatever order they come.
func TestGitea(t *testing.T) {
	status := func(id int, context, state string) any { return object{"id": id, "context": context, "status": state} }
	host := serve(t, list{
		path: "/api/v1/repos/acme/config/commits/" + sha + "/statuses", query: map[string]string{"limit": "50"},
		headers: map[string]string{"Authorization": "token " + token},
		pages: []any{
			[]any{status(7, "build", "success"), status(3, "build", "failure"), status(4, "lint", "success")},
			[]any{status(5, "lint", "error"), status(6, "test", "pending"), status(8, "docs", "warning")},
		},
	})
	got, err := client().State(t.Context(), checks.Query{Repo: host + "/acme/config.git", SHA: sha, Provider: "gitea", Token: token,
		Names: []string{"build", "lint", "test", "docs"}})
	want := map[string]checks.State{"build": checks.Green, "lint": checks.Failed, "test": checks.Pending, "docs": checks.Green}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, states (-want +got):\n%s", err, diff)
	}
}

func client() *checks.Client {
	return checks.New(checks.Options{InsecureHosts: []string{"127.0.0.1"}, Now: func() time.Time { return now }})
}

func TestWhatAnAnswerMeans(t *testing.T) {
	cases := map[string]struct {
		status  int
		headers map[string]string
		body    string
		token   checks.Token
		class   fault.Class
		after   time.Duration
		text    string
	}{
		"an unknown repository":         {status: 404, token: token, class: fault.Permanent, text: "spec.sync.checks.secretRef"},
		"one that shows itself to none": {status: 404, class: fault.Permanent, text: "wants a token"},
		"a refused token":               {status: 401, token: token, class: fault.Permanent, text: "commit statuses"},
		"a token of too few rights":     {status: 403, token: token, headers: map[string]string{"X-RateLimit-Remaining": "12"}, class: fault.Permanent, text: "commit statuses"},
		"no token at all":               {status: 401, class: fault.Permanent, text: "name a Secret"},
		"a spent rate limit": {
			status: 403, token: token, headers: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": fmt.Sprint(now.Add(7 * time.Minute).Unix())},
			class: fault.RetryAfter, after: 7 * time.Minute, text: "too many requests",
		},
		"a second rate limit":         {status: 403, token: token, headers: map[string]string{"Retry-After": "90"}, class: fault.RetryAfter, after: 90 * time.Second},
		"too many requests":           {status: 429, token: token, class: fault.RetryAfter, after: time.Minute},
		"for ever":                    {status: 429, headers: map[string]string{"RateLimit-Reset": "99999999999"}, class: fault.RetryAfter, after: time.Hour},
		"a commit that is not there":  {status: 422, token: token, class: fault.Transient, text: "does not know the commit"},
		"a server that is ill":        {status: 502, token: token, class: fault.Transient, text: "502"},
		"a redirect to another host":  {status: 302, headers: map[string]string{"Location": "http://127.0.0.2:1/api"}, token: token, class: fault.Permanent, text: "redirects"},
		"an answer of something else": {status: 200, body: "<html>", token: token, class: fault.Transient, text: "provider"},
		"an endless answer":           {status: 200, body: `{"statuses":[{"context":"` + strings.Repeat("x", 9<<20) + `"}]}`, token: token, class: fault.Permanent, text: "more than"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for k, v := range c.headers {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body + token))
			}))
			defer server.Close()
			states, err := client().State(t.Context(), checks.Query{Repo: server.URL + "/a/b", SHA: sha, Provider: "github", Token: c.token, Names: []string{"x"}})
			class, after := fault.ClassOf(err)
			if err == nil || states != nil || class != c.class || after != c.after || !strings.Contains(err.Error(), c.text) {
				t.Errorf("states %v, %s after %s: %v", states, class, after, err)
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

// A redirect within the host, as of a repository that was renamed, is followed; no
// other host ever sees the token.
func TestRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("another host was asked for %s with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	to := "/renamed"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/renamed"):
			_, _ = w.Write([]byte(`{"statuses":[{"context":"x","state":"success"}]}`))
		case strings.HasSuffix(r.URL.Path, "/check-runs"):
			_, _ = w.Write([]byte(`{"check_runs":[]}`))
		default:
			http.Redirect(w, r, to, http.StatusMovedPermanently)
		}
	}))
	defer server.Close()
	q := checks.Query{Repo: server.URL + "/a/b", SHA: sha, Provider: "github", Token: token, Names: []string{"x"}}
	states, err := client().State(t.Context(), q)
	if err != nil || states["x"] != checks.Green {
		t.Errorf("states %v: %v", states, err)
	}
	to = elsewhere.URL + "/renamed"
	if _, err := client().State(t.Context(), q); err == nil {
		t.Error("the redirect to another host was followed")
	}
}

func TestEndlessPagesEnd(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Link", `<http://x/>; rel="next"`)
		_, _ = w.Write([]byte(`[]`))
	}))
	defer server.Close()
	_, err := client().State(t.Context(), checks.Query{Repo: server.URL + "/a/b", SHA: sha, Provider: "gitlab", Names: []string{"x"}})
	if err == nil || asked > 20 {
		t.Errorf("after %d pages: %v", asked, err)
	}
}

// Where a repository's API is decides who sees the token.
func TestWhoIsAsked(t *testing.T) {
	cases := map[string]struct {
		repo, provider string
		want           string // of the request that is made
		text           string // of the refusal
	}{
		"github.com":                   {repo: "https://github.com/acme/config.git", want: "https://api.github.com/repos/acme/config/"},
		"github.com over ssh":          {repo: "git@github.com:acme/config.git", want: "https://api.github.com/repos/acme/config/"},
		"github.com over ssh as https": {repo: "ssh://git@ssh.github.com:443/acme/config", want: "https://api.github.com/repos/acme/config/"},
		"a server of its own":          {repo: "https://github.example.com/acme/config", want: "https://github.example.com/api/v3/repos/acme/config/"},
		"with a port":                  {repo: "https://git.example.com:8443/acme/config", provider: "gitea", want: "https://git.example.com:8443/api/v1/repos/acme/config/"},
		"gitlab.com":                   {repo: "https://gitlab.com/acme/team/config.git", want: "https://gitlab.com/api/v4/projects/acme%2Fteam%2Fconfig/"},
		"codeberg":                     {repo: "https://codeberg.org/acme/config", want: "https://codeberg.org/api/v1/repos/acme/config/"},
		"an ssh host is its own":       {repo: "ssh://git@ssh.example.com:22/acme/config", provider: "gitea", want: "https://ssh.example.com/api/v1/repos/acme/config/"},
		"a host that tells nothing":    {repo: "https://git.example.com/acme/config", text: "say github, gitlab or gitea"},
		"a provider of no such name":   {repo: "https://github.com/acme/config", provider: "svn", text: "say github, gitlab or gitea"},
		"a group where there are none": {repo: "https://github.com/acme/team/config", text: "owner and name"},
		"no owner":                     {repo: "https://github.com/config", text: "owner and name"},
		"plain http":                   {repo: "http://github.com/acme/config", text: "plain http"},
		"this machine":                 {repo: "https://localhost/acme/config", provider: "gitea", text: "this machine"},
		"a metadata service":           {repo: "https://169.254.169.254/acme/config", provider: "gitea", text: "link-local"},
		"an artifact":                  {repo: "oci://github.com/acme/config", text: "https and ssh"},
		"a file":                       {repo: "/etc/passwd", text: "https and ssh"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			asked := ""
			client := checks.Through(checks.New(checks.Options{}), func(r *http.Request) (*http.Response, error) {
				asked = r.URL.Scheme + "://" + r.URL.Host + r.URL.EscapedPath()
				return nil, fmt.Errorf("enough")
			})
			_, err := client.State(t.Context(), checks.Query{Repo: c.repo, SHA: sha, Provider: c.provider, Token: token, Names: []string{"x"}})
			switch {
			case err == nil:
				t.Error("it was answered")
			case c.want != "" && !strings.HasPrefix(asked, c.want):
				t.Errorf("asked %q, want %s…; %v", asked, c.want, err)
			case c.want == "" && (asked != "" || !strings.Contains(err.Error(), c.text)):
				t.Errorf("asked %q: %v", asked, err)
			case strings.Contains(err.Error(), token):
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

func TestATokenNeverPrints(t *testing.T) {
	q := checks.Query{Token: token, Repo: "r"}
	encoded, _ := json.Marshal(q)
	for _, text := range []string{fmt.Sprint(q), fmt.Sprintf("%+v %#v %s %q", q, q, q.Token, q.Token), string(encoded)} {
		if strings.Contains(text, token) {
			t.Errorf("printed: %s", text)
		}
	}
}

// Whatever a host answers, the end is states for just the names, or an error.
func FuzzAnswers(f *testing.F) {
	f.Add(`{"statuses":[{"context":"x","state":"success"}],"check_runs":[{"name":"x","status":"completed","conclusion":"success"}]}`, "github")
	f.Add(`[{"id":1,"name":"x","context":"x","status":"success"}]`, "gitlab")
	f.Add(`[{"id":"1"}]`, "gitea")
	f.Fuzz(func(t *testing.T, body, provider string) {
		client := checks.Through(client(), func(r *http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			_, _ = rec.WriteString(body)
			return rec.Result(), nil
		})
		u := url.URL{Scheme: "http", Host: "127.0.0.1:1", Path: "/a/b"}
		states, err := client.State(t.Context(), checks.Query{Repo: u.String(), SHA: sha, Provider: provider, Names: []string{"x"}})
		if err == nil && !slices.Equal(slices.Collect(maps.Keys(states)), []string{"x"}) {
			t.Errorf("states %v", states)
		}
	})
}
