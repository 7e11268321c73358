package git_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

func TestCredentials(t *testing.T) {
	s := newSite(t, gitserver.Options{Username: "reader", Password: "s3cret"}, git.Options{})
	sha := s.push(map[string]string{"f": "1"})
	tests := map[string]struct {
		credential git.Credential
		words      []string
	}{
		"right ones":                     {credential: git.Basic("reader", "s3cret")},
		"right ones with a line end":     {credential: git.Basic("reader\n", "s3cret\r\n")},
		"none":                           {words: []string{"secretRef", s.repo.URL()}},
		"a wrong password":               {git.Basic("reader", "wr0ng"), []string{"check the Secret", "user name and password", s.repo.URL()}},
		"a token where none is accepted": {git.Bearer("t0ken"), []string{"check the Secret", "bearer token"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: tt.credential})
			if tt.words == nil {
				if err != nil || c.SHA != sha {
					t.Fatalf("got %s (%v), want %s", c.SHA, err, sha)
				}
				return
			}
			wantFault(t, err, fault.Permanent, fault.FetchFailed, tt.words...)
			for _, secret := range []string{"wr0ng", "t0ken", "s3cret"} {
				if strings.Contains(err.Error(), secret) || s.log.contains(secret) {
					t.Errorf("the credential is told: %v", err)
				}
			}
		})
	}
}

func TestCallersWithOtherCredentialsDoNotShareAFetch(t *testing.T) {
	s := newSite(t, gitserver.Options{Username: "reader", Password: "s3cret"}, git.Options{})
	s.push(map[string]string{"f": "1"})
	c, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Credential: git.Basic("reader", "s3cret")})
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"", c.SHA} {
		_, err = s.store.Fetch(t.Context(), git.Query{URL: s.url(), Ref: ref, After: c.Sequence - 1})
		wantFault(t, err, fault.Permanent, fault.FetchFailed, "secretRef")
	}
}

func TestCredentialIsNeverPrinted(t *testing.T) {
	type holder struct {
		Name string
		cred git.Credential
		Open git.Credential
	}
	plain := git.App{ID: "12", InstallationID: "34", PrivateKey: appKey()}
	app, err := git.GitHubApp(plain)
	if err != nil {
		t.Fatal(err)
	}
	known := []byte("h " + string(ssh.MarshalAuthorizedKey(signer(t, edKey()).PublicKey())))
	secrets := []string{"s3cret", fmt.Sprint(appKey()[40:60]), strings.Split(string(appKey()), "\n")[3], strings.Split(string(identity(t, edKey(), passphrase)), "\n")[2], passphrase}
	for name, c := range map[string]git.Credential{
		"basic": git.Basic("user", "s3cret"), "bearer": git.Bearer("s3cret"), "app": app,
		"ssh": sshKey(t, identity(t, edKey(), passphrase), passphrase, known),
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			h := holder{"x", c, c}
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "c", c, "h", h)
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", c, "h", h)
			if err := json.NewEncoder(&out).Encode(h); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%v %+v %#v %s %v %+v %#v", c, c, c, c, h, h, &h)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "app", plain)
			fmt.Fprintf(&out, "%v %+v %#v %v", plain, plain, plain, &plain)
			for _, secret := range secrets {
				if strings.Contains(out.String(), secret) {
					t.Errorf("the secret is in %s", out.String())
				}
			}
		})
	}
}

// elsewhere is a server that must not be contacted.
func elsewhere(t *testing.T) (url string, requests func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization"))
	}))
	t.Cleanup(other.Close)
	return other.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// redirect is an answer for /moved.git.
type redirect struct {
	to   string
	post bool // the request for the pack instead of the first
}

// redirecting answers by the redirect that is set, which tests change.
type redirecting struct{ atomic.Pointer[redirect] }

func (set *redirecting) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, moved := strings.CutPrefix(r.URL.Path, "/moved.git")
		to := set.Load()
		if !moved {
			next.ServeHTTP(w, r)
			return
		}
		if to.post && r.Method == http.MethodGet {
			r.URL.Path = "/config.git" + path
			next.ServeHTTP(w, r)
			return
		}
		_, port, _ := strings.Cut(r.Host, ":")
		w.Header().Set("Location", strings.ReplaceAll(to.to, "PORT", port)+path+"?"+r.URL.RawQuery)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

func TestRedirects(t *testing.T) {
	other, requests := elsewhere(t)
	tests := map[string]struct {
		redirect
		ok bool
	}{
		"to another path of the same server": {redirect{to: "/config.git"}, true},
		"to another server":                  {redirect: redirect{to: other + "/config.git"}},
		"to another server, for the pack":    {redirect: redirect{to: other + "/config.git", post: true}},
		"for the pack, on the same server":   {redirect: redirect{to: "/config.git", post: true}},
		"to the cloud's metadata service":    {redirect: redirect{to: "http://169.254.169.254/latest"}},
		"to a file":                          {redirect: redirect{to: "file:///etc/passwd"}},
		"to another name of the same server": {redirect: redirect{to: "http://localhost:PORT/config.git"}},
		"with a credential in it":            {redirect: redirect{to: "http://u:hunter2@127.0.0.2/x.git"}},
		"to itself, for ever":                {redirect: redirect{to: "/moved.git"}},
	}
	var to redirecting
	all := newSite(t, gitserver.Options{Username: "u", Password: "s3cret", Wrap: to.wrap}, git.Options{})
	sha := all.push(map[string]string{"f": "1"})
	u, err := git.ParseURL(all.server.URL("moved"), loopback)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			to.Store(&tt.redirect)
			s := all.in(t)
			s.dir = t.TempDir()
			s.open(git.Options{})
			c, err := s.store.Fetch(t.Context(), git.Query{URL: u, Credential: git.Basic("u", "s3cret")})
			if tt.ok {
				if err != nil || c.SHA != sha {
					t.Fatalf("got %s (%v), want %s", c.SHA, err, sha)
				}
				return
			}
			wantFault(t, err, fault.Permanent, fault.SourceRefused, "redirect", u.String())
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error tells a credential: %v", err)
			}
			if got := requests(); len(got) != 0 {
				t.Errorf("another server was asked: %q", got)
			}
		})
	}
}
