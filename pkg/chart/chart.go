// Package chart gets Helm charts: from repositories over HTTP, from registries,
// and by the dependencies that a chart in a tree locks.
//
// It may import oci (whose Credential it takes), egress, tree, its archive and
// shelf, and fault; helm itself stays with render. How it fails: as oci does, and
// what a chart or an index must not say is permanent (SourceRefused), naming the
// file and field.
package chart

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/oci"
	"github.com/plumb-gitops/plumb/pkg/tree"
	"github.com/plumb-gitops/plumb/pkg/tree/archive"
	"github.com/plumb-gitops/plumb/pkg/tree/shelf"
)

// Options are tunables; the zero value is useful.
type Options struct {
	InsecureHosts []string       // as git.insecureHosts
	RootCAs       *x509.CertPool // nil: the system's
	Timeout       time.Duration  // of one index or archive; default 1 min
	Limits        archive.Limits // of one chart
	Index         int64          // bytes of an index.yaml; default 32 MiB
	Cache         int64          // bytes of charts that are kept, and again of indexes; default 32 MiB
	Log           *slog.Logger   // default: none
	Now           func() time.Time
}

// Fetcher fetches charts. It is safe for concurrent use.
type Fetcher struct {
	o        Options
	registry *oci.Client
	policy   egress.Policy
	next     http.RoundTripper
	charts   *shelf.Shelf
	indexes  indexes
}

