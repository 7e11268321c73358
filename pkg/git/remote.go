package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// maxListing is how many bytes of refs are read: about 800,000 of them.
const maxListing = 64 << 20

// remote is a conversation with a server about one repository, over Git's
// protocol v0, the only one go-git speaks.
type remote struct {
	url        URL
	credential Credential // as shown to the server
	session    transport.UploadPackSession
	offers     *capability.List
	denied     bool // by an HTTP status that a new token may change
}

// close ends the conversation. What goes wrong then is of no interest any more.
func (r *remote) close() { _ = r.session.Close() }

// list asks for the refs. Its errors are classified.
func (r *remote) list(ctx context.Context) (listing, error) {
	x := &exchange{limit: maxListing}
	adv, err := r.session.AdvertisedReferencesContext(x.in(ctx))
	if err != nil {
		return listing{}, r.classify(ctx, x, "list refs", err)
	}
	r.offers = adv.Capabilities
	l := listing{wants: adv.References, peeled: adv.Peeled, shallows: adv.Shallows}
	if adv.Head != nil {
		l.wants[headRef] = *adv.Head
	}
	for _, link := range adv.Capabilities.Get(capability.SymRef) {
		if name, ok := strings.CutPrefix(link, headRef+":"); ok {
			l.head = name
		}
	}
	return l, nil
}

// request is what a pack is asked for with.
type request struct {
	want     plumbing.Hash
	haves    []plumbing.Hash
	shallows []plumbing.Hash
	shallow  bool  // ask for the wanted commit without its history
	limit    int64 // bytes
}

// answer is a pack on its way.
type answer struct {
	io.Reader
	shallows []plumbing.Hash // where its history ends
	close    func() error
	explain  func(error) error // classifies an error of reading it
}

// pack asks for a pack. Its errors are classified.
func (r *remote) pack(ctx context.Context, q request) (*answer, error) {
	req := packp.NewUploadPackRequestFromCapabilities(r.offers)
	req.Wants, req.Haves, req.Shallows = []plumbing.Hash{q.want}, q.haves, q.shallows
	if q.shallow {
		req.Depth = packp.DepthCommits(1)
	}
	if q.shallow || len(q.shallows) > 0 {
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return nil, fmt.Errorf("ask for a pack: %w", err)
		}
	}
	if r.offers.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return nil, fmt.Errorf("ask for a pack: %w", err)
		}
	}
	x := &exchange{limit: q.limit + q.limit/1000 + 1<<16} // frames of the sideband
	res, err := r.session.UploadPack(x.in(ctx), req)
	if err != nil {
		return nil, r.classify(ctx, x, "fetch", err)
	}
	return &answer{
		Reader: demultiplex(req.Capabilities, res), shallows: res.Shallows, close: res.Close,
		explain: func(err error) error { return r.classify(ctx, x, "fetch", err) },
	}, nil
}

func demultiplex(c *capability.List, r io.Reader) io.Reader {
	switch {
	case c.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case c.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// classify says what an error of an exchange means. The text is made anew, so
// that nothing a server or a library wrote carries the credential on.
func (r *remote) classify(ctx context.Context, x *exchange, doing string, err error) error {
	if cause := x.why(); cause != nil {
		err = cause
	}
	var redirect *redirectError
	var classified *fault.Error
	switch {
	case ctx.Err() != nil:
		return fault.Retry(fault.FetchFailed, "%s from %s: %w", doing, r.url, context.Cause(ctx))
	case errors.As(err, &classified):
		return err
	case errors.As(unwrap(err), &redirect):
		return r.refuse(fault.SourceRefused, "%w, which is not followed; set spec.source.repo to where it moved", redirect)
	case errors.Is(err, errForbidden):
		return r.refuse(fault.SourceRefused, "%w", errForbidden)
	case errors.Is(err, errStalled), errors.Is(err, errTooBig), errors.Is(err, errWork), errors.Is(err, errObjects):
		return limitError(doing, r.url, err)
	case x.status != 0 && x.status/100 != 2:
		return r.status(x)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return r.refuse(fault.FetchFailed, "the repository is empty; push a commit")
	case strings.Contains(err.Error(), "not our ref"), strings.Contains(err.Error(), "unadvertised object"):
		return r.refuse(fault.FetchFailed, "%w", errNotOffered)
	case doing == "list refs" && x.kind != "application/x-git-upload-pack-advertisement" && x.status != 0:
		return fault.Retry(fault.FetchFailed, "%s from %s: it answers with %q instead of a list of refs; is this the clone URL?", doing, r.url, x.kind)
	}
	return fault.Retry(fault.FetchFailed, "%s from %s: %s", doing, r.url, oneLine(r.credential.scrub(err.Error())))
}

// oneLine makes of a text that a server may have written one short line.
func oneLine(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + " …"
	}
	return s
}

// errNotOffered is a commit that the server does not give out.
var errNotOffered = errors.New("the server has no such commit, or gives out only the tips of branches and tags and what they contain")

// limitError is permanent where the pack is to blame, and transient where the
// server may do better next time.
func limitError(doing string, u URL, err error) error {
	if errors.Is(err, errStalled) {
		return fault.Retry(fault.FetchFailed, "%s from %s: %w", doing, u, err)
	}
	return fault.Refuse(fault.FetchFailed, fault.Place{}, "%s from %s: %w; make the repository smaller or raise the limit", doing, u, err)
}

func (r *remote) refuse(reason fault.Reason, format string, args ...any) error {
	return fault.Refuse(reason, fault.Place{Field: "spec.source.repo"}, "fetch %s: "+format, append([]any{r.url}, args...)...)
}

// status says what an HTTP status means.
func (r *remote) status(x *exchange) error {
	switch {
	case x.status == http.StatusForbidden && x.after > 0: // how some hosts say "too many"
		return fault.After(fault.FetchFailed, x.after, "fetch %s: the server answers %d", r.url, x.status)
	case x.status == http.StatusUnauthorized || x.status == http.StatusForbidden:
		r.denied = x.status == http.StatusUnauthorized
		return r.refused(x.status)
	case x.status/100 == 3:
		return r.refuse(fault.SourceRefused, "the server redirects to another scheme or address (%d), which is not followed", x.status)
	case x.status == http.StatusNotFound || x.status == http.StatusGone:
		return r.refuse(fault.FetchFailed, "there is no such repository (%d), or this credential may not see it", x.status)
	case x.status == http.StatusTooManyRequests || x.status >= 500:
		if x.after > 0 {
			return fault.After(fault.FetchFailed, x.after, "fetch %s: the server answers %d", r.url, x.status)
		}
		return fault.Retry(fault.FetchFailed, "fetch %s: the server answers %d", r.url, x.status)
	}
	return r.refuse(fault.FetchFailed, "the server answers %d", x.status)
}

func (r *remote) refused(status int) error {
	if r.credential.secret == nil {
		return r.refuse(fault.FetchFailed, "the server wants a credential (%d); name a Secret in spec.source.secretRef, or check the URL", status)
	}
	return r.refuse(fault.FetchFailed, "the server refuses the %s (%d); check the Secret that spec.source.secretRef or git.credentials names", r.credential, status)
}

// unwrap gets through go-git's wrapper, which hides what it wraps.
func unwrap(err error) error {
	var hidden *plumbing.UnexpectedError
	for errors.As(err, &hidden) {
		err = hidden.Err
	}
	return err
}
