// Package embedded runs a NATS server with JetStream in this process, for
// `plumb up` and for tests. It may import nothing of Plumb's.
//
// It fails when its directory cannot be used, is used by another server, or its
// address is taken; afterwards it logs. Every write is synced to disk before it
// is confirmed, since a confirmed event is promised not to be lost.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Options of Start.
type Options struct {
	// Listen is a host:port for clients outside of this process; empty: none.
	// Port 0 takes a free one and keeps it over Restart.
	Listen string
	// Config is the text of a nats-server configuration file's authorization
	// block; empty: everybody may do everything.
	Authorization string
	// Ready is how long the server may take to start; 0: 20 s.
	Ready time.Duration
	Log   *slog.Logger
}

// Server is a NATS server that can be stopped and started again.
type Server struct {
	dir string
	o   Options

	mu      sync.Mutex
	running *server.Server // nil while stopped
	lock    *os.File       // held while running
}

// ErrStopped is what connections get while the server is stopped.
var ErrStopped = errors.New("embedded NATS server is stopped")

// Start runs a server that keeps its streams in dir.
func Start(dir string, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ready == 0 {
		o.Ready = 20 * time.Second
	}
	s := &Server{dir: dir, o: o}
	if err := s.Restart(); err != nil {
		return nil, err
	}
	return s, nil
}

// Restart starts the server again, on the same directory and address. A server
// that runs is stopped first.
func (s *Server) Restart() error {
	s.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	opts, err := s.options()
	if err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	lock, err := lockDir(s.dir)
	if err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	running, err := s.run(opts)
	if err != nil {
		return errors.Join(fmt.Errorf("start NATS in %s: %w", s.dir, err), lock.Close())
	}
	if addr, ok := running.Addr().(*net.TCPAddr); ok && s.o.Listen != "" {
		s.o.Listen = addr.String()
	}
	s.running, s.lock = running, lock
	return nil
}

// lockDir keeps other servers out of dir, which JetStream itself does not: two of
// them would spoil what both store. The kernel ends the lock with the process.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory %s: %w", dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another server uses it; end that one or choose another directory")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), lock.Close())
	}
	return lock, nil
}

// run returns a server that takes connections.
func (s *Server) run(opts *server.Options) (*server.Server, error) {
	running, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	running.SetLoggerV2(logger{s.o.Log}, s.o.Log.Enabled(context.Background(), slog.LevelDebug-4), false, false)
	running.Start()
	if !running.ReadyForConnections(s.o.Ready) || !running.JetStreamEnabled() {
		running.Shutdown()
		running.WaitForShutdown()
		return nil, fmt.Errorf("not ready after %s; its log says why", s.o.Ready)
	}
	return running, nil
}

func (s *Server) options() (*server.Options, error) {
	opts := &server.Options{}
	if s.o.Authorization != "" {
		if err := opts.ProcessConfigString(s.o.Authorization); err != nil {
			return nil, fmt.Errorf("read authorization: %w", err)
		}
	}
	opts.ServerName = "plumb"
	opts.DontListen = s.o.Listen == ""
	opts.JetStream = true
	opts.StoreDir = s.dir
	opts.SyncAlways = true
	opts.NoSigs = true
	if opts.DontListen {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(s.o.Listen)
	if err != nil {
		return nil, fmt.Errorf("read address: %w", err)
	}
	if opts.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("read port of %s: %w", s.o.Listen, err)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	opts.Host = host
	return opts, nil
}

// Stop ends the server and its connections, and returns when its files are closed.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return
	}
	s.running.Shutdown()
	s.running.WaitForShutdown()
	_ = s.lock.Close() // which ends the lock
	s.running, s.lock = nil, nil
}

// InProcessConn connects to the server without a socket.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	if running == nil {
		return nil, ErrStopped
	}
	return running.InProcessConn()
}

// URL is where clients outside of this process connect; empty without Listen.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Listen == "" {
		return ""
	}
	return "nats://" + s.o.Listen
}

// logger passes on what the server says; its notices are of no interest to
// people who run Plumb.
type logger struct{ log *slog.Logger }

func (l logger) say(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, fmt.Sprintf(format, v...), "from", "nats-server")
}

func (l logger) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l logger) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l logger) Fatalf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l logger) Errorf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l logger) Debugf(format string, v ...any)  { l.say(slog.LevelDebug-4, format, v) }
func (l logger) Tracef(format string, v ...any)  { l.say(slog.LevelDebug-4, format, v) }
