package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// stop deletes what runs pods and waits until they are gone: a worker would heal
// what is done next.
func (u *uninstall) stop(ctx context.Context, i installed) error {
	for _, o := range i.running {
		if err := u.remove(ctx, o, v1alpha1.PropagationForeground); err != nil {
			return err
		}
	}
	for _, o := range i.running {
		if err := u.client.Gone(ctx, object.IDOf(o), o.GetUID()); err != nil {
			return err
		}
	}
	return nil
}

func (u *uninstall) remove(ctx context.Context, o *unstructured.Unstructured, how v1alpha1.Propagation) error {
	id := object.IDOf(o)
	if err := u.client.Delete(ctx, id, o.GroupVersionKind().Version, cluster.DeleteOptions{UID: o.GetUID(), Propagation: how}); err != nil {
		return err
	}
	u.say("removed %s", cell(id.Human()))
	return nil
}

// orphan has every Application and ApplicationSet let go of what it made. It looks
// whether that lasts: a worker elsewhere may write back what Git says.
func (u *uninstall) orphan(ctx context.Context, i installed) error {
	if err := u.orphanSets(ctx, i.sets); err != nil {
		return err
	}
	for _, a := range i.applications {
		if err := u.setPolicy(ctx, v1alpha1.GroupVersionKind, a, a.Spec.DeletionPolicy); err != nil {
			return err
		}
	}
	now, err := everyOne[v1alpha1.Application](ctx, u.client, v1alpha1.GroupVersionKind)
	if err != nil {
		return err
	}
	for _, a := range now {
		if a.Spec.DeletionPolicy != v1alpha1.DeletionOrphan {
			return fmt.Errorf("Application %s is new, or something set its deletionPolicy back: stop what runs of Plumb outside of the cluster", a.Key())
		}
	}
	return nil
}

// grace is how long a worker has to let its sets go, before it is taken for absent.
// It disowns their Applications after whatever it is writing just then.
const grace = 5 * time.Second

// orphanSets removes the sets first, which would write back what they say of their
// Applications.
func (u *uninstall) orphanSets(ctx context.Context, sets []*v1alpha1.ApplicationSet) error {
	for _, s := range sets {
		if err := u.deleteSet(ctx, s); err != nil {
			return err
		}
	}
	for deleted := time.Now(); ; {
		left, err := u.client.List(ctx, v1alpha1.SetKind, "", "")
		if errors.Is(err, cluster.ErrUnknownKind) || err == nil && len(left) == 0 {
			return nil
		}
		if err == nil && time.Since(deleted) > grace {
			_, err = u.release(ctx, v1alpha1.SetKind, v1alpha1.SetFinalizer)
		}
		if err != nil {
			return err
		}
		if err := pause(ctx, settling); err != nil {
			return fmt.Errorf("remove ApplicationSets: %w; %d are left", err, len(left))
		}
	}
}

func (u *uninstall) deleteSet(ctx context.Context, s *v1alpha1.ApplicationSet) error {
	if err := u.setPolicy(ctx, v1alpha1.SetKind, s, s.Spec.DeletionPolicy); err != nil {
		return err
	}
	if err := u.disown(ctx, s); err != nil {
		return err
	}
	id := object.ID{Group: v1alpha1.Group, Kind: v1alpha1.SetKind.Kind, Namespace: s.Namespace, Name: s.Name}
	if err := u.client.Delete(ctx, id, v1alpha1.Version, cluster.DeleteOptions{UID: s.UID}); err != nil {
		return err
	}
	return u.disown(ctx, s) // a worker may have healed one meanwhile
}

// disown takes a set from the owners of its Applications: they would go with it.
func (u *uninstall) disown(ctx context.Context, s *v1alpha1.ApplicationSet) error {
	all, err := u.client.List(ctx, v1alpha1.GroupVersionKind, s.Namespace, "")
	if err != nil {
		return err
	}
	for i := range all {
		a := &all[i]
		others := slices.DeleteFunc(a.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == s.UID })
		if len(others) == len(a.GetOwnerReferences()) {
			continue
		}
		patch := map[string]any{"metadata": map[string]any{"ownerReferences": others}}
		if err := u.client.MergePatch(ctx, object.IDOf(a), v1alpha1.Version, patch, nil); err != nil {
			return fmt.Errorf("take ApplicationSet %s from the owners of Application %s: %w", s.Key(), a.GetName(), err)
		}
	}
	return nil
}

func (u *uninstall) setPolicy(ctx context.Context, gvk schema.GroupVersionKind, o metav1.Object, policy v1alpha1.DeletionPolicy) error {
	if policy == v1alpha1.DeletionOrphan {
		return nil
	}
	id := object.ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
	patch := map[string]any{"spec": map[string]any{"deletionPolicy": v1alpha1.DeletionOrphan}}
	if err := u.client.MergePatch(ctx, id, gvk.Version, patch, nil); err != nil {
		if live, gone := u.client.Get(ctx, id, gvk.Version); gone == nil && live == nil {
			return nil
		}
		return fmt.Errorf("orphan the objects of %s: %w", id.Human(), err)
	}
	return nil
}

