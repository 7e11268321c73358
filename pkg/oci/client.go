// Package oci reads trees out of registries: artifacts as flux, oras and helm push
// them. It owns references to them, credentials for registries and what of a
// manifest is taken.
//
// It may import egress, tree, its archive and shelf, and fault. Blobs and manifests
// are verified by digest before anything in them is read. How it fails: what is
// refused by rule, a missing artifact and a refused credential are permanent
// (SourceRefused); too many requests say when to come back; the network, 5xx and
// bytes that do not match their digest are transient (FetchFailed). No error, log
// line or String method shows a credential.
package oci

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/tree"
	"github.com/plumb-gitops/plumb/pkg/tree/archive"
	"github.com/plumb-gitops/plumb/pkg/tree/shelf"
)

// Options are tunables; the zero value is useful.
type Options struct {
	InsecureHosts []string       // as git.insecureHosts: they may be this machine, and speak plain http
	RootCAs       *x509.CertPool // nil: the system's
	Timeout       time.Duration  // of one manifest, one list of tags, or all blobs of an artifact; default 1 min
	Limits        archive.Limits // of one artifact
	Tags          int            // the longest list of tags that a range is looked for in; default 10,000
	Cache         int64          // bytes of trees that are kept; default 64 MiB
	Log           *slog.Logger   // default: none
	Now           func() time.Time
}

// Client fetches artifacts. It is safe for concurrent use, and keeps trees by digest.
type Client struct {
	o        Options
	policy   egress.Policy
	next     http.RoundTripper
	trees    *shelf.Shelf
	resolves egress.Line[found]

	mu       sync.Mutex
	sessions map[string]*session
}

// New returns a Client.
func New(o Options) *Client {
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.Tags = cmp.Or(o.Tags, 10_000)
	o.Cache = cmp.Or(o.Cache, 64<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := egress.Policy{InsecureHosts: o.InsecureHosts, RootCAs: o.RootCAs}
	return &Client{
		o: o, policy: p, next: p.Transport(), trees: shelf.New(o.Cache, o.Timeout),
		resolves: egress.Line[found]{Timeout: o.Timeout}, sessions: map[string]*session{},
	}
}

// Query names an artifact. URL is oci://host[:port]/repository. Ref is a tag or a
// sha256 digest, empty: latest; Semver, instead of it, is a range over tags.
type Query struct {
	URL        string
	Ref        string
	Semver     string
	Credential Credential
	// Known is the digest of an artifact that the caller has: if that is what is
	// found, the answer has no Tree and nothing is fetched.
	Known string
}

// Artifact is what was found: the digest of its manifest, the tag that led there
// (empty when the query named a digest), and its files. The root of a Helm chart's
// tree is the chart's directory.
type Artifact struct {
	Digest string
	Tag    string
	Tree   tree.Tree
}

// found is what a query leads to.
type found struct{ digest, tag string }

// Fetch finds an artifact and reads it. What is on the shelf already costs one
// request for the manifest's digest; callers who ask the same at the same time
// share it.
func (c *Client) Fetch(ctx context.Context, q Query) (Artifact, error) {
	repo, err := c.parse(q.URL)
	if err != nil {
		return Artifact{}, err
	}
	if q.Ref != "" && q.Semver != "" {
		return Artifact{}, refuse("fetch %s: ref and semver exclude each other", q.URL)
	}
	s := c.session(repo, q.Credential)
	key := strings.Join([]string{repo.Name(), q.Ref, q.Semver, q.Credential.Key()}, "\x00")
	at, err := c.resolves.Ask(ctx, key, func(ctx context.Context) (found, error) { return c.resolve(ctx, s, q) })
	if err != nil {
		return Artifact{}, egress.Explain("fetch "+q.URL, err)
	}
	if at.digest == q.Known {
		return Artifact{Digest: at.digest, Tag: at.tag}, nil
	}
	// The registry has just shown the manifest to this credential, so that a tree
	// which another one fetched gives nothing away.
	t, err := c.trees.Get(ctx, repo.Name()+"@"+at.digest, func(ctx context.Context) (shelf.Item, error) {
		c.o.Log.DebugContext(ctx, "fetching artifact", "repository", repo.Name(), "digest", at.digest)
		return s.load(ctx, at.digest, c.o.Limits)
	})
	if err != nil {
		return Artifact{}, egress.Explain("fetch "+q.URL, err)
	}
	return Artifact{Digest: at.digest, Tag: at.tag, Tree: t}, nil
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (c *Client) resolve(ctx context.Context, s *session, q Query) (found, error) {
	ref := cmp.Or(q.Ref, "latest")
	if digestForm.MatchString(ref) {
		digest, err := s.head(ctx, ref)
		if err == nil && digest != ref {
			err = fault.Retry(fault.FetchFailed, "the registry answers with %s for %s", digest, ref)
		}
		return found{digest: digest}, err
	}
	if q.Semver != "" {
		tag, err := s.newest(ctx, q.Semver, c.o.Tags)
		if err != nil {
			return found{}, err
		}
		ref = tag
	}
	if _, err := name.NewTag(s.repo.Name()+":"+ref, name.StrictValidation); err != nil {
		return found{}, refuse("%q is neither a tag nor a sha256 digest", ref)
	}
	digest, err := s.head(ctx, ref)
	return found{digest: digest, tag: ref}, err
}

// parse reads the URL of a repository. The error never repeats the URL, which may
// carry a credential.
func (c *Client) parse(raw string) (name.Repository, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "oci" || u.RawQuery != "" || u.Fragment != "" {
		return name.Repository{}, refuse("read URL: it is not of the form oci://host[:port]/repository")
	}
	plain := url.URL{Scheme: "https", User: u.User, Host: u.Host}
	if err := c.policy.Check(&plain); err != nil {
		return name.Repository{}, fmt.Errorf("read URL: %w", err)
	}
	registry, err := name.NewRegistry(strings.ToLower(u.Host))
	if err != nil {
		return name.Repository{}, refuse("read URL: its host is not one of a registry")
	}
	path := strings.Trim(u.Path, "/")
	if _, err := name.NewRepository("registry.local/"+path, name.WeakValidation); err != nil || !repositoryForm.MatchString(path) {
		return name.Repository{}, refuse("read URL: its path is not the name of a repository; tags and digests go into ref")
	}
	return registry.Repo(path), nil
}

// repositoryForm is the name of a repository; OCI distribution specification,
// "Pulling manifests".
var repositoryForm = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// maxSessions bounds how many are remembered.
const maxSessions = 1000

func (c *Client) session(repo name.Repository, credential Credential) *session {
	key := repo.Name() + "\x00" + credential.Key()
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[key]; s != nil {
		return s
	}
	for old := range c.sessions { // one only saves a handshake
		if len(c.sessions) < maxSessions {
			break
		}
		delete(c.sessions, old)
	}
	s := newSession(repo, credential.login(repo.RegistryStr(), repo.RepositoryStr()), c.policy, c.next)
	s.guard.clock = c.o.Now
	c.sessions[key] = s
	return s
}

func refuse(format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{}, format, args...)
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }
