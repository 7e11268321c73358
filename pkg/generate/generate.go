// Package generate expands an ApplicationSet: parameters of its generators, and an
// Application of its template for each of them.
//
// It is pure: the same set, cluster and trees give the same Applications. It may
// import the Application API and fault, reads Git through the function it is
// given, and reaches neither network, environment nor clock. Templates come from
// tenants and parameters from repositories, so output, steps, depth and counts are
// bounded, and the context ends what takes too long.
//
// It fails as a whole: an expansion is all Applications or an error, since what is
// missing from it would be deleted. Errors are GenerateFailed and name the place in
// the set, or the file; those of reading Git keep their own class and reason.
package generate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

const (
	// maxApplications bounds one set.
	maxApplications = 2000
	// maxErrors is how many errors of one expansion are told.
	maxErrors = 8
	// maxSources is how many refs one set may read.
	maxSources = 32
)

// Cluster is what the clusters generator yields.
type Cluster struct {
	Name   string
	Labels map[string]string
}

// Tree is the files of a commit; those of git and tree are.
type Tree interface {
	fs.ReadDirFS
	fs.ReadFileFS
}

// Source names what is read of Git.
type Source struct {
	Repo, Ref string
	Secret    string // name of the Secret in the set's namespace; may be empty
}

// Input is all that an expansion depends on.
type Input struct {
	Set     *v1alpha1.ApplicationSet
	Cluster Cluster
	// Read returns the tree of a source and its revision. It is called once per source.
	Read func(context.Context, Source) (tree Tree, revision string, err error)
}

// Application is one generated Application.
type Application struct {
	Object *unstructured.Unstructured
	// Place is the element that it comes of, as in spec.generators[0].list.elements[2].
	Place string
}

// Result is what a set means.
type Result struct {
	Applications []Application        // by name
	Sources      []v1alpha1.SetSource // in the order of their first use
}

// Expand carries a set out. An error means that nothing is known of what the set
// generates; Sources are what was read until then.
func Expand(ctx context.Context, in Input) (Result, error) {
	r := &reader{ctx: ctx, in: in, trees: map[Source]Tree{}, left: newBudget()}
	elements, err := r.elements()
	if err != nil {
		return Result{Sources: r.sources}, err
	}
	b := builder{ctx: ctx, set: in.Set, left: r.left}
	var all []Application
	var failed []error
	for _, e := range elements {
		one, err := b.build(e)
		if err != nil {
			failed = append(failed, err)
		}
		if len(failed) > maxErrors || ctx.Err() != nil {
			break
		}
		all = append(all, one)
	}
	if err := errors.Join(failed...); err != nil {
		return Result{Sources: r.sources}, fault.Refuse(fault.GenerateFailed, placeOf(in.Set, ""), "%w", err)
	}
	if err := ctx.Err(); err != nil {
		return Result{Sources: r.sources}, fault.Retry(fault.GenerateFailed, "expand ApplicationSet %s: %w", in.Set.Key(), err)
	}
	slices.SortStableFunc(all, func(a, b Application) int { return strings.Compare(a.Object.GetName(), b.Object.GetName()) })
	if err := unique(in.Set, all); err != nil {
		return Result{Sources: r.sources}, err
	}
	return Result{Applications: all, Sources: r.sources}, nil
}

// unique refuses two elements of one name: neither can be told to be the right one.
func unique(set *v1alpha1.ApplicationSet, all []Application) error {
	var twice []error
	for i := 1; i < len(all) && len(twice) < maxErrors; i++ {
		if all[i].Object.GetName() == all[i-1].Object.GetName() {
			twice = append(twice, fmt.Errorf("%s and %s both make Application %s; let metadata.name tell them apart",
				all[i-1].Place, all[i].Place, all[i].Object.GetName()))
		}
	}
	if err := errors.Join(twice...); err != nil {
		return fault.Refuse(fault.GenerateFailed, placeOf(set, "spec.template.metadata.name"), "%w", err)
	}
	return nil
}

// Sources are those that a set names as such, without any that depend on parameters.
func Sources(set *v1alpha1.ApplicationSet) []Source {
	var all []Source
	for _, g := range set.Spec.Generators {
		for _, p := range plain(g) {
			if s, ok := sourceOf(p); ok && !templated(s.Repo) && !templated(s.Ref) && !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

func plain(g v1alpha1.Generator) []v1alpha1.PlainGenerator {
	if g.Matrix == nil {
		return []v1alpha1.PlainGenerator{g.PlainGenerator}
	}
	var parts []v1alpha1.PlainGenerator
	for _, p := range g.Matrix.Generators {
		parts = append(parts, p.PlainGenerator)
	}
	return parts
}

func sourceOf(g v1alpha1.PlainGenerator) (Source, bool) {
	var git v1alpha1.GitSource
	switch {
	case g.GitDirectories != nil:
		git = g.GitDirectories.GitSource
	case g.GitFiles != nil:
		git = g.GitFiles.GitSource
	default:
		return Source{}, false
	}
	s := Source{Repo: git.Repo, Ref: git.Ref}
	if git.SecretRef != nil {
		s.Secret = git.SecretRef.Name
	}
	return s, true
}

func placeOf(set *v1alpha1.ApplicationSet, field string) fault.Place {
	return fault.Place{Object: "ApplicationSet " + set.Key().String(), Field: field}
}
