package oci_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/oci"
)

func TestWhatAFailureMeans(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	r.publish(t, "y", flux(t, map[string]string{"a": "2"}), "main")
	answer := func(status int, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, q *http.Request) bool {
			if q.URL.Path == "/v2/" {
				return true
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			fmt.Fprint(w, "canary-of-the-body")
			return false
		}
	}
	for name, c := range map[string]struct {
		door  func(http.ResponseWriter, *http.Request) bool
		class fault.Class
		after time.Duration
		want  string
	}{
		"not there":                       {answer(404), fault.Permanent, 0, "check the repository and the ref"},
		"no credential":                   {answer(401), fault.Permanent, 0, "wants a credential; name a Secret in secretRef"},
		"forbidden":                       {answer(403), fault.Permanent, 0, "wants a credential"},
		"too many":                        {answer(429, "Retry-After", "7"), fault.RetryAfter, 7 * time.Second, "come back later (429)"},
		"too many, until":                 {answer(429, "Retry-After", now.Add(time.Minute).Format(http.TimeFormat)), fault.RetryAfter, time.Minute, "come back later"},
		"too many, for a year":            {answer(429, "Retry-After", now.Add(9000*time.Hour).Format(http.TimeFormat)), fault.RetryAfter, time.Hour, "come back later"},
		"too many, and no more":           {answer(429), fault.RetryAfter, time.Second, "come back later"},
		"down":                            {answer(503), fault.Transient, 0, "answers 503"},
		"down for a while":                {answer(503, "Retry-After", "9"), fault.RetryAfter, 9 * time.Second, "come back later"},
		"a teapot":                        {answer(418), fault.Permanent, 0, "answers 418"},
		"cut off":                         {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, fault.Transient, 0, "fetch oci://"},
		"a redirect round and round":      {answer(307, "Location", "/v2/x/manifests/main"), fault.Transient, 0, "not one that can be read"},
		"a challenge of an unknown kind":  {answer(401, "WWW-Authenticate", `Negotiate`), fault.Permanent, 0, "wants a credential"},
		"a registry that is down at once": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return false }, fault.Transient, 0, "answers 500"},
		"no registry at all":              {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return false }, fault.Permanent, 0, "check the repository"},
	} {
		t.Run(name, func(t *testing.T) {
			r.guard(c.door)
			_, err := client(oci.Options{Now: func() time.Time { return now }}).Fetch(t.Context(), oci.Query{URL: r.url("x"), Ref: "main"})
			fails(t, err, c.class, c.want)
			if _, after := fault.ClassOf(err); after != c.after {
				t.Errorf("%v waits %s, want %s", err, after, c.after)
			}
			if strings.Contains(fmt.Sprint(err), "canary") {
				t.Errorf("%v repeats what the server wrote", err)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		s := serve(t, true, nil)
		s.Close()
		_, err := client(oci.Options{}).Fetch(t.Context(), oci.Query{URL: "oci://" + s.host() + "/x"})
		fails(t, err, fault.Transient, "connection refused")
	})
	t.Run("silence", func(t *testing.T) {
		quit := make(chan struct{})
		defer close(quit)
		r.guard(func(http.ResponseWriter, *http.Request) bool { <-quit; return false })
		_, err := client(oci.Options{Timeout: 100 * time.Millisecond}).Fetch(t.Context(), oci.Query{URL: r.url("x")})
		fails(t, err, fault.Transient, "no answer in time")
	})
	t.Run("a certificate that nobody trusts", func(t *testing.T) {
		r.guard(nil)
		_, err := oci.New(oci.Options{InsecureHosts: []string{"localhost"}}).Fetch(t.Context(), oci.Query{URL: strings.Replace(r.url("x"), "127.0.0.1", "localhost", 1)})
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Error(err)
		}
	})
	t.Run("a caller who leaves", func(t *testing.T) {
		ctx, cancel := contextWithCause(t, errors.New("superseded"))
		cancel()
		_, err := client(oci.Options{}).Fetch(ctx, oci.Query{URL: r.url("x"), Ref: "main"})
		if class, _ := fault.ClassOf(err); err == nil || class != fault.Transient {
			t.Error(err)
		}
	})
}

func TestURLsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ url, want string }{
		"another scheme":            {"https://registry.local/x", "not of the form"},
		"no host":                   {"oci:///x", "names no host"},
		"no repository":             {"oci://registry.local", "not the name of a repository"},
		"a credential":              {"oci://user:canary@registry.local/x", "carries a credential"},
		"a tag":                     {"oci://registry.local/x:v1", "go into ref"},
		"a digest":                  {"oci://registry.local/x@sha256:" + strings.Repeat("0", 64), "go into ref"},
		"capitals":                  {"oci://registry.local/Config", "not the name of a repository"},
		"a path that leaves":        {"oci://registry.local/../v2/x", "not the name of a repository"},
		"a path with an escape":     {"oci://registry.local/x%2f..%2fy", "not the name of a repository"},
		"a query":                   {"oci://registry.local/x?a=b", "not of the form"},
		"the metadata service":      {"oci://169.254.169.254/x", "link-local"},
		"this machine":              {"oci://127.0.0.1:5000/x", "git.insecureHosts"},
		"this machine by name":      {"oci://localhost:5000/x", "git.insecureHosts"},
		"this machine in version 6": {"oci://[::1]:5000/x", "git.insecureHosts"},
		"everywhere":                {"oci://0.0.0.0/x", "unspecified"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := oci.New(oci.Options{}).Fetch(t.Context(), oci.Query{URL: c.url})
			fails(t, err, fault.Permanent, c.want)
			if strings.Contains(fmt.Sprint(err), "canary") {
				t.Error(err)
			}
		})
	}
}
