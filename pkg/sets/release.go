package sets

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// release lets a deleted set go. By its policy the garbage collector deletes the
// Applications, for they name the set as their owner; or else they no longer do when
// it goes. When the API of sets itself goes, nobody meant the workloads: they stay.
func (c *Controller) release(ctx context.Context, set *v1alpha1.ApplicationSet) error {
	orphan := set.Spec.DeletionPolicy == v1alpha1.DeletionOrphan
	if !orphan {
		var err error
		if orphan, err = c.uninstalled(ctx); err != nil {
			return err
		}
	}
	if orphan {
		if err := c.orphan(ctx, set); err != nil {
			c.Catalog.RecordSet(set, corev1.EventTypeWarning, "DeletionFailed", bounded(err.Error()))
			return err
		}
	}
	if _, err := c.Sets.setFinalizer(ctx, set, false); err != nil {
		if now, readErr := c.Sets.read(ctx, set.Key()); readErr != nil || now != nil {
			return err
		}
	}
	c.forget(set.Key())
	return nil
}

// uninstalled says whether the API of sets is being deleted.
func (c *Controller) uninstalled(ctx context.Context) (bool, error) {
	id := object.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: v1alpha1.SetResource.Resource + "." + v1alpha1.Group}
	crd, err := c.Sets.client.Get(ctx, id, "v1")
	if err != nil {
		return false, fault.As(fault.ApplyFailed, fmt.Errorf("find out whether ApplicationSets are being uninstalled: %w", err))
	}
	return crd == nil || crd.GetDeletionTimestamp() != nil, nil
}

// orphan takes the set from the owners of its Applications. It asks the API server
// for them, since one that is forgotten here would be deleted.
func (c *Controller) orphan(ctx context.Context, set *v1alpha1.ApplicationSet) error {
	all, err := c.Sets.client.List(ctx, v1alpha1.GroupVersionKind, set.Namespace, "")
	if err != nil {
		return fault.As(fault.ApplyFailed, err)
	}
	for i := range all {
		a := &all[i]
		var others []metav1.OwnerReference
		for _, ref := range a.GetOwnerReferences() {
			if ref.UID != set.UID {
				others = append(others, ref)
			}
		}
		if len(others) == len(a.GetOwnerReferences()) {
			continue
		}
		patch := map[string]any{"metadata": map[string]any{
			"ownerReferences": others, "resourceVersion": a.GetResourceVersion(),
			"annotations": map[string]any{v1alpha1.SetDigestAnnotation: nil},
		}}
		if err := c.Sets.client.MergePatch(ctx, object.IDOf(a), v1alpha1.Version, patch, nil); err != nil {
			return fault.As(fault.ApplyFailed, fmt.Errorf("orphan Application %s: %w", a.GetName(), err))
		}
	}
	return nil
}
