package endpoint

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

const (
	// mending is how long to wait where a person has to change something: the
	// URL is wrong or withdrawn, the channel archived.
	mending = time.Minute
	// longest is the longest wait that the other side may ask for.
	longest = 15 * time.Minute
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 4 << 10
	maxQuote  = 200
)

// judge says what an answer means. What is wrong with the channel and not with
// the message (Slack answers 403, 404 and 410 where a webhook was withdrawn or
// its channel archived) must not use the message up.
func (e *Endpoint) judge(res *http.Response, said string) error {
	status := res.StatusCode
	err := fmt.Errorf("post to the URL in %s: status %d%s", e.file, status, said)
	wait, asked := e.retryAfter(res.Header.Get("Retry-After"))
	switch {
	case status >= 200 && status < 300:
		return nil
	case asked && (status == http.StatusTooManyRequests || status >= 500):
		return fault.After("", wait, "%w", err)
	case status == http.StatusTooManyRequests:
		return fault.After("", mending, "%w", err)
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		return fault.Retry("", "%w; %w", err, ErrUnsure)
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status >= 500:
		return fault.Retry("", "%w", err)
	case status < 400:
		return fault.After("", mending, "%w: redirects are not followed; write where it leads to into the file", err)
	}
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusGone:
		return fault.After("", mending, "%w: the URL is not good (any more); write a good one into the file", err)
	}
	return fault.Refuse("", fault.Place{}, "%w", err)
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3).
func (e *Endpoint) retryAfter(value string) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(e.o.Now())
	} else {
		return 0, false
	}
	return min(max(wait, time.Second), longest), true
}

// conceal quotes what the other side said, without what is secret.
func (s Secrets) conceal(said string) string {
	for _, secret := range []string{s.url.String(), s.url.RequestURI(), s.url.Path, s.url.RawQuery, s.url.User.String(), s.Key} {
		if len(secret) > 1 {
			said = strings.ReplaceAll(said, secret, "(redacted)")
		}
	}
	said = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(said, ""), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if said == "" {
		return ""
	}
	if runes := []rune(said); len(runes) > maxQuote {
		said = string(runes[:maxQuote]) + "…"
	}
	return fmt.Sprintf(", %q", said)
}
