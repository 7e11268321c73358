package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/chart"
	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/oci"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// chartMount is where the chart of spec.source.helm stands in the tree. A named
// source cannot take the place, since names hold no dollar sign and this is no name
// that spec.sources may have: "chart" is refused there.
const chartMount = "$chart"

// Heads finds the newest commit of a ref.
type Heads interface {
	At(ctx context.Context, q git.Query) (git.Commit, error)
}

// Assembler fetches all that an Application is made of and makes one tree of it:
// spec.source is its root, each of spec.sources stands at $<name>, the chart of
// spec.source.helm at $chart, and what the chart depends on in its charts directory.
type Assembler struct {
	Policy    Policy
	Store     *git.Store
	Heads     Heads
	Artifacts *oci.Client
	Charts    *chart.Fetcher
	// Given are trees that are taken as they are, in the place of what would be fetched:
	// by the name in spec.sources, empty for spec.source, "chart" for that of
	// spec.source.helm. Nothing is verified of them.
	Given map[string]tree.Tree
}

// Freshness says how new commits have to be: fetched after a mark of the store, and
// which commit a push announced: of every tree of Repo that follows WantRef, or without
// Repo of spec.source.
type Freshness struct {
	After               uint64
	Repo, Want, WantRef string
}

// of leaves out of an announcement what is not one of the tree.
func (fresh Freshness) of(p Policy, f Followed) Freshness {
	announced := f.Name == ""
	if fresh.Repo != "" {
		announced = p.RepoOf(f) == p.Canonical(fresh.Repo) && Follows(f.Ref, f.Semver, fresh.WantRef)
	}
	if !announced {
		fresh.Want, fresh.WantRef = "", ""
	}
	return fresh
}

// Assembly is what an Application is made of at one moment.
type Assembly struct {
	// Revision is the commit of spec.source, or the digest of its artifact.
	Revision string
	Began    time.Time // when the fetch began that found it
	Tree     tree.Tree
	// Chart is where the chart to render stands in Tree; empty: at the source's path.
	Chart string
	// Sources are the revisions of everything else.
	Sources []v1alpha1.SourceRevision
}

// Assemble fetches and puts together. Errors are SourceRefused or FetchFailed and
// name the field.
func (s *Assembler) Assemble(ctx context.Context, a *v1alpha1.Application, fresh Freshness) (Assembly, error) {
	made, err := s.main(ctx, a, fresh)
	if err != nil {
		return made, err
	}
	mounts := map[string]tree.Tree{}
	for _, f := range Trees(a) {
		if f.Name == "" {
			continue // made already
		}
		if "$"+f.Name == chartMount {
			return made, fault.Refuse(fault.SourceRefused, catalog.PlaceOf(a, f.Field), "the name chart is for the chart of spec.source.helm; choose another")
		}
		other, err := s.one(ctx, a, f, fresh)
		if err != nil {
			return made, err
		}
		mounts["$"+f.Name] = other.Tree
		made.Sources = append(made.Sources, v1alpha1.SourceRevision{Name: f.Name, Revision: other.Revision})
	}
	if err := s.chart(ctx, a, &made, mounts); err != nil {
		return made, err
	}
	if made.Tree, err = tree.Mount(made.Tree, mounts); err != nil {
		return made, err
	}
	return made, s.dependencies(ctx, a, &made)
}

// main fetches spec.source. That of a chart alone holds nothing else; then the chart
// is the revision.
func (s *Assembler) main(ctx context.Context, a *v1alpha1.Application, fresh Freshness) (Assembly, error) {
	f := Main(a)
	_, given := s.Given[f.Name]
	if helm := a.Spec.Source.Helm; f.Repo != "" || given || helm == nil || helm.Chart == "" {
		return s.one(ctx, a, f, fresh)
	}
	nothing, err := tree.FromFiles(nil)
	return Assembly{Tree: nothing, Began: time.Now()}, err
}

