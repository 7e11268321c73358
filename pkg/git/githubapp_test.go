package git_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

func TestGitHubAppTokenIsKeptUntilItIsOld(t *testing.T) {
	s, g, c := appSite(t)
	s.wantFile(s.push(map[string]string{"f": "1"}), "f", "1")
	s.credential = g.app(t) // read anew, as for each attempt
	s.wantFile(s.push(map[string]string{"f": "2"}), "f", "2")
	if g.tokens() != 1 {
		t.Errorf("%d tokens were asked for, want 1", g.tokens())
	}
	c.add(54 * time.Minute)
	s.fetch("main")
	if g.tokens() != 1 {
		t.Errorf("%d tokens were asked for with six minutes to go, want 1", g.tokens())
	}
	c.add(2 * time.Minute)
	s.fetch("main")
	if g.tokens() != 2 {
		t.Errorf("%d tokens were asked for with four minutes to go, want 2", g.tokens())
	}
}

func TestGitHubAppTokenThatIsRefusedIsRenewedOnce(t *testing.T) {
	s, g, _ := appSite(t)
	sha := s.push(map[string]string{"f": "1"})
	s.fetch("main")
	g.do(func() { clear(g.good) })
	if c := s.fetch("main"); c.SHA != sha || g.tokens() != 2 {
		t.Errorf("got %s with %d tokens, want %s with 2", c.SHA, g.tokens(), sha)
	}
	g.do(func() {
		clear(g.good)
		g.answer = func(w http.ResponseWriter, _ *http.Request) {
			g.minted++
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"token":"ghs_s3cretbad%d","expires_at":"2027-01-01T00:00:00Z"}`, g.minted)
		}
	})
	_, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: s.credential})
	wantFault(t, err, fault.Permanent, fault.FetchFailed, "token of the GitHub App", "401", s.repo.URL())
	if g.tokens() != 3 {
		t.Errorf("%d tokens were asked for, want 3", g.tokens())
	}
	g.wantNothingTold(t, s, err)
}

// wantNothingTold fails when an error or the log holds a token, a JWT or the key.
func (g *github) wantNothingTold(t *testing.T, s *site, err error) {
	t.Helper()
	secrets := []string{"s3cret"}
	g.do(func() { secrets = append(secrets, g.jwts...) })
	for line := range strings.Lines(string(appKey())) {
		secrets = append(secrets, strings.TrimSpace(line))
	}
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) || s.log.contains(secret) {
			t.Errorf("a secret is told: %v", err)
		}
	}
}

func TestOneTokenIsAskedForAtATime(t *testing.T) {
	s, g, _ := appSite(t)
	s.push(map[string]string{"f": "1"})
	s.git("push", "-q", s.repo.URL(), "main:a", "main:b", "main:c", "main:d")
	release := make(chan struct{})
	var arrived sync.WaitGroup
	arrived.Add(1)
	g.do(func() {
		g.answer = func(w http.ResponseWriter, r *http.Request) {
			arrived.Done() // panics when another comes
			<-release
			g.minted++
			g.good["ghs_s3cret"] = true
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"token":"ghs_s3cret","expires_at":"2027-01-01T00:00:00Z"}`)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var fetches sync.WaitGroup
	for _, ref := range []string{"a", "b", "c"} {
		fetches.Go(func() {
			if _, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: ref, Credential: g.app(t)}); err != nil {
				t.Error(err)
			}
		})
	}
	arrived.Wait()
	given := make(chan error, 1)
	go func() {
		_, err := s.store.Refs(ctx, s.url(), g.app(t))
		given <- err
	}()
	cancel()
	wantFault(t, <-given, fault.Transient, fault.FetchFailed, "GitHub App")
	close(release)
	fetches.Wait()
	if g.tokens() != 1 {
		t.Errorf("%d tokens were asked for, want 1", g.tokens())
	}
}

