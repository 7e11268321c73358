package reconcile

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/dependency"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/source"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// dependencies says which Application the revision waits for; nil: none. Each is read
// afresh: by what the watch told it may seem ready at what it was before.
func (t *attempt) dependencies(ctx context.Context, a *v1alpha1.Application, made source.Assembly) (*held, error) {
	if cycle := dependency.Cycle(a.Key(), t.dependsOn(a)); cycle != nil {
		return waits(metav1.ConditionFalse, fault.DependencyNotReady, made.Revision, time.Time{},
			"spec.dependsOn goes in a circle: "+dependency.Path(cycle)+"; take one of them out"), nil
	}
	var unmet []string
	for _, key := range dependency.Of(a) {
		on, err := t.r.catalog.Read(ctx, key)
		if err != nil {
			return nil, err
		}
		why := dependency.Unready(on)
		if why == "" {
			if why, err = t.behindOf(ctx, a, made, on); err != nil {
				return nil, fmt.Errorf("compare dependency %s: %w", key, err)
			}
		}
		if why != "" {
			unmet = append(unmet, fmt.Sprintf("Application %s: %s", key, why))
		}
	}
	if len(unmet) == 0 {
		return nil, nil
	}
	return waits(metav1.ConditionUnknown, fault.DependencyNotReady, made.Revision, time.Time{}, "it depends on "+strings.Join(unmet, "; ")), nil
}

// dependsOn are the dependencies of every Application, of this one as it was read.
func (t *attempt) dependsOn(a *v1alpha1.Application) func(app.Key) []app.Key {
	return func(key app.Key) []app.Key {
		if key == a.Key() {
			return dependency.Of(a)
		}
		other, found := t.r.catalog.Get(key)
		if !found {
			return nil
		}
		return dependency.Of(other)
	}
}

// behindOf says why a dependency that is ready does not count at this revision: it
// follows the same ref, and what it reads there is not what it applied.
func (t *attempt) behindOf(ctx context.Context, a *v1alpha1.Application, made source.Assembly, on *v1alpha1.Application) (string, error) {
	own, other := source.Main(a), source.Main(on)
	p := t.r.assembler.Policy
	if repo := p.RepoOf(own); repo == "" || repo != p.RepoOf(other) || own.Ref != other.Ref || own.Semver != other.Semver {
		return "", nil
	}
	if on.Status.Inputs == nil {
		return dependency.Behind(on, "", made.Revision), nil
	}
	at, err := t.base(ctx, a, made)
	if err != nil {
		return "", err
	}
	path, inputs := route.Path(on.Spec.Source.Path), on.Status.Inputs
	if len(inputs.Sources) == 0 && !on.Spec.Source.Submodules {
		digest, err := at.Digest(path, inputs.Outside)
		if class, _ := fault.ClassOf(err); err != nil && class != fault.Permanent {
			return "", err
		}
		return dependency.Behind(on, digest, made.Revision), nil
	}
	// It is made of more than this tree, whose share in it is compared with what it
	// was at the revision that was applied.
	before, err := t.commit(ctx, a, on.Status.Revision)
	if err != nil {
		return "", err
	}
	for _, name := range append([]string{path}, inputs.Outside...) {
		was, _ := before.Hash(name)
		if is, _ := at.Hash(name); is != was {
			return dependency.Behind(on, "", made.Revision), nil
		}
	}
	return "", nil
}

// base is the tree of spec.source alone.
func (t *attempt) base(ctx context.Context, a *v1alpha1.Application, made source.Assembly) (tree.Tree, error) {
	if len(made.Sources) == 0 && !a.Spec.Source.Submodules || source.Main(a).Artifact() {
		return made.Tree, nil
	}
	return t.commit(ctx, a, made.Revision)
}

// commit is the tree of one commit of spec.source's repository, which is fetched
// where this worker never did.
func (t *attempt) commit(ctx context.Context, a *v1alpha1.Application, sha string) (tree.Tree, error) {
	q, err := t.r.assembler.Policy.Query(ctx, a)
	if err != nil {
		return nil, err
	}
	if found, err := t.r.assembler.Store.Tree(ctx, q.URL, sha); err == nil {
		return found, nil
	}
	if _, err := t.r.assembler.Store.Fetch(ctx, git.Query{URL: q.URL, Ref: sha, Credential: q.Credential}); err != nil {
		return nil, fault.As(fault.FetchFailed, err)
	}
	return t.r.assembler.Store.Tree(ctx, q.URL, sha)
}
