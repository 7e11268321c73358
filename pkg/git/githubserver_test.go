package git_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// github stands in for GitHub: its API, which hands out tokens, and the door of
// its Git server, which wants one.
type github struct {
	t   *testing.T
	api *httptest.Server
	now func() time.Time

	mu     sync.Mutex
	answer http.HandlerFunc // in place of a token
	life   time.Duration
	minted int
	good   map[string]bool // tokens that Git accepts
	shown  []string        // to Git
	jwts   []string
}

func newGitHub(t *testing.T, now func() time.Time) *github {
	t.Helper()
	g := &github{t: t, now: now, life: time.Hour, good: map[string]bool{}}
	g.api = httptest.NewServer(http.HandlerFunc(g.mint))
	t.Cleanup(g.api.Close)
	return g
}

func (g *github) do(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

func (g *github) tokens() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.minted
}

func (g *github) mint(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if wrong := g.check(r); wrong != "" {
		g.t.Errorf("the API is asked wrongly: %s", wrong)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if g.answer != nil {
		g.answer(w, r)
		return
	}
	g.minted++
	token := fmt.Sprintf("ghs_s3cret%d", g.minted)
	g.good[token] = true
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_at": g.now().Add(g.life).UTC().Format(time.RFC3339), "permissions": map[string]string{"contents": "read"}})
}

// check is what GitHub's documentation asks of a request; empty when it is kept.
func (g *github) check(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	jwt, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.Method != http.MethodPost:
		return r.Method
	case r.URL.Path != "/api/v3/app/installations/34/access_tokens" || r.URL.RawQuery != "":
		return r.URL.String()
	case r.Header.Get("Accept") != "application/vnd.github+json":
		return "Accept: " + r.Header.Get("Accept")
	case r.Header.Get("User-Agent") == "", r.Header.Get("X-Github-Api-Version") == "":
		return "no user agent or API version"
	case len(body) > 0 || !bearer:
		return "a body, or no bearer token"
	}
	g.jwts = append(g.jwts, jwt)
	return g.checkJWT(jwt)
}

func (g *github) checkJWT(jwt string) string {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return "no JWT"
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return err.Error()
		}
	}
	var header struct{ Alg, Typ string }
	var claims map[string]any
	if json.Unmarshal(decoded[0], &header) != nil || json.Unmarshal(decoded[1], &claims) != nil || header.Alg != "RS256" || header.Typ != "JWT" {
		return "a JWT of another kind: " + string(decoded[0])
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&rsaKey().PublicKey, crypto.SHA256, sum[:], decoded[2]); err != nil {
		return err.Error()
	}
	issued, _ := claims["iat"].(float64)
	until, _ := claims["exp"].(float64)
	now := float64(g.now().Unix())
	switch {
	case claims["iss"] != "12":
		return fmt.Sprintf("iss is %v", claims["iss"])
	case issued > now || issued < now-120:
		return fmt.Sprintf("iat is %v, now %v", issued, now)
	case until <= now || until > now+600 || until-issued > 600:
		return fmt.Sprintf("exp is %v, now %v", until, now)
	}
	return ""
}

// door lets who shows a good token in.
func (g *github) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, token, _ := r.BasicAuth()
		var ok bool
		g.do(func() { g.shown = append(g.shown, token); ok = user == "x-access-token" && g.good[token] })
		if !ok && !strings.Contains(r.URL.RawQuery+r.URL.Path, "git-receive-pack") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func appKey() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})
}

func (g *github) app(t *testing.T) git.Credential {
	t.Helper()
	api, err := git.ParseAPI(g.api.URL+"/api/v3/", loopback)
	if err != nil {
		t.Fatal(err)
	}
	c, err := git.GitHubApp(git.App{ID: "12", InstallationID: "34", PrivateKey: appKey(), API: api})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// clock is set by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func appSite(t *testing.T) (*site, *github, *clock) {
	t.Helper()
	c := &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	g := newGitHub(t, c.Now)
	s := newSite(t, gitserver.Options{Wrap: g.door}, git.Options{Now: c.Now})
	s.credential = g.app(t)
	return s, g, c
}
