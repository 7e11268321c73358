package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// sshKey is a credential for ssh.
type sshKey struct {
	user       string
	private    []byte
	passphrase []byte
	hosts      *knownHosts
}

// defaultUser is that of the Git hosts.
const defaultUser = "git"

// SSH is a private key for ssh URLs, in PEM as ssh-keygen writes it, with its
// passphrase where it has one, and the known_hosts that say which key a host
// must show: without them nothing is trusted, not even at first use. The user
// counts where the URL names none; empty is "git". Neither an agent nor files or
// variables of the machine are looked at.
//
// An error is permanent, with reason SourceRefused, and names what is wrong; a
// wrong passphrase is found out when the key is used.
func SSH(user string, privateKey, passphrase, knownHosts []byte) (Credential, error) {
	if user != "" {
		if err := checkUser(user); err != nil {
			return Credential{}, refuseKey("the user is empty, begins with a dash or holds other than letters, digits, dots, dashes and underscores")
		}
	}
	passphrase = []byte(trimLine(string(passphrase)))
	if err := checkKey(privateKey, passphrase); err != nil {
		return Credential{}, err
	}
	if len(strings.TrimSpace(string(knownHosts))) == 0 {
		return Credential{}, refuseKey("known_hosts is missing; put in what ssh-keyscan prints for the host, once you have compared the fingerprint")
	}
	hosts, err := parseKnownHosts(knownHosts)
	if err != nil {
		return Credential{}, refuseKey("known_hosts: %w", err)
	}
	return credential(secret{key: &sshKey{cmp.Or(user, defaultUser), privateKey, passphrase, hosts}}), nil
}

func refuseKey(format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{}, "read SSH credential: "+format, args...)
}

// checkKey parses a key that is not encrypted, and leaves the costly decryption
// of another to its use.
func checkKey(privateKey, passphrase []byte) error {
	_, err := ssh.ParseRawPrivateKey(privateKey)
	var encrypted *ssh.PassphraseMissingError
	switch {
	case err == nil, errors.As(err, &encrypted) && len(passphrase) > 0:
		return nil
	case errors.As(err, &encrypted):
		return refuseKey("the private key is encrypted; give its passphrase too (key password of the Secret)")
	}
	return refuseKey("the private key does not parse; give it as ssh-keygen writes it, in PEM (key identity of the Secret)") // err may hold part of it
}

// signer decrypts the key where it must be.
func (k *sshKey) signer() (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(k.private)
	var encrypted *ssh.PassphraseMissingError
	if errors.As(err, &encrypted) {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(k.private, k.passphrase)
	}
	if err != nil {
		return nil, refuseKey("the private key cannot be decrypted; check its passphrase (key password of the Secret)")
	}
	some, ok := signer.(ssh.AlgorithmSigner)
	if !ok || signer.PublicKey().Type() != ssh.KeyAlgoRSA {
		return signer, nil
	}
	return ssh.NewSignerWithAlgorithms(some, keyAlgorithms(ssh.KeyAlgoRSA))
}

// sshHost is where an ssh URL leads.
type sshHost struct {
	url     URL
	user    string
	address string // host:port, to dial
	name    string // as in known_hosts
	key     *sshKey
	signer  ssh.Signer
	stall   time.Duration
}

func newSSHHost(u URL, k *sshKey, signer ssh.Signer, stall time.Duration) *sshHost {
	at := &url.URL{Host: u.host}
	host, port := at.Hostname(), cmp.Or(at.Port(), "22")
	return &sshHost{
		url: u, user: cmp.Or(u.user, k.user), address: net.JoinHostPort(host, port), name: hostName(host, port),
		key: k, signer: signer, stall: stall,
	}
}

// dial opens a connection that ends with ctx. Its errors are classified.
func (h *sshHost) dial(ctx context.Context) (*ssh.Client, error) {
	offer := algorithms(h.key.hosts.of(h.name))
	if len(offer) == 0 {
		return nil, h.refuse("known_hosts has no key of %s that can be used; put in what `ssh-keyscan %s` prints, once you have compared the fingerprint, %s",
			h.name, scan(h.address), inKnownHosts)
	}
	dialer := &net.Dialer{Timeout: h.stall, KeepAlive: 30 * time.Second, Control: refuseAddress}
	conn, err := dialer.DialContext(ctx, "tcp", h.address)
	if err != nil {
		return nil, h.unreachable(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(h.stall)); err != nil {
		return nil, h.abandon(ctx, conn, stop, err)
	}
	var refused error // go's ssh does not say which part of a handshake failed
	config := h.config(offer, &refused)
	c, channels, requests, err := ssh.NewClientConn(conn, h.address, config)
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if refused != nil {
		err = refused
	}
	if err != nil {
		return nil, h.abandon(ctx, conn, stop, err)
	}
	return ssh.NewClient(c, channels, requests), nil
}

const inKnownHosts = "into key known_hosts of the Secret (or the knownHostsFile of git.credentials)"

func scan(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "22" {
		return host
	}
	return "-p " + port + " " + host
}

func (h *sshHost) config(offer []string, refused *error) *ssh.ClientConfig {
	secure := ssh.SupportedAlgorithms()
	return &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: secure.KeyExchanges, Ciphers: secure.Ciphers, MACs: secure.MACs},
		User:              h.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(h.signer)},
		HostKeyAlgorithms: offer,
		HostKeyCallback: func(address string, remote net.Addr, key ssh.PublicKey) error {
			*refused = h.key.hosts.check(h.name, address, remote, key)
			return *refused
		},
	}
}

func (h *sshHost) abandon(ctx context.Context, conn net.Conn, stop func() bool, err error) error {
	stop()
	_ = conn.Close()
	return h.handshake(ctx, err)
}

// handshake says what a failed handshake means.
func (h *sshHost) handshake(ctx context.Context, err error) error {
	var none *ssh.AlgorithmNegotiationError
	switch {
	case ctx.Err() != nil:
		return fault.Retry(fault.FetchFailed, "connect to %s: %w", h.url, context.Cause(ctx))
	case errors.Is(err, errHostKey):
		return h.refuse("%w; somebody may be in between: only if the host has got a new key, put that %s", err, inKnownHosts)
	case errors.As(err, &none) && none.What == "host key":
		return h.refuse("%w: it has %s, known_hosts %s; if these are keys of the host too, put them %s", errHostKey,
			oneLine(strings.Join(none.RequestedAlgorithms, ", ")), fingerprints(h.key.hosts.of(h.name)), inKnownHosts)
	case errors.As(err, &none):
		return h.refuse("the server speaks no safe algorithm for %s; it offers %s", none.What, oneLine(strings.Join(none.RequestedAlgorithms, ", ")))
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fault.Refuse(fault.FetchFailed, fault.Place{Field: "spec.source.repo"},
			"fetch %s: the server does not let user %s in with the key %s; add that key's public half at the Git host, or put another into key identity of the Secret (or the identityFile of git.credentials)",
			h.url, h.user, fingerprint(h.signer.PublicKey()))
	}
	return h.unreachable(ctx, err)
}

func (h *sshHost) refuse(format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{Field: "spec.source.repo"}, "fetch %s: "+format, append([]any{h.url}, args...)...)
}

// unreachable is an error of the network.
func (h *sshHost) unreachable(ctx context.Context, err error) error {
	var late net.Error
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, errForbidden):
		return h.refuse("%w", errForbidden)
	case errors.As(err, &late) && late.Timeout():
		err = fmt.Errorf("%w for %s", errStalled, h.stall)
	}
	return fault.Retry(fault.FetchFailed, "connect to %s: %s", h.url, oneLine(err.Error()))
}
