package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
)

// serve is the program as a NATS server of its own, so that its memory and its time can
// be told from those of the workers. It ends with its input, which is the parent's.
func serve(dir string) error {
	server, err := embedded.Start(dir, embedded.Options{Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	defer server.Stop()
	signal.Ignore(os.Interrupt) // the parent ends first
	fmt.Println(server.URL())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// server is a NATS server process.
type server struct {
	cmd   *exec.Cmd
	input io.Closer
	url   string
}

func startServer(dir string) (*server, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.Command(program, "--serve", dir)}
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.input, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the NATS server: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the NATS server: %w", err), s.stop())
	}
	s.url = strings.TrimSpace(line)
	return s, nil
}

func (s *server) stop() error { return errors.Join(s.input.Close(), s.cmd.Wait()) }

// link is the way of one client to the server. It can be cut, and counts what passes.
type link struct {
	address string // host:port
	traffic *traffic

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

// traffic counts the bytes of many links.
type traffic struct{ read, written atomic.Int64 }

func newLink(url string, t *traffic) *link {
	return &link{address: strings.TrimPrefix(url, "nats://"), traffic: t}
}

var errCut = errors.New("the link is cut")

// InProcessConn makes the bus connect through the link.
func (l *link) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return nil, errCut
	}
	conn, err := net.Dial("tcp", l.address)
	if err == nil {
		l.conns = append(l.conns, conn)
	}
	return counted{conn, l.traffic}, err
}

// cut ends the connection, and all attempts at another.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, conn := range l.conns {
		_ = conn.Close()
	}
}

type counted struct {
	net.Conn
	traffic *traffic
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.traffic.read.Add(int64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.traffic.written.Add(int64(n))
	return n, err
}

// streams looks at what is stored, and changes nothing.
type streams struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// The streams of pkg/bus, by what they hold.
const (
	events = "PLUMB_EVENTS"
	syncs  = "PLUMB_SYNC"
	leases = "KV_plumb_leases"
	states = "KV_plumb_apps"
	dead   = "PLUMB_DEAD"
)

func openStreams(url string) (*streams, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	return &streams{nc, js}, err
}

func (s *streams) close() { s.nc.Close() }

// stored is what a stream holds: messages ever stored, messages and bytes now.
type stored struct{ ever, messages, bytes uint64 }

func (s *streams) look(ctx context.Context) (map[string]stored, error) {
	all := map[string]stored{}
	for _, name := range []string{events, syncs, leases, states, dead} {
		stream, err := s.js.Stream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", name, err)
		}
		state := stream.CachedInfo().State
		all[name] = stored{state.LastSeq, state.Msgs, state.Bytes}
	}
	return all, nil
}

// await waits until a stream has a number of consumers: what is published before is not
// for them.
func (s *streams) await(ctx context.Context, name string, consumers int) error {
	for {
		stream, err := s.js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("look at %s: %w", name, err)
		}
		have := stream.CachedInfo().State.Consumers
		if have >= consumers {
			return nil
		}
		if !pause(ctx, look) {
			return fmt.Errorf("wait for consumers of %s: %d of %d: %w", name, have, consumers, context.Cause(ctx))
		}
	}
}

// known waits until a stream has a consumer.
func (s *streams) known(ctx context.Context, name, consumer string) error {
	for {
		_, err := s.js.Consumer(ctx, name, consumer)
		if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
		if !pause(ctx, look) {
			return fmt.Errorf("wait for consumer %s of %s: %w", consumer, name, context.Cause(ctx))
		}
	}
}

// idle waits until no request is left in the queue.
func (s *streams) idle(ctx context.Context) error {
	for {
		all, err := s.look(ctx)
		if err != nil || all[syncs].messages == 0 {
			return err
		}
		if !pause(ctx, look) {
			return fmt.Errorf("wait for the queue: %d requests are left: %w", all[syncs].messages, context.Cause(ctx))
		}
	}
}

// look is how often it is looked.
const look = 20 * time.Millisecond
