// Package checks asks Git hosts whether the required checks of a commit are green:
// commit statuses, and check runs where a host has them.
//
// It may import egress and fault. A host that must not be asked, does not know the
// commit or refuses the token is a permanent fault; what the network or a rate limit
// does passes. No token and no text of a server gets into an error.
package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// State is what became of one check. The zero value lets nothing through.
type State int

// States of a check, the one that decides where several have its name last.
const (
	Missing State = iota // the host knows no check of this name
	Green
	Pending
	Failed
)

func (s State) String() string { return [...]string{"missing", "green", "pending", "failed"}[s] }

// Token is what an API is asked with; it never prints itself.
type Token string

func (Token) String() string { return "token" }

// GoString is String.
func (Token) GoString() string { return "token" }

// MarshalText is String, so that no encoder writes the token.
func (Token) MarshalText() ([]byte, error) { return []byte("token"), nil }

// Query is one question.
type Query struct {
	Repo     string // URL of the repository: https, http (of insecure hosts) or ssh
	SHA      string // full
	Provider string // github, gitlab or gitea; empty: by the host of Repo
	Token    Token  // empty: anonymous
	Names    []string
}

// Options are the tunables of a Client.
type Options struct {
	InsecureHosts []string      // as in git.insecureHosts
	Timeout       time.Duration // of one question; default 20 s
	Now           func() time.Time
}

// Client asks.
type Client struct {
	o      Options
	policy egress.Policy
	next   http.RoundTripper
}

// New sends no request.
func New(o Options) *Client {
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	policy := egress.Policy{InsecureHosts: o.InsecureHosts}
	return &Client{o: o, policy: policy, next: policy.Transport()}
}

// State tells the state of each of the names. A name that several checks have is
// as the worst of them.
func (c *Client) State(ctx context.Context, q Query) (map[string]State, error) {
	h, err := hostOf(q)
	if err != nil {
		return nil, err
	}
	if err := c.policy.Check(h.base); err != nil {
		return nil, fmt.Errorf("read checks: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	states := make(map[string]State, len(q.Names))
	for _, name := range q.Names {
		states[name] = Missing
	}
	a := &asking{client: c, host: h, token: q.Token, states: states}
	if err := h.ask(ctx, a, q.SHA); err != nil {
		return nil, err
	}
	return states, nil
}

// asking is one question under way.
type asking struct {
	client *Client
	host   host
	token  Token
	states map[string]State
}

// see notes a check; those that nobody asked for do not matter.
func (a *asking) see(name string, s State) {
	if known, wanted := a.states[name]; wanted {
		a.states[name] = max(known, s)
	}
}

const (
	maxPages = 20
	maxBody  = 8 << 20
)

// pages reads the pages of a list until there is no next one. Where that is is for
// us to say: a link of the server is no address to ask.
func (a *asking) pages(ctx context.Context, where string, query url.Values, read func([]byte) error) error {
	for page := 1; page <= maxPages; page++ {
		query.Set("page", fmt.Sprint(page))
		body, more, err := a.page(ctx, where, query)
		if err != nil {
			return err
		}
		if err := read(body); err != nil {
			return fault.Retry(fault.FetchFailed, "%s: the answer is none that %s gives; is spec.sync.checks.provider right?", a.doing(), a.host.provider)
		}
		if !more {
			return nil
		}
	}
	return fault.Refuse(fault.SourceRefused, fault.Place{Field: "spec.sync.checks"}, "%s: the commit has more checks than %d pages hold", a.doing(), maxPages)
}

func (a *asking) doing() string { return "read checks from " + a.host.base.Host }

func (a *asking) page(ctx context.Context, where string, query url.Values) (body []byte, more bool, err error) {
	u := *a.host.base
	u.RawPath, u.RawQuery = path.Join(u.EscapedPath(), where), query.Encode()
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return nil, false, fault.Refuse(fault.SourceRefused, fault.Place{}, "%s: the repository's path cannot be asked for", a.doing())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, false, fault.Refuse(fault.SourceRefused, fault.Place{}, "%s: the URL cannot be asked for", a.doing())
	}
	req.Header.Set("User-Agent", "plumb")
	for name, value := range a.host.headers(a.token) {
		req.Header.Set(name, value)
	}
	res, err := a.http().Do(req)
	if err != nil {
		return nil, false, egress.Explain(a.doing(), err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, false, a.refused(res)
	}
	if body, err = egress.Body(res.Body, maxBody); err != nil {
		return nil, false, egress.Explain(a.doing(), err)
	}
	return body, hasNext(res.Header), nil
}

// http follows a few redirects within the host, as for a repository that was
// renamed, and none to another.
func (a *asking) http() *http.Client {
	return &http.Client{Transport: a.client.next, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > 3 || egress.Origin(req.URL) != egress.Origin(a.host.base) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// hasNext reads the Link header (RFC 8288), which all of these hosts page with.
func hasNext(h http.Header) bool {
	for _, link := range h.Values("Link") {
		for _, one := range strings.Split(link, ",") {
			if strings.Contains(one, `rel="next"`) || strings.HasSuffix(strings.TrimSpace(one), "rel=next") {
				return true
			}
		}
	}
	return false
}

// refused says what a status that is none of success means.
func (a *asking) refused(res *http.Response) error {
	spent := res.Header.Get("X-Ratelimit-Remaining") == "0" || res.Header.Get("Ratelimit-Remaining") == "0"
	switch status := res.StatusCode; {
	case status/100 == 3:
		return fault.Refuse(fault.SourceRefused, fault.Place{}, "%s: the server redirects to another host (%d), which is not followed; name the repository as it is called now", a.doing(), status)
	case status == http.StatusTooManyRequests, status == http.StatusForbidden && spent:
		return fault.After(fault.FetchFailed, a.reset(res.Header), "%s: too many requests (%d)", a.doing(), status)
	case status == http.StatusUnprocessableEntity:
		// GitHub's answer for a commit that it does not know, or not yet.
		return fault.Retry(fault.FetchFailed, "%s: the server does not know the commit (%d)", a.doing(), status)
	}
	denied := "the server refuses the token; give one that may read commit statuses in spec.sync.checks.secretRef"
	missing := "the server has no such repository or commit, or the token may not see it; check spec.sync.checks.secretRef and provider"
	if a.token == "" {
		denied = "the server wants a token; name a Secret with one in spec.sync.checks.secretRef"
		missing = "the server has no such repository or commit, or wants a token to show it; name a Secret with one in spec.sync.checks.secretRef"
	}
	return egress.Answer{Doing: a.doing(), Status: res.StatusCode, Header: res.Header, Now: a.client.o.Now(), Missing: missing, Denied: denied}.Fault()
}

// reset is when a rate limit ends: a minute at least, an hour at most.
func (a *asking) reset(h http.Header) time.Duration {
	wait := egress.RetryAfter(h, a.client.o.Now())
	for _, name := range []string{"X-Ratelimit-Reset", "Ratelimit-Reset"} {
		var at int64
		if _, err := fmt.Sscan(h.Get(name), &at); err == nil {
			wait = max(wait, time.Unix(at, 0).Sub(a.client.o.Now()))
		}
	}
	return min(max(wait, time.Minute), time.Hour)
}

func decode[T any](body []byte, each func(T)) error {
	var list T
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	each(list)
	return nil
}
