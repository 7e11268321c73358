package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// Followed is one of the trees that an Application is made of, and the field
// that names it.
type Followed struct {
	v1alpha1.NamedSource
	Field string
}

// Main is spec.source, under no name. One of a chart alone has no Repo.
func Main(a *v1alpha1.Application) Followed {
	s := a.Spec.Source
	return Followed{Field: "spec.source", NamedSource: v1alpha1.NamedSource{
		Repo: s.Repo, Ref: s.Ref, Semver: s.Semver, SecretRef: s.SecretRef, Submodules: s.Submodules, Verify: s.Verify,
	}}
}

// Trees are spec.source, where it has a repository, and each of spec.sources.
func Trees(a *v1alpha1.Application) []Followed {
	var trees []Followed
	if main := Main(a); main.Repo != "" {
		trees = append(trees, main)
	}
	for _, named := range a.Spec.Sources {
		trees = append(trees, Followed{NamedSource: named, Field: fmt.Sprintf("spec.sources[%s]", named.Name)})
	}
	return trees
}

// Artifact says whether the tree is one of a registry, not of Git.
func (f Followed) Artifact() bool { return strings.HasPrefix(f.Repo, "oci://") }

// Repo is the canonical name of a tree's repository; empty when it has none.
func (p Policy) RepoOf(f Followed) string {
	if f.Artifact() {
		name, err := event.RepoName("https" + strings.TrimPrefix(f.Repo, "oci"))
		if err != nil {
			return ""
		}
		return p.Canonical(name)
	}
	u, err := git.ParseURL(f.Repo, p.Git.InsecureHosts)
	if err != nil {
		return ""
	}
	return u.Known(p.Git.Aliases)
}

// Concerned are the trees of an Application that a push of a ref may change.
func (p Policy) Concerned(a *v1alpha1.Application, repo, pushed string) []Followed {
	var concerned []Followed
	for _, f := range Trees(a) {
		if !f.Artifact() && p.RepoOf(f) == p.Canonical(repo) && Follows(f.Ref, f.Semver, pushed) {
			concerned = append(concerned, f)
		}
	}
	return concerned
}

// Plain says whether the Application is made of one tree of Git and nothing else:
// then that tree tells all that its render reads.
func Plain(a *v1alpha1.Application) bool {
	helm := a.Spec.Source.Helm
	return len(a.Spec.Sources) == 0 && !Main(a).Artifact() && !a.Spec.Source.Submodules && (helm == nil || helm.Chart == "")
}

// Silent says whether a part of what the Application is made of changes without an
// event: then an attempt has to look, once in every interval.
func Silent(a *v1alpha1.Application) bool {
	s := a.Spec.Source
	return s.Helm != nil && s.Helm.Chart != "" || s.Substitute != nil && len(s.Substitute.From) > 0 ||
		slices.ContainsFunc(Trees(a), Followed.Artifact)
}

// allow refuses a URL that the configuration keeps from the namespace.
func (p Policy) allow(a *v1alpha1.Application, field, url string) error {
	if p.Git.Allows(url, a.Namespace) {
		return nil
	}
	return fault.Refuse(fault.SourceRefused, catalog.PlaceOf(a, field),
		"namespace %s may not use this repository; an administrator allows it in git.sources", a.Namespace)
}
