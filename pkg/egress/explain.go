package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Explain says what an error of an exchange means, as verb and noun have it in
// doing. Of errors that nobody classified it repeats only what this machine made:
// a library's own may hold a signed URL or what a server wrote.
func Explain(doing string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return fmt.Errorf("%s: %w", doing, known)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Retry(fault.FetchFailed, "%s: no answer in time: %w", doing, cancellation(err))
	}
	return fault.Retry(fault.FetchFailed, "%s: %s", doing, own(err))
}

func cancellation(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return context.DeadlineExceeded
}

// own is the part of an error that this machine made.
func own(err error) string {
	var (
		name        *net.DNSError
		op          *net.OpError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the server speaks plain http, which is only for the hosts in git.insecureHosts"
	case errors.As(err, &certificate):
		return certificate.Error()
	case errors.As(err, &authority):
		return authority.Error()
	case errors.As(err, &name):
		return name.Error()
	case errors.As(err, &op):
		return op.Error()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the connection ended early"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the server fell silent"
	}
	return "the server's answer is not one that can be read"
}

// Answer is a status that is none of success, and what to check about it.
type Answer struct {
	Doing   string // verb and noun
	Status  int
	Header  http.Header
	Now     time.Time // for a Retry-After that is a date
	Missing string    // what 404 means here
	Denied  string    // what 401 and 403 mean here
}

// Fault says what the status means.
func (a Answer) Fault() error {
	wait := RetryAfter(a.Header, a.Now)
	switch {
	case a.Status == http.StatusTooManyRequests, wait > 0 && a.Status != http.StatusUnauthorized:
		return fault.After(fault.FetchFailed, max(wait, time.Second), "%s: the server asks to come back later (%d)", a.Doing, a.Status)
	case a.Status >= 500, a.Status == http.StatusRequestTimeout:
		return fault.Retry(fault.FetchFailed, "%s: the server answers %d", a.Doing, a.Status)
	case a.Status == http.StatusNotFound, a.Status == http.StatusGone:
		return refused("%s: %s (%d)", a.Doing, a.Missing, a.Status)
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return refused("%s: %s (%d)", a.Doing, a.Denied, a.Status)
	}
	return refused("%s: the server answers %d", a.Doing, a.Status)
}

func refused(format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{}, format, args...)
}

// RetryAfter reads both forms of the header; RFC 9110, 10.2.3. It is at most an hour.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(value, 10, 16); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), time.Hour)
}
