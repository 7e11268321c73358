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
	Catalog *catalog.Catalog
}

// Query is the fetch of an Application's ref. Errors are SourceRefused.
func (p Policy) Query(ctx context.Context, a *v1alpha1.Application) (git.Query, error) {
	u, err := p.URL(a)
	if err != nil {
		return git.Query{}, err
	}
	credential, err := p.Credential(ctx, a, u, a.Spec.Source.SecretRef, "spec.source.secretRef")
	if err != nil {
		return git.Query{}, err
	}
	return git.Query{URL: u, Ref: a.Spec.Source.Ref, Semver: a.Spec.Source.Semver, Credential: credential}, nil
}

// URL is the Application's repository, when its namespace may use it.
func (p Policy) URL(a *v1alpha1.Application) (git.URL, error) {
	u, err := git.ParseURL(a.Spec.Source.Repo, p.Git.InsecureHosts)
	if err != nil {
		return git.URL{}, fmt.Errorf("read spec.source.repo: %w", err)
	}
	if !p.Git.Allows(u.String(), a.Namespace) {
		return git.URL{}, fault.Refuse(fault.SourceRefused, fault.Place{Object: "Application " + a.Key().String(), Field: "spec.source.repo"},
			"namespace %s may not use this repository; an administrator allows it in git.sources", a.Namespace)
	}
	return u, nil
}

// Repo is the canonical name of the Application's repository; empty when it has none.
func (p Policy) Repo(a *v1alpha1.Application) string {
	u, err := git.ParseURL(a.Spec.Source.Repo, p.Git.InsecureHosts)
	if err != nil {
		return ""
	}
	return u.Known(p.Git.Aliases)
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
