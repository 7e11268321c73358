package alerttest

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Notifier is a channel under test.
type Notifier interface {
	Notify(ctx context.Context, m alert.Message) error
}

// Open makes a channel whose URL stands in a file.
type Open func(file string, o endpoint.Options) (Notifier, error)

// secretPath is the part of the URL that nobody may see.
const secretPath = "/services/T0/B0/s3cretT0ken"

var fast = endpoint.Options{Timeout: 250 * time.Millisecond, Backoff: time.Millisecond}

// Conform holds a channel to what every channel has to do.
func Conform(t *testing.T, open Open, check Check) {
	t.Run("delivers every kind of message", func(t *testing.T) { delivers(t, open, check) })
	t.Run("tells what an answer means", func(t *testing.T) { judges(t, open, check) })
	t.Run("reads its file again", func(t *testing.T) { rereads(t, open, check) })
	t.Run("follows no redirect", func(t *testing.T) { stays(t, open, check) })
	t.Run("reads no answer without end", func(t *testing.T) { stops(t, open, check) })
	t.Run("knows what cannot have arrived", func(t *testing.T) { knows(t, open, check) })
	t.Run("ends when asked to", func(t *testing.T) { ends(t, open, check) })
	t.Run("refuses a bad file without repeating it", func(t *testing.T) { refuses(t, open) })
}

type rig struct {
	*Server
	file string
	Notifier
}

func setUp(t *testing.T, open Open, check Check) rig {
	t.Helper()
	s := NewServer(check)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "url")
	write(t, file, s.URL+secretPath+"\n")
	n, err := open(file, fast)
	if err != nil {
		t.Fatal(err)
	}
	return rig{s, file, n}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Incident is one as they are, to be changed by the caller.
func Incident() *eventsv1.Incident {
	at := time.Date(2026, 9, 14, 10, 30, 0, 0, time.UTC)
	return &eventsv1.Incident{
		Id: "prod/team-a/web", Cluster: "prod", Namespace: "team-a", Name: "web", State: alert.Open,
		Reason: string(fault.RenderFailed), Stage: "render", Message: "apps/web/deploy.yaml:7: no field \"replcas\"\nknown here: replicas",
		Revision: strings.Repeat("0123456789abcdef", 3)[:40], Repo: "https://github.com/Acme/config.git", Attempt: 12,
		Trace: "4bf92f3577b34da6a3ce929d0e0e4736", OpenedAt: timestamppb.New(at), ChangedAt: timestamppb.New(at.Add(90 * time.Second)),
	}
}

// Hostile are incidents whose texts want to be more than text.
func Hostile() map[string]*eventsv1.Incident {
	all := map[string]*eventsv1.Incident{}
	for name, evil := range map[string]string{
		"mentions":         "<!channel> <@U123> <#C123> @here &lt;!everyone&gt;",
		"links":            "<https://evil.example|click> https://evil.example javascript:alert(1)",
		"line ends":        "a\r\nX-Evil: 1\r\n\r\nb\u2028c\u0085d",
		"code":             "```\nout of code\n``` `a` ```",
		"control":          "\x00\x1b[2J\x7f\u202egnp.exe\u2066",
		"broken UTF-8":     "a\xff\xc3",
		"huge":             strings.Repeat("<&>`漢🔥", 60_000),
		"one long line":    strings.Repeat("x", 100_000),
		"emoji":            strings.Repeat("🔥", 5000),
		"templates":        "{{.Secret}} ${HOME} %s%n",
		"nothing":          "",
		"only white space": " \n\t\r\n ",
	} {
		i := Incident()
		i.Cluster, i.Namespace, i.Name, i.Id = evil, evil, evil, evil
		i.Reason, i.Stage, i.Message, i.Revision, i.Repo, i.Trace = evil, evil, evil, evil, evil, evil
		all[name] = i
		linked := Incident()
		linked.Repo = "https://github.com/" + strings.ToValidUTF8(evil, "")
		all[name+" in the repository"] = linked
	}
	return all
}

func delivers(t *testing.T, open Open, check Check) {
	all := Hostile()
	all["plain"] = Incident()
	all["as little as can be"] = &eventsv1.Incident{}
	n := 0
	r := setUp(t, open, check)
	for name, i := range all {
		for _, state := range []string{alert.Opened, alert.Recovered} {
			if err := r.Notify(t.Context(), alert.MessageOf(i, state)); err != nil {
				t.Errorf("%s, %s: %v", name, state, err)
			}
			n++
		}
	}
	if got := len(r.Accepted()); got != n {
		t.Errorf("%d accepted of %d: %v", got, n, r.Refused())
	}
}

