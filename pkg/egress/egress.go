// Package egress is how Plumb speaks HTTP with hosts that a user named: which
// addresses it may reach, what a redirect may lead to, how much is read, and what
// a failure means.
//
// It may import fault only. Refusals are permanent with reason SourceRefused;
// what the network does is transient with reason FetchFailed. No text that a
// server wrote, no query of a URL and no header gets into an error.
package egress

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Policy says which hosts may be spoken to, and how.
type Policy struct {
	InsecureHosts []string       // as in git.insecureHosts: these may be this machine and speak plain http, on any port
	RootCAs       *x509.CertPool // whose certificates are trusted; nil: the system's
	Silence       time.Duration  // the longest wait for a connection and for an answer to begin; default 30 s
}

// Insecure says whether the configuration lists a host, given with or without port.
func (p Policy) Insecure(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	return slices.ContainsFunc(p.InsecureHosts, func(h string) bool { return strings.EqualFold(strings.Trim(h, "[]"), name) })
}

// Check refuses URLs that no request may go to. The error never repeats the URL.
func (p Policy) Check(u *url.URL) error {
	name := strings.ToLower(u.Hostname())
	addr, err := netip.ParseAddr(name)
	literal := err == nil
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse("its scheme is not https")
	case u.User != nil:
		return refuse("it carries a credential; put that into a Secret")
	case name == "":
		return refuse("it names no host")
	case literal && Forbidden(addr):
		return refuse("its host is a link-local or unspecified address")
	case p.Insecure(u.Host):
		return nil
	case u.Scheme == "http":
		return refuse("plain http is only for the hosts in git.insecureHosts")
	case literal && addr.Unmap().IsLoopback(), name == "localhost", strings.HasSuffix(name, ".localhost"):
		return refuse("its host is this machine; only hosts in git.insecureHosts may be")
	}
	return nil
}

func refuse(why string) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{}, "the URL is refused: %s", why)
}

// Forbidden are addresses that no repository has: link-local (where clouds keep
// their metadata service, 169.254.169.254 and fd00:ec2::254), multicast, unspecified.
func Forbidden(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a == netip.MustParseAddr("fd00:ec2::254")
}

// refuseAddress is a net.Dialer's Control: it sees the address that a name led to.
func refuseAddress(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || Forbidden(to.Addr()) {
		return refuse("its host leads to a link-local or unspecified address")
	}
	return nil
}

// Origin is the scheme, host and port that a URL leads to, so that two can be compared.
func Origin(u *url.URL) string {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// Transport checks every request by the policy, those that a redirect makes too.
// A redirect from https to http is refused to whatever host.
func (p Policy) Transport() http.RoundTripper {
	silence := cmp.Or(p.Silence, 30*time.Second)
	dialer := &net.Dialer{Timeout: silence, KeepAlive: 30 * time.Second, Control: refuseAddress}
	return &checked{policy: p, next: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: p.RootCAs, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: silence,
	}}
}

type checked struct {
	policy Policy
	next   http.RoundTripper
}

func (c *checked) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := c.policy.Check(req.URL); err != nil {
		return nil, err
	}
	if from := RedirectedFrom(req); from != nil && from.Scheme == "https" && req.URL.Scheme != "https" {
		return nil, refuse("a redirect leads from https to plain http")
	}
	return c.next.RoundTrip(req)
}

// RedirectedFrom is the URL whose answer led to this request; nil when none did.
func RedirectedFrom(req *http.Request) *url.URL {
	if req.Response == nil || req.Response.Request == nil {
		return nil
	}
	return req.Response.Request.URL
}

// Body reads a body that may have so many bytes, however it was encoded.
func Body(body io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fault.Refuse(fault.SourceRefused, fault.Place{}, "the answer has more than %d bytes", limit)
	}
	return data, nil
}
