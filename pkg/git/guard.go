package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
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

// forbidden are addresses that no repository has: link-local (where clouds keep
// their metadata service, 169.254.169.254 and fd00:ec2::254), multicast, unspecified.
func forbidden(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a == netip.MustParseAddr("fd00:ec2::254")
}

// refuseAddress is a net.Dialer's Control: it sees the address that a name led
// to, so that a name cannot lead where an address may not.
func refuseAddress(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || forbidden(to.Addr()) {
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
		return &redirectError{to: req.URL.Scheme + "://" + req.URL.Host + strings.TrimSuffix(req.URL.Path, "/info/refs")}
	}
	return nil
}

// allowance is how many bytes of a response's body are read; it travels in the
// request's context.
type allowance struct{}

func allow(ctx context.Context, bytes int64) context.Context {
	return context.WithValue(ctx, allowance{}, bytes)
}

// guard bounds every response in silence and size.
type guard struct {
	next  http.RoundTripper
	stall time.Duration
}

// maxErrorBody is how much of an error response is read at all.
const maxErrorBody = 4 << 10

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	silence := time.AfterFunc(g.stall, func() { cancel(errStalled) })
	res, err := g.next.RoundTrip(req.WithContext(ctx))
	silence.Stop()
	if err != nil {
		defer cancel(nil)
		if errors.Is(context.Cause(ctx), errStalled) {
			return nil, fmt.Errorf("%w for %s", errStalled, g.stall)
		}
		return nil, err
	}
	left, _ := req.Context().Value(allowance{}).(int64)
	if res.StatusCode/100 != 2 {
		left = maxErrorBody
	}
	res.Body = &guardedBody{body: res.Body, ctx: ctx, cancel: cancel, silence: silence, stall: g.stall, left: left}
	return res, nil
}

type guardedBody struct {
	body    io.ReadCloser
	ctx     context.Context // of the request, to tell why it ended
	cancel  context.CancelCauseFunc
	silence *time.Timer
	stall   time.Duration
	left    int64
}

func (b *guardedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.atLimit()
	}
	b.silence.Reset(b.stall)
	n, err := b.body.Read(p[:min(int64(len(p)), b.left)])
	b.silence.Stop() // time spent on what came is not the server's
	b.left -= int64(n)
	if err != nil && errors.Is(context.Cause(b.ctx), errStalled) {
		err = fmt.Errorf("%w for %s", errStalled, b.stall)
	}
	return n, err
}

// atLimit tells a body that just fits from one that goes on.
func (b *guardedBody) atLimit() error {
	var one [1]byte
	b.silence.Reset(b.stall)
	n, err := b.body.Read(one[:])
	b.silence.Stop()
	if n == 0 && err != nil {
		return err
	}
	return errTooBig
}

func (b *guardedBody) Close() error {
	b.silence.Stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}