// one fetches one tree.
func (s *Assembler) one(ctx context.Context, a *v1alpha1.Application, f Followed, fresh Freshness) (Assembly, error) {
	if given, ok := s.Given[f.Name]; ok {
		return Assembly{Tree: given}, nil
	}
	if f.Artifact() {
		return s.artifact(ctx, a, f)
	}
	query, err := s.Policy.QueryOf(ctx, a, f)
	if err != nil {
		return Assembly{}, err
	}
	fresh = fresh.of(s.Policy, f)
	query.After, query.Want, query.WantRef = fresh.After, fresh.Want, fresh.WantRef
	commit, err := s.Heads.At(ctx, query)
	if err != nil {
		return Assembly{}, within(f, fault.As(fault.FetchFailed, err))
	}
	made := Assembly{Revision: commit.SHA, Began: commit.Began}
	if err := s.verify(ctx, a, f, query.URL, commit.SHA); err != nil {
		return made, err
	}
	made.Tree, err = s.tree(ctx, a, f, query, commit)
	return made, within(f, fault.As(fault.FetchFailed, err))
}

// tree is that of a commit, with its submodules where they are wanted; elsewhere one
// below the path that is rendered is refused, whoever would read it.
func (s *Assembler) tree(ctx context.Context, a *v1alpha1.Application, f Followed, q git.Query, commit git.Commit) (tree.Tree, error) {
	if f.Submodules {
		allow := func(u git.URL) error { return s.Policy.allow(a, f.Field+".submodules", u.String()) }
		return s.Store.SubmoduleTree(ctx, q, commit, allow)
	}
	t, err := s.Store.Tree(ctx, q.URL, commit.SHA)
	if err != nil || f.Name != "" {
		return t, err
	}
	return t, t.RefuseSubmodules(path.Clean(a.Spec.Source.Path))
}

// within says which of several sources an error is about.
func within(f Followed, err error) error {
	if err == nil || f.Name == "" {
		return err
	}
	err = Relocate(err, f.Field+".")
	if !strings.Contains(err.Error(), f.Field) {
		err = fmt.Errorf("%s: %w", f.Field, err)
	}
	return err
}

// Relocate lets an error about fields of spec.source be one about the same fields
// elsewhere: what reads Git knows of one source only.
func Relocate(err error, fields string) error {
	if text := err.Error(); strings.Contains(text, ownFields) {
		return &relocated{strings.ReplaceAll(text, ownFields, fields), err}
	}
	return err
}

const ownFields = "spec.source."

// relocated has the class and the reason of what it wraps.
type relocated struct {
	text string
	err  error
}

func (r *relocated) Error() string { return r.text }
func (r *relocated) Unwrap() error { return r.err }

func (s *Assembler) verify(ctx context.Context, a *v1alpha1.Application, f Followed, u git.URL, sha string) error {
	if f.Verify == nil {
		return nil
	}
	place := catalog.PlaceOf(a, f.Field+".verify.secretRef")
	secret, err := s.Policy.Catalog.Secret(ctx, a.Namespace, f.Verify.SecretRef.Name, place)
	if err != nil {
		return fault.As(fault.SourceRefused, err)
	}
	keys, err := git.ParseKeys(secret)
	if err != nil {
		return fault.Refuse(fault.SourceRefused, place, "Secret %s/%s: %w", a.Namespace, f.Verify.SecretRef.Name, err)
	}
	_, err = s.Store.Verify(ctx, u, sha, keys)
	return within(f, fault.As(fault.SourceRefused, err))
}

func (s *Assembler) artifact(ctx context.Context, a *v1alpha1.Application, f Followed) (Assembly, error) {
	switch {
	case f.Verify != nil:
		return Assembly{}, fault.Refuse(fault.SourceRefused, catalog.PlaceOf(a, f.Field+".verify"), "signatures of artifacts are not checked; name the artifact by its digest instead")
	case f.Submodules:
		return Assembly{}, fault.Refuse(fault.SourceRefused, catalog.PlaceOf(a, f.Field+".submodules"), "an artifact has no submodules; remove the field")
	}
	if err := s.Policy.allow(a, f.Field+".repo", f.Repo); err != nil {
		return Assembly{}, err
	}
	credential, err := s.Policy.Registry(ctx, a, f.Repo, f.SecretRef, f.Field+".secretRef")
	if err != nil {
		return Assembly{}, err
	}
	began := time.Now()
	found, err := s.Artifacts.Fetch(ctx, oci.Query{URL: f.Repo, Ref: f.Ref, Semver: f.Semver, Credential: credential})
	if err != nil {
		return Assembly{}, fmt.Errorf("%s.repo: %w", f.Field, fault.As(fault.FetchFailed, err))
	}
	return Assembly{Revision: found.Digest, Began: began, Tree: found.Tree}, nil
}

