package chart

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"

	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/oci"
	"github.com/plumb-gitops/plumb/pkg/tree/archive"
	"github.com/plumb-gitops/plumb/pkg/tree/shelf"
)

// remote is a Helm repository as one credential sees it.
type remote struct {
	fetcher    *Fetcher
	repo       *url.URL // with a slash at its end
	credential oci.Credential
}

func (r *remote) String() string { return r.repo.String() }

// RoundTrip puts the credential on requests to the repository's own origin, and on
// no others, whatever led to them.
func (r *remote) RoundTrip(req *http.Request) (*http.Response, error) {
	if value := r.credential.For(r.repo); value != "" && egress.Origin(req.URL) == egress.Origin(r.repo) {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", value)
	}
	return r.fetcher.next.RoundTrip(req)
}

// get returns an answer with status 200 or 304; everything else is a classified error.
func (r *remote) get(ctx context.Context, doing string, u *url.URL, h http.Header, missing string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, refuse("%s: the URL cannot be asked for", doing)
	}
	for name, values := range h {
		req.Header[name] = values
	}
	res, err := (&http.Client{Transport: r}).Do(req)
	if err != nil {
		return nil, egress.Explain(doing, err)
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNotModified && h != nil {
		return res, nil
	}
	_ = res.Body.Close() // what it says is not repeated
	denied := fmt.Sprintf("the server refuses the %s; check the Secret of secretRef, and that the archive is on the repository's own host", r.credential)
	if r.credential.For(r.repo) == "" {
		denied = "the server wants a credential; name a Secret in spec.source.helm.secretRef, or check the URL"
	}
	return nil, egress.Answer{Doing: doing, Status: res.StatusCode, Header: res.Header, Now: r.fetcher.o.Now(), Missing: missing, Denied: denied}.Fault()
}

// resolve makes the URL of an archive absolute; the index gives it as seen from
// the repository.
func (r *remote) resolve(ref string) (*url.URL, error) {
	u, err := r.repo.Parse(ref)
	if err != nil {
		return nil, refuse("the index names an archive by a URL that does not parse")
	}
	if err := r.fetcher.policy.Check(u); err != nil {
		return nil, fmt.Errorf("read URL of the archive in the index: %w", err)
	}
	return u, nil
}

// archive reads a chart's archive, which must have the digest if there is one.
func (r *remote) archive(ctx context.Context, u *url.URL, want string) (shelf.Item, string, error) {
	const doing = "read the archive"
	res, err := r.get(ctx, doing, u, nil, "the server does not have the archive that the index names")
	if err != nil {
		return shelf.Item{}, "", err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := egress.Body(res.Body, r.fetcher.o.Limits.Archive)
	if err != nil {
		return shelf.Item{}, "", egress.Explain(doing, err)
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	if want != "" && digest != want {
		return shelf.Item{}, "", fault.Retry(fault.FetchFailed, "%s: it has the digest %s, and %s is wanted; the archive was changed after it was published", doing, digest, want)
	}
	files := archive.New(r.fetcher.o.Limits)
	if err := files.Package(data); err != nil {
		return shelf.Item{}, "", err
	}
	t, err := files.Tree()
	return shelf.Item{Tree: t, Weight: files.Weight()}, digest, err
}
