package git

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/crypto/ssh"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// sshSession is a conversation with git-upload-pack over ssh. go-git has one,
// which reads the machine's known_hosts, agent and configuration, cannot be
// cancelled while it connects and does not notice silence.
//
// The server's program answers one request for a pack: the first uses the
// connection that the refs came by, each further one connects anew.
type sshSession struct {
	host *sshHost
	refs *packp.AdvRefs
	idle *uploadPack // has told the refs and waits for a request; nil when there is none
}

var _ transport.UploadPackSession = (*sshSession)(nil)

// AdvertisedReferences is AdvertisedReferencesContext, for go-git.
func (s *sshSession) AdvertisedReferences() (*packp.AdvRefs, error) {
	return s.AdvertisedReferencesContext(context.Background())
}

// AdvertisedReferencesContext connects. The connection ends with ctx.
func (s *sshSession) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	if s.refs != nil {
		return s.refs, nil
	}
	p, refs, err := s.host.uploadPack(ctx)
	if err != nil {
		return nil, err
	}
	s.refs, s.idle = refs, p
	return refs, nil
}

// UploadPack asks for a pack, which ends with ctx.
func (s *sshSession) UploadPack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	p := s.idle
	s.idle = nil
	if p == nil {
		var err error
		if p, _, err = s.host.uploadPack(ctx); err != nil {
			return nil, err
		}
	}
	res, err := p.request(ctx, req)
	if err != nil {
		p.hangUp()
		return nil, err
	}
	return res, nil
}

// Close ends the connection that waits, saying so to the server.
func (s *sshSession) Close() error {
	if s.idle == nil {
		return nil
	}
	p := s.idle
	s.idle = nil
	p.leave()
	return nil
}

// uploadPack is one run of the server's program.
type uploadPack struct {
	host    *sshHost
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	stderr  *remarks
	guard   *guard // of the responses
}

// uploadPack starts the program and reads the refs, which it tells first.
func (h *sshHost) uploadPack(ctx context.Context) (*uploadPack, *packp.AdvRefs, error) {
	client, err := h.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	p := &uploadPack{host: h, client: client, stderr: &remarks{}, guard: &guard{stall: h.stall}}
	if err := p.start(); err != nil {
		p.hangUp()
		return nil, nil, h.unreachable(ctx, err)
	}
	refs, err := p.refs(ctx)
	if err != nil {
		p.hangUp()
		return nil, nil, err
	}
	return p, refs, nil
}

// start has the server run the command, and hangs up when it does not answer.
func (p *uploadPack) start() (err error) {
	silence := time.AfterFunc(p.host.stall, p.hangUp)
	defer func() {
		if !silence.Stop() && err != nil {
			err = fmt.Errorf("%w for %s", errStalled, p.host.stall)
		}
	}()
	if p.session, err = p.client.NewSession(); err != nil {
		return err
	}
	if p.in, err = p.session.StdinPipe(); err != nil {
		return err
	}
	out, err := p.session.StdoutPipe()
	if err != nil {
		return err
	}
	p.out = bufio.NewReaderSize(out, 64<<10) // refs are read line by line
	p.session.Stderr = p.stderr
	return p.session.Start(p.host.command())
}

// command is what git sends. A path below ~ is one of a home directory, as git
// takes it; every other is absolute.
func (h *sshHost) command() string {
	path := h.url.path
	if strings.HasPrefix(path, "/~") {
		path = path[1:]
	}
	return "git-upload-pack '" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// body is what the program says from now on, within the limits of the exchange
// that ctx carries; it ends with ctx.
func (p *uploadPack) body(ctx context.Context) (*guardedBody, error) {
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("request outside of an exchange")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), errStalled) {
			p.hangUp()
		}
	})
	silence := time.AfterFunc(p.guard.stall, func() { cancel(errStalled) })
	silence.Stop()
	return &guardedBody{body: io.NopCloser(p.out), guard: p.guard, exchange: x, ctx: ctx, cancel: cancel, silence: silence, left: x.limit}, nil
}

func (p *uploadPack) refs(ctx context.Context) (*packp.AdvRefs, error) {
	body, err := p.body(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	refs := packp.NewAdvRefs()
	err = refs.Decode(body)
	var said *pktline.ErrorLine
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && refs.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	case errors.Is(err, packp.ErrEmptyInput) && body.exchange.why() == nil:
		return nil, p.epilogue(ctx)
	case errors.As(err, &said):
		return nil, cmp.Or(p.absent(oneLine(said.Text)), err)
	case err != nil:
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(refs.Capabilities)
	return refs, nil
}

// missing is how Git hosts and git say over ssh that there is nothing to fetch.
var missing = []string{
	"not found", "does not exist", "does not appear to be a git repository", "could not be found",
	"no such repository", "access denied", "permission", "do not have access", "not authorized", "unauthorized",
}

// epilogue says why the program ended without a word.
func (p *uploadPack) epilogue(ctx context.Context) error {
	silence := time.AfterFunc(p.host.stall, p.hangUp)
	defer silence.Stop()
	end := p.session.Wait()
	said := oneLine(p.stderr.String())
	if err := p.absent(said); err != nil {
		return err
	}
	var status *ssh.ExitError
	if errors.As(end, &status) || said != "" {
		return fault.Retry(fault.FetchFailed, "fetch %s: the server gives no list of refs; it says %q", p.host.url, said)
	}
	return p.host.unreachable(ctx, errors.New("the server hung up"))
}

// absent is an error when what the server says means that there is nothing.
func (p *uploadPack) absent(said string) error {
	for _, m := range missing {
		if strings.Contains(strings.ToLower(said), m) {
			return fault.Refuse(fault.FetchFailed, fault.Place{Field: "spec.source.repo"},
				"fetch %s: there is no such repository, or this key may not see it; the server says %q", p.host.url, said)
		}
	}
	return nil
}

// request asks for a pack, in the form that has no rounds: git-upload-pack
// answers it alike over http and here.
func (p *uploadPack) request(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := errors.Join(req.UploadRequest.Encode(&text), req.UploadHaves.Encode(&text, false), pktline.NewEncoder(&text).EncodeString("done\n")); err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	body, err := p.body(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.say(text.Bytes()); err != nil {
		return nil, errors.Join(body.exchange.end(err), body.Close())
	}
	res := packp.NewUploadPackResponse(req)
	if err := res.Decode(&answerBody{body, p}); err != nil {
		return nil, errors.Join(fmt.Errorf("read answer: %w", err), body.Close())
	}
	return res, nil
}

// say writes to the program, and hangs up when it does not read.
func (p *uploadPack) say(text []byte) error {
	silence := time.AfterFunc(p.host.stall, p.hangUp)
	_, err := p.in.Write(text)
	if !silence.Stop() && err != nil {
		return fmt.Errorf("%w for %s", errStalled, p.host.stall)
	}
	return err
}

// answerBody is a pack; closing it ends the connection.
type answerBody struct {
	*guardedBody
	from *uploadPack
}

func (b *answerBody) Close() error {
	b.from.hangUp()
	return b.guardedBody.Close()
}

// leave ends the conversation as the protocol wants, if the server still listens.
func (p *uploadPack) leave() {
	_ = p.say(pktline.FlushPkt)
	p.hangUp()
}

// hangUp says nothing about a connection that is closed already.
func (p *uploadPack) hangUp() { _ = p.client.Close() }

// remarks are the beginning of what a program says on its standard error.
type remarks struct {
	mu   sync.Mutex
	text []byte
}

func (r *remarks) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, b[:min(len(b), maxErrorBody-len(r.text))]...)
	return len(b), nil
}

func (r *remarks) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.text)
}