// chart fetches the chart of a repository.
func (s *Assembler) chart(ctx context.Context, a *v1alpha1.Application, made *Assembly, mounts map[string]tree.Tree) error {
	helm := a.Spec.Source.Helm
	if helm == nil || helm.Chart == "" {
		return nil
	}
	if given, ok := s.Given[strings.TrimPrefix(chartMount, "$")]; ok {
		mounts[chartMount], made.Chart = given, chartMount
		return nil
	}
	found, err := s.fetchChart(ctx, a, chart.Query{Repo: helm.Repo, Name: helm.Chart, Version: helm.Version, Digest: helm.Digest}, helm.SecretRef, "spec.source.helm.repo")
	if err != nil {
		return err
	}
	mounts[chartMount], made.Chart = found.Tree, chartMount
	if made.Revision == "" {
		made.Revision = found.Digest
	}
	made.Sources = append(made.Sources, v1alpha1.SourceRevision{Name: chartMount, Revision: found.Version + "@" + found.Digest})
	return nil
}

func (s *Assembler) fetchChart(ctx context.Context, a *v1alpha1.Application, q chart.Query, secret *v1alpha1.LocalReference, repoField string) (chart.Chart, error) {
	if err := s.Policy.allow(a, repoField, q.Repo); err != nil {
		return chart.Chart{}, err
	}
	var err error
	if q.Credential, err = s.Policy.Registry(ctx, a, q.Repo, secret, "spec.source.helm.secretRef"); err != nil {
		return chart.Chart{}, err
	}
	found, err := s.Charts.Fetch(ctx, q)
	return found, fault.As(fault.FetchFailed, err)
}

// dependencies fetches what the chart that will be rendered depends on and does
// not carry with it.
func (s *Assembler) dependencies(ctx context.Context, a *v1alpha1.Application, made *Assembly) error {
	root := made.Chart
	if root == "" {
		root = path.Clean(a.Spec.Source.Path)
	}
	is, err := isChart(a, made.Tree, root)
	if !is || err != nil {
		return err
	}
	needed, err := chart.Dependencies(made.Tree, root)
	if err != nil {
		return fault.As(fault.SourceRefused, err)
	}
	mounts := map[string]tree.Tree{}
	for _, d := range needed {
		t, revision, err := s.dependency(ctx, a, made.Tree, d)
		if err != nil {
			return fmt.Errorf("fetch chart %s, on which that in %s depends: %w", d.Name, root, err)
		}
		mounts[d.Mount] = t
		made.Sources = append(made.Sources, v1alpha1.SourceRevision{Name: d.Mount, Revision: revision})
	}
	made.Tree, err = tree.Mount(made.Tree, mounts)
	return err
}

// isChart says whether the source will be rendered by Helm, as render detects it.
func isChart(a *v1alpha1.Application, t tree.Tree, root string) (bool, error) {
	s := a.Spec.Source
	if s.Directory != nil || s.Kustomize != nil || s.Jsonnet != nil {
		return false, nil
	}
	_, err := t.Stat(path.Join(root, "Chart.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (s *Assembler) dependency(ctx context.Context, a *v1alpha1.Application, t tree.Tree, d chart.Dependency) (tree.Tree, string, error) {
	if d.Local != "" {
		return tree.Sub(t, d.Local), d.Version, nil
	}
	var secret *v1alpha1.LocalReference
	if helm := a.Spec.Source.Helm; helm != nil && sameServer(helm.Repo, d.Repo) {
		secret = helm.SecretRef
	}
	found, err := s.fetchChart(ctx, a, chart.Query{Repo: d.Repo, Name: d.Name, Version: d.Version}, secret, fmt.Sprintf("dependencies[%s].repository", d.Name))
	return found.Tree, found.Version + "@" + found.Digest, err
}

// sameServer says whether two URLs lead to one server in the same way: a credential goes
// no further, and not in clear text where the other URL would not send it so.
func sameServer(a, b string) bool {
	origin := func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" {
			return ""
		}
		if u.Scheme == "oci" {
			u.Scheme = "https"
		}
		return egress.Origin(u)
	}
	return origin(a) != "" && origin(a) == origin(b)
}