// strip takes Plumb's marks from the objects that Applications own.
func (u *uninstall) strip(ctx context.Context, i installed) error {
	if !u.stripMarks {
		return nil
	}
	for _, a := range i.applications {
		for _, e := range entries(a) {
			if err := u.stripOne(ctx, a, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxStrips is how often an object is tried that keeps changing.
const maxStrips = 5

func (u *uninstall) stripOne(ctx context.Context, a *v1alpha1.Application, e v1alpha1.InventoryEntry) error {
	id, err := object.ParseID(e.ID)
	if err != nil {
		return fmt.Errorf("read the inventory of Application %s: %w", a.Key(), err)
	}
	for try := 1; ; try++ {
		live, err := u.client.Get(ctx, id, e.Version)
		if err != nil {
			return err
		}
		if live == nil || e.UID != "" && e.UID != string(live.GetUID()) || live.GetAnnotations()[v1alpha1.OwnerAnnotation] != a.Key().String() {
			return nil // not this Application's, or stripped before
		}
		err = u.client.MergePatch(ctx, id, live.GroupVersionKind().Version, unmarked(live), nil)
		if err == nil || !errors.Is(err, cluster.ErrChanged) || try == maxStrips {
			return err
		}
	}
}

// unmarked is the patch that takes the marks and the field manager from an object.
func unmarked(live *unstructured.Unstructured) map[string]any {
	others := slices.DeleteFunc(live.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool { return e.Manager == v1alpha1.FieldManager })
	if len(others) == 0 {
		others = []metav1.ManagedFieldsEntry{{}} // an empty list would be no change; this empties it
	}
	return map[string]any{"metadata": map[string]any{
		"resourceVersion": live.GetResourceVersion(), "managedFields": others,
		"annotations": map[string]any{v1alpha1.OwnerAnnotation: nil},
		"labels":      map[string]any{v1alpha1.OwnerLabel: nil},
	}}
}

// removeAPIs deletes the definitions, that of Applications first: from then on every
// worker, wherever it runs, lets go of the objects instead of deleting them.
func (u *uninstall) removeAPIs(ctx context.Context, i installed) error {
	for _, api := range []struct {
		gvk                 schema.GroupVersionKind
		resource, finalizer string
	}{
		{v1alpha1.GroupVersionKind, v1alpha1.GroupVersionResource.Resource, v1alpha1.Finalizer},
		{v1alpha1.SetKind, v1alpha1.SetResource.Resource, v1alpha1.SetFinalizer},
	} {
		if err := u.removeAPI(ctx, api.gvk, definition(api.resource), api.finalizer); err != nil {
			return err
		}
	}
	return nil
}

const (
	// settling is how often the end of a definition is looked for.
	settling = 200 * time.Millisecond
	// maxRefusals is how often in a row its objects may not be listed: the API server
	// ends to serve them a moment before the definition goes.
	maxRefusals = 25
)

func (u *uninstall) removeAPI(ctx context.Context, gvk schema.GroupVersionKind, crd object.ID, finalizer string) error {
	live, err := u.client.Get(ctx, crd, "v1")
	if err != nil || live == nil {
		return err
	}
	if err := u.client.Delete(ctx, crd, "v1", cluster.DeleteOptions{UID: live.GetUID()}); err != nil {
		return err
	}
	var held []string
	for refusals := 0; ; {
		seen, refused := u.release(ctx, gvk, finalizer)
		if refused == nil {
			held = seen
		}
		live, err = u.client.Get(ctx, crd, "v1")
		if ctx.Err() != nil { // whatever it interrupted, this is what it waited for
			return fmt.Errorf("remove %s: %w; it is held by %s", crd.Human(), context.Cause(ctx), or(strings.Join(held, ", "), "the API server"))
		}
		if err != nil {
			return err
		}
		if live == nil {
			u.say("removed %s", crd.Human())
			return nil
		}
		// They are not found while the API server still removes what it stored of them.
		if refusals++; refused == nil || apierrors.IsNotFound(refused) {
			refusals = 0
		} else if refusals > maxRefusals {
			return refused
		}
		_ = pause(ctx, settling) // its end is seen above
	}
}

// release takes Plumb's finalizer from the objects of a kind that are going, as a
// worker would, and returns what was there, with the finalizers of others.
func (u *uninstall) release(ctx context.Context, gvk schema.GroupVersionKind, finalizer string) (held []string, err error) {
	all, err := u.client.List(ctx, gvk, "", "")
	if errors.Is(err, cluster.ErrUnknownKind) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range all {
		o := &all[i]
		id := object.IDOf(o)
		others := slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return f == finalizer })
		held = append(held, fmt.Sprintf("%s (%s)", id.Human(), strings.Join(others, ", ")))
		if o.GetDeletionTimestamp() == nil || len(others) == len(o.GetFinalizers()) {
			continue // the API server comes to it, or others hold it
		}
		patch := map[string]any{"metadata": map[string]any{"finalizers": others, "resourceVersion": o.GetResourceVersion()}}
		err := u.client.MergePatch(ctx, id, gvk.Version, patch, nil)
		if live, gone := u.client.Get(ctx, id, gvk.Version); err != nil && !errors.Is(err, cluster.ErrChanged) && (gone != nil || live != nil) {
			return nil, fmt.Errorf("let %s go: %w", id.Human(), err)
		}
	}
	return held, nil
}

func (u *uninstall) removeParts(ctx context.Context, i installed) error {
	for _, o := range i.parts {
		if err := u.remove(ctx, o, ""); err != nil {
			return err
		}
	}
	return nil
}
