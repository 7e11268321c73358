package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// intake is a NATS server with Plumb's receiver and a bare one in front of it, each a
// process of its own, and this program's own connection to the server.
type intake struct {
	nats     process
	receiver process
	bare     process
	address  string // of the receiver
	floor    string // address of the bare receiver
	conn     *nats.Conn
	js       jetstream.JetStream
	message  stored
}

// startIntake starts all of it. NATS syncs each message to disk, or in its own interval.
func (b *bench) startIntake(ctx context.Context, label string, syncAlways bool) (in *intake, err error) {
	dir := filepath.Join(b.dir, "receiver-"+label)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	in = &intake{address: at(1), floor: at(2)}
	defer func() {
		if err != nil {
			in.stop()
		}
	}()
	url := "nats://" + at(0)
	sync := ""
	if syncAlways {
		sync = ", sync_interval: always"
	}
	files := map[string]string{
		"nats.conf": fmt.Sprintf("listen: %q\njetstream: {store_dir: %q%s}\n", at(0), filepath.Join(dir, "data"), sync),
		"secret":    secret + "\n",
		"receiver.yaml": fmt.Sprintf("cluster: bench\nnats: {url: %q, syncAlways: %t}\nadmin: {listen: %q, profiles: true}\n"+
			"receiver:\n  listen: %q\n  hooks: [{name: bench, provider: github, secretFile: %s}]\n", url, syncAlways, at(3), at(1), filepath.Join(dir, "secret")),
	}
	if err := writeAll(dir, files); err != nil {
		return in, err
	}
	if err := in.nats.start(dir, "nats", filepath.Join(b.bin, "nats-server"), "--config", filepath.Join(dir, "nats.conf")); err != nil {
		return in, err
	}
	if err := listening(ctx, at(0)); err != nil {
		return in, err
	}
	if err := in.receiver.start(dir, "receiver", filepath.Join(b.bin, "receiver"), "--config", filepath.Join(dir, "receiver.yaml")); err != nil {
		return in, err
	}
	if in.conn, in.js, err = connect(url); err != nil {
		return in, err
	}
	return in, in.startBare(ctx, dir, url)
}

// startBare lets the receiver take one webhook, and then starts a bare receiver that
// publishes the like.
func (in *intake) startBare(ctx context.Context, dir, url string) error {
	if err := listening(ctx, in.address); err != nil {
		return fmt.Errorf("%w\n%s", err, in.receiver.tail())
	}
	s, err := newSender(ctx, in.address)
	if err != nil {
		return err
	}
	defer s.conn.Close()
	if err := s.deliver(); err != nil {
		return err
	}
	if in.message, err = newest(ctx, in.js); err != nil {
		return err
	}
	text, err := json.Marshal(in.message)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "message.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := in.bare.start(dir, "bare", self, bareReceiver, in.floor, url, file); err != nil {
		return err
	}
	return listening(ctx, in.floor)
}

func (in *intake) stop() {
	if in.conn != nil {
		in.conn.Close()
	}
	for _, p := range []*process{&in.bare, &in.receiver, &in.nats} {
		if p.cmd != nil {
			p.stop()
		}
	}
}

func writeAll(dir string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// start runs a program that logs into a file of dir.
func (p *process) start(dir, name, program string, args ...string) error {
	p.log = filepath.Join(dir, name+".log")
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w; build it with: make build", program, err)
	}
	p.cmd = cmd
	return nil
}

// listening returns when somebody takes connections there.
func listening(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		wait(ctx, 20*time.Millisecond)
	}
	return fmt.Errorf("nobody listens on %s: %w", address, ctx.Err())
}