type judgement struct {
	replies  []Reply
	class    fault.Class
	wait     time.Duration
	accepted bool
	requests int
	unsure   bool // nobody knows whether it arrived
}

func judges(t *testing.T, open Open, check Check) {
	const mending = time.Minute
	soon := time.Now().Add(90 * time.Second)
	for sentence, c := range map[string]judgement{
		"accepted":                                 {nil, 0, 0, true, 1, false},
		"an error that passes is tried over":       {[]Reply{Status(500), Status(502)}, 0, 0, true, 3, false},
		"a cut connection is tried over":           {[]Reply{Cut}, 0, 0, true, 2, false},
		"no answer is tried over":                  {[]Reply{Hang}, 0, 0, true, 2, false},
		"errors that last are transient":           {[]Reply{Status(500), Status(500), Status(500)}, fault.Transient, 0, false, 3, false},
		"connections cut thrice are transient":     {[]Reply{Cut, Cut, Cut}, fault.Transient, 0, false, 3, true},
		"no answers at all are transient":          {[]Reply{Hang, Hang, Hang}, fault.Transient, 0, false, 3, true},
		"too many, with seconds":                   {[]Reply{Status(429, "Retry-After", "7")}, fault.RetryAfter, 7 * time.Second, false, 1, false},
		"too many, with a date":                    {[]Reply{Status(429, "Retry-After", soon.UTC().Format(http.TimeFormat))}, fault.RetryAfter, 90 * time.Second, false, 1, false},
		"too many, without a time":                 {[]Reply{Status(429)}, fault.RetryAfter, mending, false, 1, false},
		"too many, with nonsense":                  {[]Reply{Status(429, "Retry-After", "soon")}, fault.RetryAfter, mending, false, 1, false},
		"too many, for longer than is sensible":    {[]Reply{Status(429, "Retry-After", "99999999")}, fault.RetryAfter, 15 * time.Minute, false, 1, false},
		"too many, for no time at all":             {[]Reply{Status(429, "Retry-After", "0")}, fault.RetryAfter, time.Second, false, 1, false},
		"unavailable, with seconds":                {[]Reply{Status(503, "Retry-After", "3")}, fault.RetryAfter, 3 * time.Second, false, 1, false},
		"unavailable, without":                     {[]Reply{Status(503)}, 0, 0, true, 2, false},
		"a request that took too long":             {[]Reply{Status(408)}, 0, 0, true, 2, false},
		"a gateway that gives up leaves it unsure": {[]Reply{Status(504), Status(504), Status(504)}, fault.Transient, 0, false, 3, true},
		"no answer, and then one that is no good":  {[]Reply{Hang, Status(404)}, fault.RetryAfter, mending, false, 2, true},
		"a bad message is not repeated":            {[]Reply{Status(400)}, fault.Permanent, 0, false, 1, false},
		"a message too large is not repeated":      {[]Reply{Status(413)}, fault.Permanent, 0, false, 1, false},
		"a URL withdrawn waits for a person":       {[]Reply{Status(403)}, fault.RetryAfter, mending, false, 1, false},
		"a URL unknown waits for a person":         {[]Reply{Status(404)}, fault.RetryAfter, mending, false, 1, false},
		"a channel archived waits for a person":    {[]Reply{Status(410)}, fault.RetryAfter, mending, false, 1, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			r := setUp(t, open, check)
			r.Then(c.replies...)
			c.hold(t, r, r.Notify(t.Context(), alert.MessageOf(Incident(), alert.Opened)))
		})
	}
}

func (c judgement) hold(t *testing.T, r rig, err error) {
	t.Helper()
	failed := c.class != 0 || c.requests == 3 && !c.accepted
	if failed != (err != nil) {
		t.Fatalf("error %v", err)
	}
	class, wait := fault.ClassOf(err)
	if err != nil && (class != c.class || (c.wait-wait).Abs() > 2*time.Second) {
		t.Errorf("%v after %v, want %v after %v: %v", class, wait, c.class, c.wait, err)
	}
	if unsure := errors.Is(err, endpoint.ErrUnsure); unsure != c.unsure {
		t.Errorf("unsure: %t, want %t: %v", unsure, c.unsure, err)
	}
	if accepted := len(r.Accepted()) > 0; accepted != c.accepted || r.Requests() != c.requests {
		t.Errorf("accepted %t after %d requests, want %t after %d", accepted, r.Requests(), c.accepted, c.requests)
	}
	discreet(t, r, err)
}

