package git

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// apps keep the installation tokens of GitHub Apps.
type apps struct {
	client *http.Client
	now    func() time.Time

	mu   sync.Mutex
	kept map[string]*installation // by Credential.Key
}

// installation is one App's token; who holds busy may change it.
type installation struct {
	busy  chan struct{}
	token string
	until time.Time
}

// tokenRest is how long before its end a token is not used any more.
const tokenRest = 5 * time.Minute

// maxApps is how many installations are remembered.
const maxApps = 1000

func newApps(client *http.Client, now func() time.Time) *apps {
	return &apps{client: client, now: now, kept: map[string]*installation{}}
}

func (s *apps) installation(key string) *installation {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.kept[key]
	if i == nil {
		if len(s.kept) >= maxApps {
			clear(s.kept) // costs one token each
		}
		i = &installation{busy: make(chan struct{}, 1)}
		s.kept[key] = i
	}
	return i
}

// token is what the App may show to Git: one that is good for a while, but not
// the one that was refused. Errors are classified.
func (s *apps) token(ctx context.Context, c Credential, refused Credential) (Credential, error) {
	i := s.installation(c.Key())
	select {
	case i.busy <- struct{}{}:
	case <-ctx.Done():
		return Credential{}, fault.Retry(fault.FetchFailed, "wait for a token of the GitHub App: %w", context.Cause(ctx))
	}
	defer func() { <-i.busy }()
	stale := refused.secret != nil && refused.secret.password == i.token
	if stale || !s.now().Before(i.until.Add(-tokenRest)) {
		i.token, i.until = "", time.Time{}
		var err error
		if i.token, i.until, err = s.mint(ctx, c.app()); err != nil {
			return Credential{}, err
		}
	}
	return credential(secret{username: "x-access-token", password: i.token, minted: true}), nil
}

// maxMinted is how many bytes of an answer are read.
const maxMinted = 256 << 10

// mint asks for a token: "Create an installation access token for an app" of
// GitHub's REST API.
func (s *apps) mint(ctx context.Context, a *App) (token string, until time.Time, err error) {
	jwt, err := a.jwt(s.now())
	if err != nil {
		return "", time.Time{}, refuseApp("%w", err)
	}
	x := &exchange{limit: maxMinted}
	target := a.API.String() + "/app/installations/" + a.InstallationID + "/access_tokens"
	req, err := http.NewRequestWithContext(x.in(ctx), http.MethodPost, target, http.NoBody)
	if err != nil {
		return "", time.Time{}, refuseApp("%w", err)
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	req.Header.Set("Authorization", "Bearer "+jwt)
	req.Header.Set("User-Agent", "plumb")
	res, err := s.client.Do(req)
	if err != nil {
		return "", time.Time{}, a.failed(ctx, x, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusCreated {
		return "", time.Time{}, a.status(x, res.Header)
	}
	return a.read(ctx, x, res.Body)
}

func (a *App) read(ctx context.Context, x *exchange, body io.Reader) (string, time.Time, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return "", time.Time{}, a.failed(ctx, x, err)
	}
	var answer struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Token == "" || answer.ExpiresAt.IsZero() {
		return "", time.Time{}, a.retry("the answer is no token; is %s the base URL of the API?", a.API)
	}
	return answer.Token, answer.ExpiresAt, nil
}

func (a *App) retry(format string, args ...any) error {
	return fault.Retry(fault.FetchFailed, "get a token of the GitHub App from %s: "+format, append([]any{a.API}, args...)...)
}

func (a *App) refuse(reason fault.Reason, format string, args ...any) error {
	return fault.Refuse(reason, fault.Place{Field: "spec.source.secretRef"}, "get a token of the GitHub App from %s: "+format, append([]any{a.API}, args...)...)
}

// failed says what an error of the request means. The text of the HTTP client is
// made anew: it holds the URL only, but nobody promises that.
func (a *App) failed(ctx context.Context, x *exchange, err error) error {
	if cause := x.why(); cause != nil {
		err = cause
	}
	var redirect *redirectError
	var request *url.Error
	switch {
	case ctx.Err() != nil:
		return a.retry("%w", context.Cause(ctx))
	case errors.As(err, &redirect):
		return a.refuse(fault.SourceRefused, "%w, which is not followed; set githubAppBaseURL to where it moved", redirect)
	case errors.Is(err, errForbidden):
		return a.refuse(fault.SourceRefused, "%w", errForbidden)
	case errors.As(err, &request):
		err = request.Err
	}
	return a.retry("%s", oneLine(err.Error()))
}

// status says what a refusal means.
func (a *App) status(x *exchange, h http.Header) error {
	wait := max(x.after, 0)
	switch {
	case x.status/100 == 3:
		return a.refuse(fault.SourceRefused, "the server redirects to another address (%d), which is not followed", x.status)
	case x.status == http.StatusTooManyRequests, x.status == http.StatusForbidden && (wait > 0 || h.Get("X-Ratelimit-Remaining") == "0"):
		return fault.After(fault.FetchFailed, max(wait, time.Minute), "get a token of the GitHub App from %s: too many requests (%d)", a.API, x.status)
	case x.status >= 500:
		return a.retry("the server answers %d", x.status)
	case x.status == http.StatusUnauthorized:
		return a.refuse(fault.FetchFailed, "the server does not know the App (401); check githubAppID and githubAppPrivateKey, and this machine's clock")
	case x.status == http.StatusNotFound:
		return a.refuse(fault.FetchFailed, "the App has no such installation (404); check githubAppInstallationID and githubAppBaseURL")
	case x.status == http.StatusForbidden:
		return a.refuse(fault.FetchFailed, "the installation is suspended or may not be used (403)")
	}
	return a.refuse(fault.FetchFailed, "the server answers %d", x.status)
}
