package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// teardownRetry is how long after a deletion its end is looked for again.
const teardownRetry = 2 * time.Second

// teardown prunes or orphans what a deleted Application owns, and then lets it
// go. Objects whose own deletion takes longer are waited for, request by request.
func (t *attempt) teardown(ctx context.Context, a *v1alpha1.Application) error {
	if !slices.Contains(a.Finalizers, v1alpha1.Finalizer) {
		t.r.report.Gone(ctx, t.key)
		return nil
	}
	owned, err := inventory.Of(a)
	if err != nil {
		return t.stuck(ctx, a, err)
	}
	left, held, err := t.dismantle(ctx, a, owned)
	if err != nil {
		return t.stuck(ctx, a, err)
	}
	if left.Len() > 0 {
		t.tellHeld(ctx, a, fmt.Sprintf("is being deleted; %d objects are still going%s", left.Len(), held))
		return fault.After(fault.Progressing, teardownRetry, "delete %s: %d objects are still going", t.key, left.Len())
	}
	if err := t.guard(); err != nil {
		return err
	}
	if _, err := t.r.catalog.RemoveFinalizer(ctx, a); err != nil {
		return superseded(err)
	}
	t.r.report.Gone(ctx, t.key)
	return nil
}

// tellHeld says in the status what keeps an Application from going.
func (t *attempt) tellHeld(ctx context.Context, a *v1alpha1.Application, message string) {
	next := a.DeepCopy()
	set(&next.Status, a, v1alpha1.ConditionReady, metav1.ConditionFalse, fault.PruneBlocked, bounded(message))
	if equality.Semantic.DeepEqual(a.Status, next.Status) || t.guard() != nil {
		return
	}
	if _, err := t.r.writeStatus(ctx, a, next); err != nil {
		t.r.log.DebugContext(ctx, "deletion not told", "application", t.key.String(), "error", err)
	}
}

// dismantle returns what is still in the cluster of what is to be pruned, and what
// holds it.
func (t *attempt) dismantle(ctx context.Context, a *v1alpha1.Application, owned inventory.Inventory) (left inventory.Inventory, held string, err error) {
	policy := a.Spec.DeletionPolicy
	client, err := t.r.client(ctx, a)
	if why := t.helpless(ctx, a, err); why != "" {
		t.r.catalog.Record(a, corev1.EventTypeWarning, "Orphaned", "the objects stay in the cluster: "+why)
		return inventory.Inventory{}, "", nil
	}
	if err != nil {
		return owned, "", err
	}
	in := t.input(a, object.Set{}, owned)
	in.Live = map[object.ID]*unstructured.Unstructured{}
	var stages []plan.Stage
	if policy == v1alpha1.DeletionDelete || policy == "" {
		policy = v1alpha1.DeletionDelete
		if in.Live, err = t.live(ctx, client, plan.Needs(in, true)); err != nil {
			return owned, "", err
		}
		if stages, err = t.preDelete(ctx, a, in); err != nil {
			return owned, "", err
		}
	}
	in.Behind = t.heirs(a)
	p := plan.Teardown(in, policy)
	p.Stages = stages
	limited, cancel := context.WithTimeoutCause(ctx, timeout(a), errTimeout)
	defer cancel()
	result, err := apply.Run(limited, p, client, t.guard, t.applyOptions(fetched{client: client}, p))
	t.wake(ctx, result)
	return result.Inventory(owned), blocked(result), t.stages.veil.error(err)
}

// preDelete are the hooks to run before anything is deleted, as the source has them
// now. All tries of a deletion are one run of them.
func (t *attempt) preDelete(ctx context.Context, a *v1alpha1.Application, in plan.Input) ([]plan.Stage, error) {
	if !plan.HasPreDelete(in.Inventory) {
		return nil, nil
	}
	s, err := t.source(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("read the hooks that run before the deletion: %w; spec.deletionPolicy: orphan lets the Application go without them", err)
	}
	if in.Desired, _, err = t.render(ctx, a, s); err != nil {
		return nil, fmt.Errorf("render the hooks that run before the deletion: %w; spec.deletionPolicy: orphan lets the Application go without them", err)
	}
	in.Run = a.DeletionTimestamp.Unix()
	return plan.PreDeleteHooks(in)
}

// helpless says why nothing can be deleted as the Application's account: it is
// gone or going (err says so), or the namespace is, or the CRD, and with it all
// Applications. Then the objects are orphaned; anything else would hold the
// namespace for ever.
func (t *attempt) helpless(ctx context.Context, a *v1alpha1.Application, err error) string {
	if fault.ReasonOf(err) == fault.AccountMissing {
		return err.Error()
	}
	own := t.r.kube.As(cluster.Identity{})
	for _, id := range []object.ID{
		{Kind: "Namespace", Name: a.Namespace},
		{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "applications." + v1alpha1.Group},
	} {
		if live, err := own.Get(ctx, id, "v1"); err == nil && (live == nil || live.GetDeletionTimestamp() != nil) {
			return id.Human() + " is being deleted"
		}
	}
	return ""
}

// stuck tells what keeps an Application from going, and tries again.
func (t *attempt) stuck(ctx context.Context, a *v1alpha1.Application, err error) error {
	if ctx.Err() != nil {
		return err // another goes on with it
	}
	t.r.catalog.Record(a, corev1.EventTypeWarning, "DeletionFailed", bounded(err.Error()))
	t.tellHeld(ctx, a, "cannot be deleted yet: "+err.Error())
	if _, wait := fault.ClassOf(err); wait > 0 {
		return err
	}
	return fault.After(fault.ApplyFailed, 10*teardownRetry, "delete %s: %w", t.key, err)
}