// New returns a Fetcher that asks registry for the charts of registries.
func New(registry *oci.Client, o Options) *Fetcher {
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.Limits.Archive = cmp.Or(o.Limits.Archive, archive.New(archive.Limits{}).Limits().Archive)
	o.Index = cmp.Or(o.Index, 32<<20)
	o.Cache = cmp.Or(o.Cache, 32<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := egress.Policy{InsecureHosts: o.InsecureHosts, RootCAs: o.RootCAs}
	f := &Fetcher{o: o, registry: registry, policy: p, next: p.Transport(), charts: shelf.New(o.Cache, o.Timeout)}
	f.indexes = indexes{limit: o.Cache, kept: map[string]*index{}, line: egress.Line[*index]{Timeout: o.Timeout}}
	return f
}

// Query names a chart. Repo is https://… of a Helm repository or oci://… of the
// registry's part above the chart. Version is one version or a range; empty: the
// newest that is no pre-release. Digest, as sha256:…, pins the archive of a
// repository, or the manifest of a registry; the version must still fit it.
type Query struct {
	Repo       string
	Name       string
	Version    string
	Digest     string
	Credential oci.Credential
}

// Chart is what was found. Its tree's root is the chart's directory, and Digest
// that of the archive (repository) or manifest (registry).
type Chart struct {
	Version string
	Digest  string
	Tree    tree.Tree
}

var (
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Fetch finds a chart and reads it. A chart that is on the shelf costs one request,
// for the index or the manifest.
func (f *Fetcher) Fetch(ctx context.Context, q Query) (Chart, error) {
	if !nameForm.MatchString(q.Name) || strings.Contains(q.Name, "..") {
		return Chart{}, refuse("the name of a chart is made of letters, digits, dots, dashes, underscores and slashes")
	}
	if q.Digest != "" && !digestForm.MatchString(q.Digest) {
		return Chart{}, refuse("the digest of chart %s is not of the form sha256:<64 hex digits>", q.Name)
	}
	wanted, err := parseRange(q.Version)
	if err != nil {
		return Chart{}, fmt.Errorf("fetch chart %s: %w", q.Name, err)
	}
	fetch := f.fromRepository
	if strings.HasPrefix(q.Repo, "oci://") {
		fetch = f.fromRegistry
	}
	c, err := fetch(ctx, q, wanted)
	if err != nil {
		return Chart{}, fmt.Errorf("fetch chart %s: %w", q.Name, err)
	}
	if _, err := c.Tree.Stat(chartFile); err != nil {
		return Chart{}, refuse("fetch chart %s: what %s holds has no Chart.yaml, so it is no chart", q.Name, c.Digest)
	}
	return c, nil
}

// parseRange reads a version or range as Helm does: empty is any release.
func parseRange(version string) (*semver.Constraints, error) {
	c, err := semver.NewConstraint(cmp.Or(version, "*"))
	if err != nil {
		return nil, refuse("%q is neither a version nor a range of versions, such as 1.2.3 or ^1.2", version)
	}
	return c, nil
}

// exact says whether a version is one and no range: all three numbers, as Helm
// takes them for the tag in a registry.
func exact(version string) bool {
	_, err := semver.StrictNewVersion(strings.TrimPrefix(version, "v"))
	return err == nil
}

// fromRegistry asks for <repo>/<name> with the version as tag, where an underscore
// stands for a plus; Helm, "Use OCI-based registries".
func (f *Fetcher) fromRegistry(ctx context.Context, q Query, wanted *semver.Constraints) (Chart, error) {
	ask := oci.Query{URL: strings.TrimRight(q.Repo, "/") + "/" + q.Name, Credential: q.Credential}
	switch {
	case q.Digest != "":
		ask.Ref = q.Digest
	case exact(q.Version):
		ask.Ref = strings.ReplaceAll(q.Version, "+", "_")
	default:
		ask.Semver = cmp.Or(q.Version, "*")
	}
	a, err := f.registry.Fetch(ctx, ask)
	if err != nil {
		return Chart{}, err
	}
	c := Chart{Version: strings.ReplaceAll(a.Tag, "_", "+"), Digest: a.Digest, Tree: a.Tree}
	if q.Digest != "" {
		return c, c.pinned(q, wanted)
	}
	return c, nil
}

// pinned takes the version from the chart itself, and checks that it is wanted.
func (c *Chart) pinned(q Query, wanted *semver.Constraints) error {
	m, err := readMetadata(c.Tree, chartFile)
	if err != nil {
		return err
	}
	c.Version = m.Version
	v, err := semver.NewVersion(m.Version)
	if q.Version != "" && m.Version != q.Version && (err != nil || !wanted.Check(v)) {
		return refuse("the digest is that of version %.64q, and %q is wanted; correct version or digest", m.Version, q.Version)
	}
	return nil
}

// fromRepository looks the archive up in the repository's index.
func (f *Fetcher) fromRepository(ctx context.Context, q Query, wanted *semver.Constraints) (Chart, error) {
	repo, err := f.repository(q.Repo)
	if err != nil {
		return Chart{}, err
	}
	from := &remote{fetcher: f, repo: repo, credential: q.Credential}
	i, err := f.indexes.get(ctx, from)
	if err != nil {
		return Chart{}, err
	}
	r, err := i.find(q.Name, q.Version, wanted)
	if err != nil {
		return Chart{}, err
	}
	if q.Digest != "" && r.Digest != "" && r.Digest != q.Digest {
		return Chart{}, refuse("version %s has the digest %s in the repository's index, and %s is wanted; look why before you change spec.source.helm.digest", r.Version, r.Digest, q.Digest)
	}
	digest := cmp.Or(q.Digest, r.Digest)
	at, err := from.resolve(r.URL)
	if err != nil {
		return Chart{}, err
	}
	if digest == "" {
		return f.unpinned(ctx, from, at, r)
	}
	key := strings.Join([]string{from.String(), from.credential.Key(), digest}, "\x00")
	t, err := f.charts.Get(ctx, key, func(ctx context.Context) (shelf.Item, error) {
		f.o.Log.DebugContext(ctx, "fetching chart", "repository", from.String(), "chart", q.Name, "digest", digest)
		item, _, err := from.archive(ctx, at, digest)
		return item, err
	})
	if err != nil {
		return Chart{}, err
	}
	return Chart{Version: r.Version, Digest: digest, Tree: t}, nil
}

// unpinned fetches an archive that nobody names a digest for; nothing says whether
// it is still the one that was fetched before.
func (f *Fetcher) unpinned(ctx context.Context, from *remote, at *url.URL, r release) (Chart, error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	item, digest, err := from.archive(ctx, at, "")
	return Chart{Version: r.Version, Digest: digest, Tree: item.Tree}, err
}

func (f *Fetcher) repository(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, refuse("read URL of the repository: it is not of the form https://host/path")
	}
	if err := f.policy.Check(u); err != nil {
		return nil, fmt.Errorf("read URL of the repository: %w", err)
	}
	return u.JoinPath("/"), nil
}

func refuse(format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{}, format, args...)
}
