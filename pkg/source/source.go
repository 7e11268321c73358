// Package source says how the repository of an Application may be reached: what
// the configuration allows, and with which credential.
//
// It may import catalog, config and git. Errors are SourceRefused, and name the
// field of the Application or of the configuration.
package source

import (
	"context"
	"fmt"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// Policy is that of the configuration, with credentials from the Application's
// own Secret, else from the configuration by URL prefix.
type Policy struct {
	Git     config.Git
	Catalog Secrets
}

// Secrets reads what an Application names, as catalog.Catalog does.
type Secrets interface {
	Secret(ctx context.Context, namespace, name string, place fault.Place) (map[string][]byte, error)
}

var _ Secrets = (*catalog.Catalog)(nil)

// Query is the fetch of spec.source. Errors are SourceRefused.
func (p Policy) Query(ctx context.Context, a *v1alpha1.Application) (git.Query, error) {
	return p.QueryOf(ctx, a, Main(a))
}

// QueryOf is the fetch of one of the Application's trees, which is one of Git.
func (p Policy) QueryOf(ctx context.Context, a *v1alpha1.Application, f Followed) (git.Query, error) {
	u, err := p.URLOf(a, f)
	if err != nil {
		return git.Query{}, err
	}
	credential, err := p.Credential(ctx, a, u, f.SecretRef, f.Field+".secretRef")
	if err != nil {
		return git.Query{}, err
	}
	return git.Query{URL: u, Ref: f.Ref, Semver: f.Semver, Credential: credential}, nil
}

// URLOf is the repository of a tree of Git, when the Application's namespace may
// use it.
func (p Policy) URLOf(a *v1alpha1.Application, f Followed) (git.URL, error) {
	u, err := git.ParseURL(f.Repo, p.Git.InsecureHosts)
	if err != nil {
		return git.URL{}, fmt.Errorf("read %s.repo: %w", f.Field, err)
	}
	return u, p.allow(a, f.Field+".repo", u.String())
}

// Canonical is a repository's own name where the given one is an alias.
func (p Policy) Canonical(repo string) string {
	if own, ok := p.Git.Aliases[repo]; ok {
		return own
	}
	return repo
}

// Follows says whether a push of a ref, by its full name, may change what an
// Application's ref or range over tags leads to. The remote's HEAD may be any branch.
func Follows(ref, semver, pushed string) bool {
	switch {
	case semver != "":
		_, _, err := git.Newest(map[string]string{pushed: ""}, semver)
		return err == nil
	case ref == "":
		return strings.HasPrefix(pushed, "refs/heads/")
	case strings.HasPrefix(ref, "refs/"):
		return pushed == ref
	}
	return pushed == "refs/heads/"+ref || pushed == "refs/tags/"+ref
}
