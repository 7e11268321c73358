package git_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshServer is an SSH server that runs git upload-pack and nothing else.
type sshServer struct {
	t        *testing.T
	root     string // of the repositories
	listener net.Listener
	running  sync.WaitGroup

	mu         sync.Mutex
	hostKeys   []ssh.Signer
	authorized []ssh.PublicKey
	fault      func(stage string, c net.Conn) // nil: none
	output     func(run int, w io.WriteCloser, c net.Conn) io.Writer
	runs       int
	open       map[net.Conn]bool
	connected  int
	users      []string
	requests   []string // what was asked for beside running the command
	commands   []string
}

// newSSHServer serves the repositories in root to who has the key.
func newSSHServer(t *testing.T, root string, key ssh.PublicKey, hostKeys ...ssh.Signer) *sshServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sshServer{t: t, root: root, listener: listener, hostKeys: hostKeys, authorized: []ssh.PublicKey{key}, open: map[net.Conn]bool{}}
	s.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.note(func() { s.open[conn] = true; s.connected++ })
			s.running.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		s.note(func() {
			for c := range s.open {
				_ = c.Close()
			}
		})
		s.running.Wait()
	})
	return s
}

func (s *sshServer) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *sshServer) url(repo string) string {
	return "ssh://git@" + s.listener.Addr().String() + "/" + repo + ".git"
}

// known is what ssh-keyscan prints for the server's keys.
func (s *sshServer) known(keys ...ssh.Signer) []byte {
	var out strings.Builder
	for _, k := range keys {
		out.WriteString(knownhosts.Line([]string{s.listener.Addr().String()}, k.PublicKey()) + "\n")
	}
	return []byte(out.String())
}

func (s *sshServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}

// idle says whether every connection has ended.
func (s *sshServer) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) == 0
}

func (s *sshServer) at(stage string, c net.Conn) {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		fault(stage, c)
	}
}

func (s *sshServer) serve(c net.Conn) {
	defer s.note(func() { delete(s.open, c) })
	defer func() { _ = c.Close() }()
	s.at("accept", c)
	config := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		for _, a := range s.authorized {
			if string(a.Marshal()) == string(key.Marshal()) {
				s.note(func() { s.users = append(s.users, meta.User()) })
				return nil, nil
			}
		}
		return nil, errors.New("unknown key")
	}}
	s.note(func() {
		for _, k := range s.hostKeys {
			config.AddHostKey(k)
		}
	})
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go func() {
		for r := range requests {
			s.note(func() { s.requests = append(s.requests, r.Type) })
			_ = r.Reply(false, nil)
		}
	}()
	for offered := range channels {
		channel, asked, err := offered.Accept()
		if err != nil {
			continue
		}
		s.running.Go(func() { s.session(channel, asked, c) })
	}
	_ = conn.Wait()
}

func (s *sshServer) session(channel ssh.Channel, asked <-chan *ssh.Request, c net.Conn) {
	defer func() { _ = channel.Close() }()
	for r := range asked {
		if r.Type != "exec" {
			s.note(func() { s.requests = append(s.requests, r.Type) })
			_ = r.Reply(false, nil)
			continue
		}
		var exec struct{ Command string }
		if err := ssh.Unmarshal(r.Payload, &exec); err != nil {
			_ = r.Reply(false, nil)
			return
		}
		s.at("exec", c)
		_ = r.Reply(true, nil)
		code := s.run(exec.Command, channel, c)
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{code}))
		return
	}
}

// run runs git upload-pack for the repository that the command names, through a
// shell as sshd does: what is not quoted well would show.
func (s *sshServer) run(command string, channel ssh.Channel, c net.Conn) uint32 {
	var number int
	var output func(int, io.WriteCloser, net.Conn) io.Writer
	s.note(func() { s.runs++; number, output = s.runs, s.output; s.commands = append(s.commands, command) })
	program, path, _ := strings.Cut(command, " ")
	if program != "git-upload-pack" {
		fmt.Fprintln(channel.Stderr(), "only git-upload-pack is here")
		return 127
	}
	cmd := exec.CommandContext(s.t.Context(), "sh", "-c", `p=`+path+`; exec git upload-pack "$ROOT$p"`)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "ROOT=" + s.root, "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "LC_ALL=C"}
	cmd.Stderr = channel.Stderr()
	cmd.Stdout = channel
	if output != nil {
		cmd.Stdout = output(number, channel, c)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return 1
	}
	go func() {
		_, _ = io.Copy(in, channel)
		_ = in.Close()
	}()
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return uint32(exit.ExitCode())
	case err != nil:
		return 1
	}
	return 0
}

// after calls then once so many bytes have gone through, in place of the next.
type after struct {
	io.Writer
	left int
	then func()
}

func (a *after) Write(b []byte) (int, error) {
	n, err := a.Writer.Write(b[:min(a.left, len(b))])
	if a.left -= n; err == nil && n < len(b) {
		a.then()
		return n, io.ErrClosedPipe
	}
	return n, err
}

// keys made once: RSA ones take their time.
var (
	edKey  = sync.OnceValue(func() crypto.Signer { _, k, _ := ed25519.GenerateKey(rand.Reader); return k })
	ecKey  = sync.OnceValue(func() crypto.Signer { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
)

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signer(t *testing.T, key crypto.Signer) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// identity is the file that ssh-keygen writes.
func identity(t *testing.T, key crypto.Signer, passphrase string) []byte {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

// foreignLine has a kind of key that the ssh package does not know.
const foreignLine = "* ssh-mldsa-44 AAAADHNzaC1tbGRzYS00NAAAAAQBAgME\n"

// dssLine is a DSA key, as old servers have it.
func dssLine(host string) string {
	p := new(big.Int).SetBit(big.NewInt(7), 1023, 1)
	q := new(big.Int).SetBit(big.NewInt(7), 159, 1)
	blob := ssh.Marshal(struct {
		Name       string
		P, Q, G, Y *big.Int
	}{"ssh-dss", p, q, big.NewInt(4), big.NewInt(5)})
	return host + " ssh-dss " + base64.StdEncoding.EncodeToString(blob) + "\n"
}

func hashedLine(t *testing.T, host string, key ssh.Signer) string {
	t.Helper()
	return knownhosts.HashHostname(host) + " " + string(ssh.MarshalAuthorizedKey(key.PublicKey()))
}
