package egress_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

func TestWhichURLsMayBeAskedFor(t *testing.T) {
	p := egress.Policy{InsecureHosts: []string{"git.local", "[::1]"}}
	for raw, want := range map[string]string{
		"https://charts.local/x": "", "https://10.0.0.1": "", "https://[fd00::1]/": "", "http://git.local:8080/": "", "http://GIT.local": "", "http://[::1]:5000": "",
		"http://charts.local":        "plain http",
		"ftp://charts.local":         "scheme",
		"//charts.local":             "scheme",
		"https://u:p@charts.local":   "carries a credential",
		"https:///x":                 "no host",
		"https://127.0.0.1":          "this machine",
		"https://[::ffff:127.0.0.1]": "this machine",
		"https://localhost":          "this machine",
		"https://x.LOCALHOST":        "this machine",
		"https://169.254.169.254":    "link-local",
		"https://[fe80::1%25eth0]":   "link-local",
		"https://[fd00:ec2::254]":    "link-local",
		"https://0.0.0.0":            "unspecified",
		"https://224.0.0.1":          "link-local",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Check(u)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
		if class, _ := fault.ClassOf(err); err != nil && class != fault.Permanent {
			t.Errorf("%s: %v is %s", raw, err, class)
		}
	}
}

func TestOrigins(t *testing.T) {
	for raw, want := range map[string]string{
		"https://A.local/x": "https://a.local:443", "https://a.local:443": "https://a.local:443", "http://a.local": "http://a.local:80", "https://[::1]:5": "https://[::1]:5",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := egress.Origin(u); got != want {
			t.Errorf("%s is %s, want %s", raw, got, want)
		}
	}
}

// A redirect is a request like any other, and never one from https to http.
func TestRedirectsAreChecked(t *testing.T) {
	var to string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	secure, plain := httptest.NewTLSServer(handler), httptest.NewServer(http.NotFoundHandler())
	defer secure.Close()
	defer plain.Close()
	roots := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c := &http.Client{Transport: egress.Policy{InsecureHosts: []string{"127.0.0.1"}, RootCAs: roots}.Transport()}
	for target, want := range map[string]string{
		plain.URL:                 "from https to plain http",
		"http://169.254.169.254/": "link-local",
		"https://localhost:1/":    "this machine",
		"http://charts.local/":    "plain http is only",
	} {
		to = target
		res, err := c.Get(secure.URL)
		if err == nil {
			_ = res.Body.Close()
		}
		if explained := egress.Explain("read x", err); err == nil || !strings.Contains(explained.Error(), want) || fault.ReasonOf(explained) != fault.SourceRefused {
			t.Errorf("%s: %v, want %q", target, explained, want)
		}
	}
}

// Names are checked by where they lead, when the connection is made.
func TestAddressesAreCheckedAtTheConnection(t *testing.T) {
	c := &http.Client{Transport: egress.Policy{InsecureHosts: []string{"0.0.0.0", "localhost"}}.Transport()}
	res, err := c.Get("http://0.0.0.0:1/")
	if err == nil {
		_ = res.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "unspecified address") {
		t.Error(err)
	}
}

func TestWhatAnErrorTells(t *testing.T) {
	signed := "https://blobs.local/x?X-Amz-Signature=canary"
	for name, c := range map[string]struct {
		err   error
		class fault.Class
		want  string
	}{
		"a refusal within a library's error": {&url.Error{Op: "Get", URL: signed, Err: fault.Refuse(fault.SourceRefused, fault.Place{}, "no")}, fault.Permanent, "read x: no"},
		"a deadline":                         {&url.Error{Op: "Get", URL: signed, Err: context.DeadlineExceeded}, fault.Transient, "no answer in time"},
		"an end":                             {&url.Error{Op: "Get", URL: signed, Err: io.ErrUnexpectedEOF}, fault.Transient, "ended early"},
		"plain http":                         {&url.Error{Op: "Get", URL: signed, Err: http.ErrSchemeMismatch}, fault.Transient, "speaks plain http"},
		"what nobody knows":                  {errors.New("no token in bearer response: canary"), fault.Transient, "not one that can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			err := egress.Explain("read x", c.err)
			if class, _ := fault.ClassOf(err); class != c.class || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%v is %s", err, class)
			}
		})
	}
}

func TestABodyHasALimit(t *testing.T) {
	if data, err := egress.Body(strings.NewReader("12345"), 5); err != nil || string(data) != "12345" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := egress.Body(strings.NewReader("123456"), 5); err == nil {
		t.Error("a body over the limit was read")
	}
}

func TestAnAnswerIsAskedForAfterTheCallerCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := egress.Line[int32]{Timeout: time.Minute}
		var asked atomic.Int32
		ask := func(context.Context) (int32, error) {
			n := asked.Add(1)
			time.Sleep(time.Second)
			return n, nil
		}
		var wait sync.WaitGroup
		call := func(want int32) {
			wait.Go(func() {
				if got, err := l.Ask(t.Context(), "x", ask); err != nil || got != want {
					t.Errorf("answer %d, %v; want %d", got, err, want)
				}
			})
			synctest.Wait()
		}
		call(1)
		call(2)
		call(2)
		time.Sleep(1500 * time.Millisecond) // of the bubble's clock: the second is being asked for
		call(3)
		wait.Wait()
		call(4)
		wait.Wait()
	})
}

func TestALineOutlivesWhoLeavesAndWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := egress.Line[int]{Timeout: time.Second}
		ctx, leave := context.WithCancel(t.Context())
		leave()
		if _, err := l.Ask(ctx, "x", func(ctx context.Context) (int, error) { return 1, ctx.Err() }); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait()
		for want, ask := range map[string]func(context.Context) (int, error){
			"panicked": func(context.Context) (int, error) { panic("boom") },
			"deadline": func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
		} {
			if _, err := l.Ask(t.Context(), "x", ask); err == nil || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	})
}