func TestWhatTheAppAPIAnswers(t *testing.T) {
	other, requests := elsewhere(t)
	moved := func(to string, code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(code)
		}
	}
	body := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
		}
	}
	tests := map[string]struct {
		answer http.HandlerFunc
		class  fault.Class
		reason fault.Reason
		words  []string
	}{
		"401":                               {status(401), fault.Permanent, fault.FetchFailed, []string{"githubAppID and githubAppPrivateKey", "clock"}},
		"404":                               {status(404), fault.Permanent, fault.FetchFailed, []string{"githubAppInstallationID"}},
		"403":                               {status(403), fault.Permanent, fault.FetchFailed, []string{"suspended"}},
		"422":                               {status(422), fault.Permanent, fault.FetchFailed, []string{"422"}},
		"500":                               {status(500), fault.Transient, fault.FetchFailed, []string{"500"}},
		"429":                               {status(429, "Retry-After", "90"), fault.RetryAfter, fault.FetchFailed, []string{"too many"}},
		"403 for too many requests":         {status(403, "X-RateLimit-Remaining", "0"), fault.RetryAfter, fault.FetchFailed, []string{"too many"}},
		"a redirect to another host":        {moved(other+"/x", 307), fault.Permanent, fault.SourceRefused, []string{"redirects to " + other, "githubAppBaseURL"}},
		"a redirect that asks for GET":      {moved(other+"/x", 302), fault.Permanent, fault.SourceRefused, []string{"redirects to " + other}},
		"a redirect on the same host":       {moved("/elsewhere", 308), fault.Permanent, fault.SourceRefused, []string{"redirects"}},
		"a redirect to the metadata server": {moved("http://169.254.169.254/latest", 307), fault.Permanent, fault.SourceRefused, []string{"redirects to http://169.254.169.254"}},
		"a page":                            {body(201, "<html>s3cret"), fault.Transient, fault.FetchFailed, []string{"base URL of the API"}},
		"a token without an end":            {body(201, `{"token":"s3cret"}`), fault.Transient, fault.FetchFailed, []string{"base URL of the API"}},
		"an end without a token":            {body(201, `{"expires_at":"2027-01-01T00:00:00Z"}`), fault.Transient, fault.FetchFailed, nil},
		"200 in place of 201":               {body(200, `{"token":"s3cret","expires_at":"2027-01-01T00:00:00Z"}`), fault.Permanent, fault.FetchFailed, []string{"200"}},
		"an answer without end":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); forever(w) }, fault.Transient, fault.FetchFailed, []string{"more than the limit"}},
		"silence":                           {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, fault.Transient, fault.FetchFailed, []string{"fell silent"}},
		"a connection that is cut":          {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Transient, fault.FetchFailed, nil},
	}
	all, g, c := appSite(t)
	all.push(map[string]string{"f": "1"})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := all.in(t)
			s.dir = t.TempDir()
			s.open(git.Options{Now: c.Now, Stall: 300 * time.Millisecond})
			g.do(func() { g.answer = tt.answer })
			_, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: s.credential})
			wantFault(t, err, tt.class, tt.reason, append(tt.words, "GitHub App", g.api.URL)...)
			g.wantNothingTold(t, s, err)
			if got := requests(); len(got) != 0 || all.server.Lists() > 0 {
				t.Errorf("another server was asked: %q, Git %d times", got, all.server.Lists())
			}
		})
	}
}

func forever(w io.Writer) {
	for {
		if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
			return
		}
	}
}

func TestRedirectsCarryNoTokenElsewhere(t *testing.T) {
	other, requests := elsewhere(t)
	var to redirecting
	to.Store(&redirect{to: other + "/config.git"})
	c := &clock{now: time.Now()}
	g := newGitHub(t, c.Now)
	s := newSite(t, gitserver.Options{Wrap: to.wrap}, git.Options{Now: c.Now})
	u, err := git.ParseURL(s.server.URL("moved"), loopback)
	if err != nil {
		t.Fatal(err)
	}
	for name, credential := range map[string]git.Credential{"a bearer token": git.Bearer("s3cret"), "a GitHub App": g.app(t)} {
		t.Run(name, func(t *testing.T) {
			_, err := s.store.Fetch(t.Context(), git.Query{URL: u, Credential: credential})
			wantFault(t, err, fault.Permanent, fault.SourceRefused, "redirects to "+other)
			g.wantNothingTold(t, s, err)
			if got := requests(); len(got) != 0 {
				t.Errorf("another server was asked: %q", got)
			}
		})
	}
}

func TestGitHubAppsThatAreRefused(t *testing.T) {
	tests := map[string]struct {
		app  git.App
		word string
	}{
		"no id":                       {git.App{InstallationID: "34", PrivateKey: appKey()}, "githubAppID"},
		"an id with a line":           {git.App{ID: "12\n", InstallationID: "34", PrivateKey: appKey()}, "githubAppID"},
		"no installation":             {git.App{ID: "12", PrivateKey: appKey()}, "githubAppInstallationID"},
		"an installation that climbs": {git.App{ID: "12", InstallationID: "../../x", PrivateKey: appKey()}, "githubAppInstallationID"},
		"no key":                      {git.App{ID: "12", InstallationID: "34"}, "githubAppPrivateKey"},
		"a key that is cut off":       {git.App{ID: "12", InstallationID: "34", PrivateKey: appKey()[:400]}, "githubAppPrivateKey"},
		"a key of another kind":       {git.App{ID: "12", InstallationID: "34", PrivateKey: identity(t, edKey(), "")}, "githubAppPrivateKey"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := git.GitHubApp(tt.app)
			wantFault(t, err, fault.Permanent, fault.SourceRefused, tt.word)
			for line := range strings.Lines(string(tt.app.PrivateKey)) {
				if strings.Contains(err.Error(), strings.TrimSpace(line)) {
					t.Errorf("the key is told: %v", err)
				}
			}
		})
	}
}

func TestParseAPI(t *testing.T) {
	for in, want := range map[string]string{
		"https://github.example.com/api/v3/": "https://github.example.com/api/v3",
		"https://API.github.com":             "https://api.github.com",
		"http://127.0.0.1:99/api/v3":         "http://127.0.0.1:99/api/v3",
		"http://github.example.com/api/v3":   "",
		"https://169.254.169.254/latest":     "",
		"https://127.0.0.2/api":              "",
		"https://u:p4ss@github.com/api":      "",
		"https://github.com/api?x=1":         "",
		"https://github.com/../x":            "",
		"file:///etc/passwd":                 "",
		"ssh://git@github.com/api":           "",
		"https:api.github.com":               "",
		"github.com/api/v3":                  "",
		"":                                   "",
	} {
		got, err := git.ParseAPI(in, loopback)
		switch {
		case want == "" && (err == nil || fault.ReasonOf(err) != fault.SourceRefused || strings.Contains(err.Error(), "p4ss")):
			t.Errorf("%q: %v", in, err)
		case want != "" && (err != nil || got.String() != want):
			t.Errorf("%q is %s (%v), want %s", in, got, err, want)
		}
	}
}
