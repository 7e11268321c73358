// Package endpoint posts JSON to a URL that is a secret and stands in a file.
//
// It owns what all channels have in common: the file, timeouts, retries of
// hiccups, and what an answer means. It imports fault. Errors never hold the
// URL, and are classified for the one message that was posted: permanent, the
// other side takes this message for a bad one; else try again, after a while
// where it said so or where a person has to mend something first. ErrUnsure
// marks those after which the message may have arrived all the same.
package endpoint

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// ErrUnsure says that a message may have arrived: no answer came.
var ErrUnsure = errors.New("it may have arrived")

// Options are tunables; the zero value is what production uses.
type Options struct {
	Timeout time.Duration // of one request; 0: 10 s
	Backoff time.Duration // before the first of two repetitions, doubled; 0: 250 ms
	Now     func() time.Time
}

// Longest returns how long one Post may take.
func (o Options) Longest() time.Duration {
	o = o.withDefaults()
	return 3*o.Timeout + 4*o.Backoff
}

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.Backoff = cmp.Or(o.Backoff, 250*time.Millisecond)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Endpoint is one URL in a file.
type Endpoint struct {
	file   string
	o      Options
	client *http.Client
}

// Secrets is the content of the file.
type Secrets struct {
	url *url.URL
	// Key is the second line, for signatures; empty when there is none.
	Key string
}

// Open reads the file once, so that a bad one is told at the start.
func Open(file string, o Options) (*Endpoint, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.MaxIdleConnsPerHost = 1
	e := &Endpoint{file: file, o: o.withDefaults(), client: &http.Client{
		Transport: transport,
		// A redirect would carry the message to whom nobody chose.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if _, err := e.read(); err != nil {
		return nil, err
	}
	return e, nil
}

// Post sends body as JSON and returns nil once it was accepted with 2xx. headers
// may be nil; it gets the secrets, which are read from the file each time.
func (e *Endpoint) Post(ctx context.Context, body []byte, headers func(Secrets) http.Header) error {
	s, err := e.read()
	if err != nil {
		return fault.After("", mending, "%w", err)
	}
	header := http.Header{}
	if headers != nil {
		header = headers(s)
	}
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "plumb-alerter")
	backoff := retry.WithMaxRetries(2, retry.WithJitterPercent(20, retry.NewExponential(e.o.Backoff)))
	unsure := false
	err = retry.Do(ctx, backoff, func(ctx context.Context) error {
		err := e.once(ctx, s, header, body)
		unsure = unsure || errors.Is(err, ErrUnsure)
		if class, _ := fault.ClassOf(err); err != nil && class == fault.Transient {
			return retry.RetryableError(err)
		}
		return err
	})
	if err != nil && unsure && !errors.Is(err, ErrUnsure) {
		return fmt.Errorf("%w; earlier no answer came: %w", err, ErrUnsure)
	}
	return err
}

func (e *Endpoint) once(ctx context.Context, s Secrets, header http.Header, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, s.url.String(), bytes.NewReader(body))
	if err != nil {
		return fault.After("", mending, "post to the URL in %s: it makes no request", e.file)
	}
	req.Header = header.Clone()
	res, err := e.client.Do(req)
	switch {
	case err != nil && connected.Load():
		return fault.Retry("", "post to the URL in %s: %w; %w", e.file, withoutURL(err), ErrUnsure)
	case err != nil:
		return fault.Retry("", "post to the URL in %s: %w", e.file, withoutURL(err))
	}
	defer res.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return e.judge(res, s.conceal(string(said)))
}

// withoutURL takes the URL out of what net/http returns.
func withoutURL(err error) error {
	var e *url.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Timeout() {
		return fmt.Errorf("no answer in time")
	}
	return e.Err
}
