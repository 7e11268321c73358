package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/source"
	"github.com/plumb-gitops/plumb/pkg/source/parameters"
)

// fetched is what was fetched for an attempt.
type fetched struct {
	client *cluster.Client
	made   source.Assembly
	newest string // revision that the ref led to; made may be an older one
	parameters.Parameters
}

// sync is everything from the source to the last write. It returns the
// Application as last written; an error means that no outcome may be stored.
func (t *attempt) sync(ctx context.Context, a *v1alpha1.Application, b begun) (*v1alpha1.Application, outcome, error) {
	owned, err := inventory.Of(a)
	if err != nil {
		o := failed(err)
		o.unread = true
		return a, o, nil
	}
	if t.again && mayBeBrief(a, t.r.now()) {
		owned = unsettled(owned)
	}
	s, err := t.fetch(ctx, a)
	if err != nil {
		return a, t.failed(ctx, err, s, nil, owned), nil
	}
	why, err := t.gate(ctx, a, s.made)
	if err != nil {
		return a, t.failed(ctx, err, s, nil, owned), nil
	}
	if why != nil {
		var heals bool
		if s.made, heals = t.previous(ctx, a); !heals {
			return a, outcome{held: why}, nil
		}
	}
	if err := t.read(ctx, a, &s); err != nil {
		return a, t.failed(ctx, err, s, nil, owned), nil
	}
	if t.idle(a, s) {
		t.r.heads.Unmoved(a, route.Commit{SHA: s.made.Revision, Sources: s.made.Sources})
		return a, outcome{}, nil
	}
	rendered, inputs, err := t.render(ctx, a, s)
	if err != nil {
		return a, t.failed(ctx, err, s, inputs, owned), nil
	}
	b.run = t.run(a, b, s)
	p, err := t.plan(ctx, a, b.run, s, rendered, owned)
	if err != nil {
		return a, t.failed(ctx, err, s, inputs, owned), nil
	}
	closed, err := t.window(ctx, a, b, s, p)
	if err != nil {
		return a, t.failed(ctx, err, s, inputs, owned), nil
	}
	if closed != nil {
		return a, outcome{held: closed}, nil
	}
	b.held = why
	a, o, err := t.carryOut(ctx, a, b, s, inputs, p, owned)
	o.held = why
	return a, o, err
}

// failed is the outcome of a step that failed. The context's own end says more
// than the error that it caused.
func (t *attempt) failed(ctx context.Context, err error, s fetched, inputs *v1alpha1.Inputs, owned inventory.Inventory) outcome {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSuperseded), errors.Is(cause, errLeaseLost):
		err = cause
	case errors.Is(cause, errTimeout) && fault.ReasonOf(err) != fault.HealthTimeout:
		err = fault.Retry(fault.ReasonOf(err), "%w: %w", errTimeout, err)
	}
	o := failed(err)
	o.revision, o.fetched, o.inputs, o.owned = s.made.Revision, s.made.Began, inputs, owned
	return o
}

// source is all that a render takes.
func (t *attempt) source(ctx context.Context, a *v1alpha1.Application) (fetched, error) {
	s, err := t.fetch(ctx, a)
	if err == nil {
		err = t.read(ctx, a, &s)
	}
	return s, err
}

// read takes from the cluster what the render needs of it.
func (t *attempt) read(ctx context.Context, a *v1alpha1.Application, s *fetched) (err error) {
	if a.Spec.Source.Substitute == nil && a.Spec.Source.Decryption == nil {
		return nil
	}
	return t.stages.stage(ctx, "read", func(ctx context.Context) error {
		s.Parameters, err = parameters.Of(ctx, a, t.r.catalog, func(ctx context.Context, id object.ID) (*unstructured.Unstructured, error) {
			return s.client.Get(ctx, id, "v1")
		})
		return err
	})
}

// fetch fetches the ref as the Application's account and credentials allow.
func (t *attempt) fetch(ctx context.Context, a *v1alpha1.Application) (s fetched, err error) {
	err = t.stages.stage(ctx, "fetch", func(ctx context.Context) error {
		if s.client, err = t.r.client(ctx, a); err != nil {
			return err
		}
		if t.reason(a) != event.ReasonPush {
			t.r.catalog.Reread(a)
		}
		fresh := source.Freshness{After: t.mark, Want: t.request.GetRevisionHint()}
		if s.made, err = t.r.assembler.Assemble(ctx, a, fresh); err != nil {
			t.r.catalog.Reread(a) // the credential may be what was wrong
			return fault.As(fault.FetchFailed, err)
		}
		s.newest = s.made.Revision
		return failpoint.Hit(failpoint.Fetch)
	})
	return s, err
}

