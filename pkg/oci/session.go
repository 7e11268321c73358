package oci

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// session is a conversation with a registry about one repository, with one
// credential. It keeps the token that the registry's token server gave.
type session struct {
	repo  name.Repository
	login login
	guard *guard

	mu     sync.Mutex
	client *http.Client // nil before the first handshake

	// The library renews an identity token without a lock.
	serial sync.Mutex
}

func newSession(repo name.Repository, l login, p egress.Policy, next http.RoundTripper) *session {
	return &session{repo: repo, login: l, guard: &guard{next: next, policy: p, home: repo.RegistryStr(), realms: map[string]bool{}}}
}

// connect shakes hands with the registry once: does it want a credential, and
// which server gives out tokens?
func (s *session) connect(ctx context.Context) (*http.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	auth := authn.Anonymous
	if s.login != (login{}) {
		auth = s.login.authenticator()
	}
	t, err := transport.NewWithContext(ctx, s.repo.Registry, auth, s.guard, []string{s.repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	s.client = &http.Client{Transport: t}
	return s.client, nil
}

// forget makes the next request shake hands again: the registry may have changed
// its mind about who may read.
func (s *session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = nil
}

// send asks for path below /v2/<repository>/. The answer has status 200, or it is a
// classified error.
func (s *session) send(ctx context.Context, q request) (*http.Response, error) {
	res, err := s.try(ctx, q)
	if err != nil {
		return nil, s.explain(q, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	_ = res.Body.Close() // what it says is not repeated
	return nil, s.failure(q, res.StatusCode, res.Header)
}

type request struct {
	doing   string // verb and noun, for errors
	method  string
	path    string
	query   url.Values
	accept  string
	blob    bool   // may lie on another host
	missing string // what 404 means
}

func (s *session) try(ctx context.Context, q request) (*http.Response, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "https", Host: s.repo.RegistryStr(), Path: "/v2/" + s.repo.RepositoryStr() + "/" + q.path, RawQuery: q.query.Encode()}
	if q.blob {
		ctx = context.WithValue(ctx, blobKey{}, true)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if q.accept != "" {
		req.Header.Set("Accept", q.accept)
	}
	if s.login.identity != "" {
		s.serial.Lock()
		defer s.serial.Unlock()
	}
	return client.Do(req)
}

// explain classifies an error; the library hides a token server's status in its own.
func (s *session) explain(q request, err error) error {
	var status *transport.Error
	if errors.As(err, &status) && fault.ReasonOf(err) == "" {
		return s.failure(q, status.StatusCode, nil)
	}
	return egress.Explain(q.doing, err)
}

func (s *session) failure(q request, status int, h http.Header) error {
	denied := "the registry refuses the " + s.login.kind() + "; check the Secret that secretRef or git.credentials names, and that it may read this repository"
	if s.login == (login{}) {
		denied = "the registry wants a credential; name a Secret in secretRef that has one for " + s.repo.RegistryStr() + ", or check the name of the repository"
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		s.forget()
	}
	return egress.Answer{Doing: q.doing, Status: status, Header: h, Now: s.guard.now(), Missing: q.missing, Denied: denied}.Fault()
}

type blobKey struct{}

// redirected is an answer that would lead elsewhere than it may.
func redirected(to *url.URL) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{}, "the registry redirects to %s://%s, which is not followed; name that host in the URL", to.Scheme, to.Host)
}

// guard is the one way out of a session. A credential passes only to the registry
// itself, and to a token server that the registry itself named; only blobs may be
// fetched from elsewhere, without one.
type guard struct {
	next   http.RoundTripper
	policy egress.Policy
	home   string // host[:port]
	clock  clock
	plain  atomic.Bool // it speaks plain http

	mu     sync.Mutex
	realms map[string]bool // origins
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	req = g.withScheme(req)
	if err := g.check(req); err != nil {
		return nil, err
	}
	res, err := g.next.RoundTrip(req)
	if g.mayBePlain(req, err) {
		g.plain.Store(true)
		req = g.withScheme(req)
		res, err = g.next.RoundTrip(req)
	}
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500 {
		_ = res.Body.Close()
		doing := "ask " + req.URL.Scheme + "://" + req.URL.Host
		return nil, egress.Answer{Doing: doing, Status: res.StatusCode, Header: res.Header, Now: g.now()}.Fault()
	}
	g.learn(req, res)
	if !isBlob(req) {
		res.Body = bounded(res.Body, maxAnswer)
	}
	return res, nil
}

// withScheme is for requests to the registry itself: https, whatever the library
// guesses from its name, unless it is known to speak plain http.
func (g *guard) withScheme(req *http.Request) *http.Request {
	scheme := "https"
	if g.plain.Load() {
		scheme = "http"
	}
	if req.URL.Scheme == scheme || !g.atHome(req.URL) || req.Response != nil {
		return req
	}
	req = req.Clone(req.Context())
	req.URL.Scheme = scheme
	return req
}

// mayBePlain says whether to go on over plain http: the configuration lists the
// host, its answer is not TLS but HTTP, and nothing secret was said so far.
func (g *guard) mayBePlain(req *http.Request, err error) bool {
	var header tls.RecordHeaderError
	return errors.As(err, &header) && string(header.RecordHeader[:]) == "HTTP/" && g.policy.Insecure(g.home) &&
		g.atHome(req.URL) && !g.plain.Load() && !carries(req)
}

func (g *guard) atHome(u *url.URL) bool { return strings.EqualFold(u.Host, g.home) }

func isBlob(req *http.Request) bool { return req.Context().Value(blobKey{}) != nil }

func (g *guard) check(req *http.Request) error {
	from := egress.RedirectedFrom(req)
	away := from != nil && egress.Origin(from) != egress.Origin(req.URL)
	if away && !isBlob(req) {
		return redirected(req.URL)
	}
	if !carries(req) || g.atHome(req.URL) || g.isRealm(req.URL) && !away {
		return nil
	}
	return fault.Refuse(fault.SourceRefused, fault.Place{}, "a credential would go to %s://%s, which is neither the registry nor a token server over https that it named", req.URL.Scheme, req.URL.Host)
}

func carries(req *http.Request) bool {
	return req.Header.Get("Authorization") != "" || req.Body != nil && req.Body != http.NoBody
}

func (g *guard) isRealm(u *url.URL) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.realms[egress.Origin(u)]
}

var realm = regexp.MustCompile(`(?i)\brealm="([^"]*)"`)

// learn remembers the token servers that the registry itself names when it asks
// for a credential; distribution specification of docker, "Token Authentication".
func (g *guard) learn(req *http.Request, res *http.Response) {
	if res.StatusCode != http.StatusUnauthorized || !g.atHome(req.URL) {
		return
	}
	for _, challenge := range res.Header.Values("WWW-Authenticate") {
		for _, found := range realm.FindAllStringSubmatch(challenge, -1) {
			if u, err := url.Parse(found[1]); err == nil && u.Scheme == "https" {
				g.mu.Lock()
				g.realms[egress.Origin(u)] = true
				g.mu.Unlock()
			}
		}
	}
}