// discreet: no error shows the URL.
func discreet(t *testing.T, r rig, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range []string{secretPath, "s3cret", r.URL} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows %q: %v", secret, err)
		}
	}
	if !strings.Contains(err.Error(), r.file) {
		t.Errorf("the error does not say which file: %v", err)
	}
}

func rereads(t *testing.T, open Open, check Check) {
	r, other := setUp(t, open, check), setUp(t, open, check)
	m := alert.MessageOf(Incident(), alert.Opened)
	write(t, r.file, "not a URL s3cret")
	err := r.Notify(t.Context(), m)
	if class, _ := fault.ClassOf(err); err == nil || class != fault.RetryAfter {
		t.Errorf("with a bad file: %v", err)
	}
	discreet(t, r, err)
	write(t, r.file, other.URL+secretPath)
	if err := r.Notify(t.Context(), m); err != nil {
		t.Error(err)
	}
	if r.Requests() != 0 || len(other.Accepted()) != 1 || other.Accepted()[0].Path != secretPath {
		t.Errorf("%d requests to the old URL, %v to the new", r.Requests(), other.Accepted())
	}
}

func stays(t *testing.T, open Open, check Check) {
	r, other := setUp(t, open, check), setUp(t, open, check)
	for _, code := range []int{301, 302, 303, 307, 308} {
		r.Then(Status(code, "Location", other.URL+secretPath))
		err := r.Notify(t.Context(), alert.MessageOf(Incident(), alert.Opened))
		if class, _ := fault.ClassOf(err); err == nil || class != fault.RetryAfter {
			t.Errorf("status %d: %v", code, err)
		}
		discreet(t, r, err)
	}
	if other.Requests() > 0 {
		t.Error("a redirect was followed")
	}
}

func stops(t *testing.T, open Open, check Check) {
	r := setUp(t, open, check)
	n, err := open(r.file, endpoint.Options{Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	r.Then(Flood)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := n.Notify(ctx, alert.MessageOf(Incident(), alert.Opened)); err != nil || ctx.Err() != nil {
		t.Errorf("error %v, %v", err, ctx.Err())
	}
}

func knows(t *testing.T, open Open, check Check) {
	r := setUp(t, open, check)
	r.Close()
	err := r.Notify(t.Context(), alert.MessageOf(Incident(), alert.Opened))
	if class, _ := fault.ClassOf(err); err == nil || class != fault.Transient || errors.Is(err, endpoint.ErrUnsure) {
		t.Errorf("with nobody there: %v", err)
	}
	if strings.Contains(err.Error(), secretPath) {
		t.Errorf("the error shows the URL: %v", err)
	}
}

func ends(t *testing.T, open Open, check Check) {
	r := setUp(t, open, check)
	r.Always(Hang)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := r.Notify(ctx, alert.MessageOf(Incident(), alert.Opened))
	if err == nil || r.Requests() > 1 {
		t.Errorf("error %v after %d requests", err, r.Requests())
	}
}

func refuses(t *testing.T, open Open) {
	for sentence, content := range map[string]string{
		"nothing in it":   "\n",
		"no URL":          "s3cret",
		"no host":         "https:///s3cret",
		"another scheme":  "file:///etc/s3cret",
		"a script":        "javascript:s3cret",
		"too many lines":  "https://h.example/s3cret\nkey\nmore s3cret",
		"control in it":   "https://h.example/s3cret\x01",
		"too much":        "https://h.example/" + strings.Repeat("s3cret", 5000),
		"a port like 0x1": "https://h.example:0x1/s3cret",
	} {
		file := filepath.Join(t.TempDir(), "url")
		write(t, file, content)
		if _, err := open(file, fast); err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", sentence, err)
		}
	}
	if _, err := open("/none/url", fast); err == nil || !strings.Contains(err.Error(), "/none/url: no such file") {
		t.Errorf("a missing file: %v", err)
	}
}
