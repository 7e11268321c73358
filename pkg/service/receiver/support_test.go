package receiver_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/service/receiver"
)

const (
	secret   = "a secret of the hook"
	patience = 20 * time.Second
)

var client = &http.Client{Timeout: patience}

// recorder stands in for the bus where a test is about HTTP; those about
// storing run on JetStream.
type recorder struct {
	mu     sync.Mutex
	events []event.Event
	ids    []string
	fail   error
	failed int
}

func (r *recorder) Publish(_ context.Context, e event.Event, id string) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		r.failed++
		return 0, r.fail
	}
	r.events, r.ids = append(r.events, e), append(r.ids, id)
	return uint64(len(r.events)), nil
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

func secretFile(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// hooked is a configuration with one hook a provider, named after it.
func hooked(t testing.TB, providers ...string) config.Receiver {
	c := config.Receiver{}
	for _, p := range providers {
		c.Hooks = append(c.Hooks, config.Hook{Name: p, Provider: p, SecretFile: secretFile(t, secret)})
	}
	return c
}

func build(t testing.TB, c config.Receiver, p receiver.Publisher, o receiver.Options) *receiver.Receiver {
	t.Helper()
	r, err := receiver.New(c, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serve runs a receiver on a port of its own and returns its address and how
// to end it, which returns what Serve did.
func serve(t testing.TB, r *receiver.Receiver) (addr string, end func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, l) }()
	end = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = end() })
	return l.Addr().String(), end
}

func sign(body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

func payload(t testing.TB, file string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "..", "webhook", "testdata", file+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// githubPush is a signed delivery to the hook of that name; the caller may spoil it.
func githubPush(t testing.TB, addr, hook, delivery string) *http.Request {
	t.Helper()
	return github(t, addr, hook, delivery, "push", payload(t, "github/push"))
}

func github(t testing.TB, addr, hook, delivery, kind string, body []byte) *http.Request {
	t.Helper()
	q, err := http.NewRequest(http.MethodPost, "http://"+addr+"/hooks/"+hook, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("X-GitHub-Event", kind)
	q.Header.Set("X-Hub-Signature-256", sign(body))
	if delivery != "" {
		q.Header.Set("X-GitHub-Delivery", delivery)
	}
	return q
}

// reply is an answer, read to its end.
type reply struct {
	Status int
	Header http.Header
	Text   string
	Events []string `json:"events"`
	Trace  string   `json:"trace"`
	Reason string   `json:"reason"`
}

func send(t testing.TB, q *http.Request) reply {
	t.Helper()
	out, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, out)
}

func read(t testing.TB, out *http.Response) reply {
	t.Helper()
	defer out.Body.Close()
	text, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := reply{Status: out.StatusCode, Header: out.Header, Text: string(text)}
	if err := json.Unmarshal(text, &r); err != nil || strings.Count(r.Text, "\n") != 1 || out.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("the answer is no line of JSON: %q, %v", text, err)
	}
	return r
}

// logBook collects log lines.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
