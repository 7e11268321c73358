package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/plumb-gitops/plumb/pkg/egress"
)

// Reasons for which the guard ends a request.
var (
	errStalled   = errors.New("the server fell silent")
	errTooBig    = errors.New("the server sent more than the limit")
	errForbidden = errors.New("the host leads to a link-local or unspecified address")
)

// redirectError is a redirect that is not followed.
type redirectError struct{ to string }

func (e *redirectError) Error() string { return "the server redirects to " + e.to }

// refuseAddress is a net.Dialer's Control: it sees the address that a name led
// to, so that a name cannot lead where an address may not.
func refuseAddress(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || egress.Forbidden(to.Addr()) {
		return errForbidden
	}
	return nil
}

// newTransport is net/http's with the address check.
func newTransport(stall time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: stall, KeepAlive: 30 * time.Second, Control: refuseAddress}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// stayHome follows a redirect only to another path of the same origin, and only
// of the first request: the pack request would carry what was negotiated elsewhere.
func stayHome(req *http.Request, via []*http.Request) error {
	from := via[0]
	same := from.URL.Scheme == req.URL.Scheme && strings.EqualFold(from.URL.Host, req.URL.Host)
	if !same || from.Method != http.MethodGet || len(via) > 3 {
		to := req.URL.Scheme + "://" + req.URL.Host + strings.TrimSuffix(req.URL.Path, "/info/refs")
		return &redirectError{to: to[:min(len(to), 200)]}
	}
	return nil
}

// exchange is one request of a fetch with its response: what the guard may let
// through and what it saw. go-git drops both from its errors.
type exchange struct {
	limit  int64 // bytes of the body
	status int
	after  time.Duration // of Retry-After
	kind   string        // content type

	mu    sync.Mutex
	cause error // why the guard ended it
}

type exchangeKey struct{}

func (x *exchange) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// end records why the exchange failed; the first reason stands.
func (x *exchange) end(err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause == nil && err != io.EOF {
		x.cause = err
	}
	return err
}

func (x *exchange) why() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cause
}

// guard bounds every response in silence and size.
type guard struct {
	next  http.RoundTripper
	stall time.Duration
}

// maxErrorBody is how much of an error response is read at all.
const maxErrorBody = 4 << 10

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	x, ok := req.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("request outside of an exchange")
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	silence := time.AfterFunc(g.stall, func() { cancel(errStalled) })
	res, err := g.next.RoundTrip(req.WithContext(ctx))
	silence.Stop()
	if err != nil {
		err = x.end(g.cause(ctx, err))
		cancel(nil)
		return nil, err
	}
	x.status, x.kind, x.after = res.StatusCode, res.Header.Get("Content-Type"), retryAfter(res.Header)
	left := x.limit
	if res.StatusCode/100 != 2 {
		left = maxErrorBody
	}
	res.Body = &guardedBody{body: res.Body, guard: g, exchange: x, ctx: ctx, cancel: cancel, silence: silence, left: left}
	return res, nil
}

// cause puts silence in the place of the cancellation it led to.
func (g *guard) cause(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w for %s", errStalled, g.stall)
	}
	return err
}

// retryAfter reads the form in seconds, which Git hosts use; RFC 9110, 10.2.3.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

type guardedBody struct {
	body     io.ReadCloser
	guard    *guard
	exchange *exchange
	ctx      context.Context // of the request, to tell why it ended
	cancel   context.CancelCauseFunc
	silence  *time.Timer
	left     int64
}

func (b *guardedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.atLimit()
	}
	n, err := b.read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// read stops the clock while nothing is read: time spent on what came is not
// the server's.
func (b *guardedBody) read(p []byte) (int, error) {
	b.silence.Reset(b.guard.stall)
	n, err := b.body.Read(p)
	b.silence.Stop()
	if err != nil {
		err = b.exchange.end(b.guard.cause(b.ctx, err))
	}
	return n, err
}

// atLimit tells a body that just fits from one that goes on.
func (b *guardedBody) atLimit() error {
	if n, err := b.read(make([]byte, 1)); n == 0 && err != nil {
		return err
	}
	return b.exchange.end(fmt.Errorf("%w of %d bytes", errTooBig, b.exchange.limit))
}

func (b *guardedBody) Close() error {
	b.silence.Stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}
