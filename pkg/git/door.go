package git

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"golang.org/x/crypto/ssh"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// door is the way to servers, and what their conversations share.
type door struct {
	o       Options
	web     *http.Client
	http    transport.Transport
	apps    *apps
	signers *lru[string, ssh.Signer] // decrypted keys, by Credential.Key
}

// maxSigners is how many decrypted keys are remembered.
const maxSigners = 256

func newDoor(o Options) *door {
	web := &http.Client{Transport: &guard{next: newTransport(o.Stall), stall: o.Stall}, CheckRedirect: stayHome}
	return &door{
		o: o, web: web, apps: newApps(web, o.Now), signers: newLRU[string, ssh.Signer](maxSigners),
		http: githttp.NewClientWithOptions(web, &githttp.ClientOptions{RedirectPolicy: githttp.FollowRedirects}),
	}
}

// converse lists the refs and keeps the conversation open for packs; the caller
// closes it. The token of a GitHub App that the server refuses is replaced, once.
// Errors are classified.
func (d *door) converse(ctx context.Context, u URL, c Credential) (*remote, listing, error) {
	from, l, err := d.list(ctx, u, c, Credential{})
	if err != nil && from != nil && from.denied && c.app() != nil {
		from, l, err = d.list(ctx, u, c, from.credential)
	}
	return from, l, err
}

func (d *door) list(ctx context.Context, u URL, c, refused Credential) (*remote, listing, error) {
	from, err := d.connect(ctx, u, c, refused)
	if err != nil {
		return nil, listing{}, err
	}
	l, err := from.list(ctx)
	if err != nil {
		from.close()
	}
	return from, l, err
}

// connect prepares a conversation; nothing is sent to the server yet.
func (d *door) connect(ctx context.Context, u URL, c, refused Credential) (*remote, error) {
	isKey := c.sshKey() != nil
	switch {
	case u.scheme == "":
		return nil, refuseRepo("fetch: no repository is named")
	case u.scheme == "ssh" && !isKey:
		return nil, refuseRepo("fetch %s: an ssh URL needs a key, but there is %s; put identity and known_hosts into the Secret of secretRef (or give identityFile and knownHostsFile in git.credentials), or use the https URL", u, c)
	case u.scheme != "ssh" && isKey:
		return nil, refuseRepo("fetch %s: the credential is an SSH key, which only ssh URLs can use; use the ssh URL, or a Secret with username and password or bearerToken", u)
	case isKey:
		return d.connectSSH(u, c)
	case c.app() != nil:
		token, err := d.apps.token(ctx, c, refused)
		if err != nil {
			return nil, err
		}
		c = token
	}
	return d.connectHTTP(u, c)
}

func refuseRepo(format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{Field: "spec.source.repo"}, format, args...)
}

func (d *door) connectHTTP(u URL, c Credential) (*remote, error) {
	host, port, err := net.SplitHostPort(u.host)
	if err != nil {
		host, port = u.host, "0"
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, refuseURL("its port is no number")
	}
	ep := &transport.Endpoint{Protocol: u.scheme, Host: host, Port: number, Path: (&url.URL{Path: u.path}).EscapedPath()}
	var auth transport.AuthMethod
	if a := c.auth(); a != nil {
		auth = a
	}
	session, err := d.http.NewUploadPackSession(ep, auth)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", u, err)
	}
	return &remote{url: u, credential: c, session: session}, nil
}

func (d *door) connectSSH(u URL, c Credential) (*remote, error) {
	signer, ok := d.signers.get(c.Key())
	if !ok {
		var err error
		if signer, err = c.sshKey().signer(); err != nil {
			return nil, err
		}
		d.signers.put(c.Key(), signer, 1)
	}
	host := newSSHHost(u, c.sshKey(), signer, d.o.Stall)
	return &remote{url: u, credential: c, session: &sshSession{host: host}}, nil
}
