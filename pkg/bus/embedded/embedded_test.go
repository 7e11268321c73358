package embedded_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
)

func start(t *testing.T, dir string, o embedded.Options) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

func connect(t *testing.T, url string, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func TestWhatIsStoredOutlivesTheServer(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, embedded.Options{})
	_, js := connect(t, "", nats.InProcessServer(first))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	first.Stop()
	first.Stop() // does nothing
	second := start(t, dir, embedded.Options{})
	_, js = connect(t, "", nats.InProcessServer(second))
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := stream.GetMsg(t.Context(), 1); err != nil || string(msg.Data) != "kept" {
		t.Errorf("message %v, error %v", msg, err)
	}
}

func TestWithoutListenNobodyElseCanConnect(t *testing.T) {
	server := start(t, t.TempDir(), embedded.Options{})
	if url := server.URL(); url != "" {
		t.Errorf("URL %q, want none", url)
	}
	nc, _ := connect(t, "", nats.InProcessServer(server))
	if addr := nc.ConnectedAddr(); strings.Contains(addr, ":") {
		t.Errorf("connected over %s", addr)
	}
}

func TestListenKeepsItsPortOverARestart(t *testing.T) {
	server := start(t, t.TempDir(), embedded.Options{Listen: "127.0.0.1:0"})
	url := server.URL()
	back := make(chan struct{}, 1)
	nc, _ := connect(t, url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }))
	if host, _, err := net.SplitHostPort(nc.ConnectedAddr()); err != nil || host != "127.0.0.1" {
		t.Errorf("listens on %s", nc.ConnectedAddr())
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-back:
	case <-time.After(20 * time.Second):
		t.Fatal("the client did not find the server again")
	}
	if server.URL() != url {
		t.Errorf("URL %q, want %q", server.URL(), url)
	}
}

func TestAStoppedServerRefusesConnections(t *testing.T) {
	server := start(t, t.TempDir(), embedded.Options{})
	server.Stop()
	if _, err := server.InProcessConn(); !errors.Is(err, embedded.ErrStopped) {
		t.Errorf("error %v, want that it is stopped", err)
	}
}

func TestWhatCannotStartSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	used := t.TempDir()
	start(t, used, embedded.Options{})
	for name, c := range map[string]struct {
		dir  string
		o    embedded.Options
		says string
	}{
		"a directory that cannot be made": {"/dev/null/x", embedded.Options{}, "/dev/null/x"},
		"a directory in use":              {used, embedded.Options{}, "another server uses it"},
		"an address that is none":         {t.TempDir(), embedded.Options{Listen: "nonsense"}, "missing port"},
		"a port that is none":             {t.TempDir(), embedded.Options{Listen: "127.0.0.1:http!"}, "read port"},
		"a port that is taken":            {t.TempDir(), embedded.Options{Listen: taken.Addr().String()}, "not ready"},
		"authorization that is none":      {t.TempDir(), embedded.Options{Authorization: "authorization {"}, "read authorization"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Ready = 500 * time.Millisecond
			server, err := embedded.Start(c.dir, c.o)
			if err == nil {
				server.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v does not say %q", err, c.says)
			}
		})
	}
}

type locked struct {
	mu sync.Mutex
	io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Writer.Write(p)
}

func TestAnOrdinaryLifeIsNotLogged(t *testing.T) {
	var log bytes.Buffer
	out := &locked{Writer: &log}
	server := start(t, t.TempDir(), embedded.Options{Log: slog.New(slog.NewTextHandler(out, nil))})
	_, js := connect(t, "", nats.InProcessServer(server))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	out.mu.Lock()
	defer out.mu.Unlock()
	if log.Len() > 0 {
		t.Errorf("logged:\n%s", log.String())
	}
}
