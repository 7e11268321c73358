package receiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/webhook"
)

// ServeHTTP answers POST /hooks/<name> and /hooks/<name>/<secret>.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	began := r.opts.Now()
	h, a := r.contained(w, q)
	a.write(w)
	r.metrics.observe(h, a.outcome, r.opts.Now().Sub(began))
}

// contained turns a panic into an answer. What was panicked with may hold
// parts of a payload and is not logged.
func (r *Receiver) contained(w http.ResponseWriter, q *http.Request) (h hook, a answer) {
	defer func() {
		if p := recover(); p != nil {
			r.opts.Log.Error("delivery ended in a panic", "hook", h.name, "kind", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			a = answer{outcome: panicked, reason: "internal error", hangUp: true}
		}
	}()
	name, secret, ok := address(q.URL.Path)
	switch {
	case !ok:
		return h, answer{outcome: misaddress, reason: "no such path; webhooks go to /hooks/<name>", hangUp: true}
	case q.Method != http.MethodPost:
		return h, answer{outcome: misaddress, status: http.StatusMethodNotAllowed, reason: "method is not POST", hangUp: true}
	case !r.gate.enter():
		return h, answer{outcome: busy, reason: "too many deliveries at once", wait: time.Second, hangUp: true}
	}
	defer r.gate.leave()
	return r.take(w, q, name, secret)
}

func address(path string) (name, secret string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/hooks/")
	name, secret, _ = strings.Cut(rest, "/")
	return name, secret, ok && name != ""
}

// take reads the whole body before it looks for the hook: up to the answer 401
// nothing depends on whether there is one.
func (r *Receiver) take(w http.ResponseWriter, q *http.Request, name, secret string) (hook, answer) {
	if encoding := q.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return hook{}, answer{outcome: unsupported, reason: "content encoding is not identity", hangUp: true}
	}
	b, err := r.read(w, q)
	defer b.release()
	if err != nil {
		return hook{}, unread(err)
	}
	in := webhook.Request{Header: q.Header, PathSecret: secret, Body: b.bytes, Received: r.opts.Now()}
	h := r.hooks.find(name)
	if !r.hooks.authentic(h, in) {
		return h, answer{outcome: unauthentic, reason: "no such hook, or the request does not prove its secret"}
	}
	d, err := h.provider.Parse(in)
	switch {
	case errors.Is(err, webhook.ErrMediaType):
		return h, answer{outcome: unsupported, reason: err.Error()}
	case err != nil:
		return h, answer{outcome: malformed, reason: err.Error()}
	}
	return h, r.publish(q.Context(), h, d)
}

func (r *Receiver) read(w http.ResponseWriter, q *http.Request) (*body, error) {
	if q.ContentLength > r.gate.most {
		return &body{gate: r.gate}, errTooLarge
	}
	// The deadline stays while we publish, which does not heed the connection;
	// for the next request the server sets its own. A recorder knows none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(r.opts.Limits.Read))
	return r.gate.read(q.Body)
}

func unread(err error) answer {
	a := answer{outcome: cutShort, reason: "body ended early", hangUp: true}
	switch {
	case errors.Is(err, errTooLarge):
		a.outcome, a.reason = tooLarge, "body is too large"
	case errors.Is(err, errBusy):
		a.outcome, a.reason, a.wait = busy, err.Error(), time.Second
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		a.outcome, a.reason = tooSlow, "body took too long"
	}
	return a
}