// idle says that there is nothing to do for a push or a dependency: what would
// be read is what was applied, and the last attempt came to its end.
func (t *attempt) idle(a *v1alpha1.Application, s fetched) bool {
	last := a.Status.LastAttempt
	if last == nil || t.again || t.reason(a) != event.ReasonPush || a.Status.ObservedGeneration != a.Generation || a.Status.Waiting != nil {
		return false
	}
	if last.Result != v1alpha1.ResultSucceeded && last.Result != v1alpha1.ResultWaiting || deferred(last) {
		return false
	}
	inputs := a.Status.Inputs
	if inputs == nil {
		return false
	}
	digest, err := s.made.Tree.Digest(route.Path(a.Spec.Source.Path), inputs.Outside)
	return err == nil && digest == inputs.Digest && slices.Equal(s.Read, inputs.Objects)
}

// render gives the objects and what was read for them, which is known on errors too.
func (t *attempt) render(ctx context.Context, a *v1alpha1.Application, s fetched) (set object.Set, inputs *v1alpha1.Inputs, err error) {
	err = t.stages.stage(ctx, "render", func(ctx context.Context) error {
		capabilities, err := t.r.capable.get(ctx)
		if err != nil {
			return err
		}
		q := parameters.Request(s.made, a, s.Parameters, capabilities)
		q.Aside = func(wait func() error) error { return t.aside(ctx, wait) }
		result, err := t.r.renderer.Render(ctx, q)
		t.stages.veil = veil{secrets: result.Secrets}
		inputs = inputsOf(s, a.Spec.Source.Path, result.Outside)
		if err != nil {
			return fault.As(fault.RenderFailed, err)
		}
		if err := failpoint.Hit(failpoint.Render); err != nil {
			return err
		}
		set, err = plan.Prepare(result.Objects, a, func(gvk schema.GroupVersionKind) (bool, error) {
			namespaced, err := s.client.Scope(ctx, gvk)
			return namespaced, fault.As(fault.RenderFailed, err)
		})
		return err
	})
	return set, inputs, err
}

func inputsOf(s fetched, path string, outside []string) *v1alpha1.Inputs {
	digest, err := s.made.Tree.Digest(route.Path(path), outside)
	if err != nil {
		return nil
	}
	return &v1alpha1.Inputs{Digest: digest, Outside: outside, Sources: s.made.Sources, Objects: s.Read}
}

// live reads objects; one that is absent is there with nil.
func (t *attempt) live(ctx context.Context, client *cluster.Client, refs []plan.Ref) (map[object.ID]*unstructured.Unstructured, error) {
	var mu sync.Mutex
	found := make(map[object.ID]*unstructured.Unstructured, len(refs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(t.r.o.Parallel)
	for _, ref := range refs {
		group.Go(func() error {
			u, err := client.Get(ctx, ref.ID, ref.Version)
			if err != nil {
				return fmt.Errorf("read what is in the cluster: %w", err)
			}
			mu.Lock()
			defer mu.Unlock()
			found[ref.ID] = u
			return nil
		})
	}
	return found, group.Wait()
}

// validate refuses the revision for the first object that does not fit. Kinds
// that the revision itself brings are not known to the cluster yet.
func (t *attempt) validate(ctx context.Context, client *cluster.Client, desired object.Set, p plan.Plan) error {
	brought := definedKinds(desired)
	for _, action := range p.Actions() {
		if !action.Verb.Applies() || brought[action.ID.GroupKind()] {
			continue
		}
		if err := client.Validate(ctx, action.Object); err != nil {
			return fault.As(fault.RenderFailed, err)
		}
	}
	return nil
}

// definedKinds are the kinds of the CustomResourceDefinitions of a set.
func definedKinds(set object.Set) map[schema.GroupKind]bool {
	kinds := map[schema.GroupKind]bool{}
	for _, o := range set.All() {
		if o.ID().Kind != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(o.Content(), "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Content(), "spec", "names", "kind")
		kinds[schema.GroupKind{Group: group, Kind: kind}] = true
	}
	return kinds
}
