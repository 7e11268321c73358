package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// installed is what of Plumb is in a cluster.
type installed struct {
	applications []*v1alpha1.Application
	sets         []*v1alpha1.ApplicationSet
	definitions  []object.ID
	running      []*unstructured.Unstructured // what runs pods
	parts        []*unstructured.Unstructured // everything else, in the order of removal
	namespace    bool                         // that of Plumb is there
}

func (i installed) nothing() bool {
	return len(i.applications)+len(i.sets)+len(i.definitions)+len(i.running)+len(i.parts) == 0
}

// owned counts the objects of all Applications.
func (i installed) owned() int {
	n := 0
	for _, a := range i.applications {
		n += len(entries(a))
	}
	return n
}

// partOf is the label of everything that deploy/ installs.
const partOf = "app.kubernetes.io/part-of=plumb"

// Kinds of deploy/kubernetes/base. Not among them: its Namespace, which may hold more
// than Plumb, Secrets, and the volume of NATS.
var (
	runningKinds = []schema.GroupVersionKind{
		{Group: "apps", Version: "v1", Kind: "Deployment"},
		{Group: "apps", Version: "v1", Kind: "StatefulSet"},
	}
	partKinds = []schema.GroupVersionKind{
		{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
		{Version: "v1", Kind: "Service"},
		{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"},
		{Version: "v1", Kind: "ConfigMap"},
		{Version: "v1", Kind: "ServiceAccount"},
	}
	roleBinding        = schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"}
	clusterRoleBinding = schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"}
	clusterRole        = schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}
)

// gather reads all that may have to be removed.
func (u *uninstall) gather(ctx context.Context) (installed, error) {
	var i installed
	var err error
	if i.applications, err = everyOne[v1alpha1.Application](ctx, u.client, v1alpha1.GroupVersionKind); err != nil {
		return i, err
	}
	if i.sets, err = everyOne[v1alpha1.ApplicationSet](ctx, u.client, v1alpha1.SetKind); err != nil {
		return i, err
	}
	for _, resource := range []string{v1alpha1.GroupVersionResource.Resource, v1alpha1.SetResource.Resource} {
		id := definition(resource)
		live, err := u.client.Get(ctx, id, "v1")
		if err != nil {
			return i, err
		}
		if live != nil {
			i.definitions = append(i.definitions, id)
		}
	}
	return i, u.gatherParts(ctx, &i)
}

func definition(resource string) object.ID {
	return object.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: resource + "." + v1alpha1.Group}
}

// everyOne is all objects of a kind; none when the cluster does not serve it.
func everyOne[T any](ctx context.Context, c *cluster.Client, gvk schema.GroupVersionKind) ([]*T, error) {
	all, err := c.List(ctx, gvk, "", "")
	if errors.Is(err, cluster.ErrUnknownKind) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]*T, len(all))
	for i := range all {
		out[i] = new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(all[i].Object, out[i]); err != nil {
			return nil, fmt.Errorf("read %s: %w", object.IDOf(&all[i]).Human(), err)
		}
	}
	return out, nil
}

func (u *uninstall) gatherParts(ctx context.Context, i *installed) error {
	ns, err := u.client.Get(ctx, object.ID{Kind: "Namespace", Name: u.namespace}, "v1")
	if err != nil {
		return err
	}
	i.namespace = ns != nil
	for _, gvk := range runningKinds {
		if i.running, err = u.add(ctx, i.running, gvk, u.namespace); err != nil {
			return err
		}
	}
	for _, gvk := range partKinds {
		if i.parts, err = u.add(ctx, i.parts, gvk, u.namespace); err != nil {
			return err
		}
	}
	return u.gatherRights(ctx, i)
}

// gatherRights finds cluster-wide roles, and the bindings in all namespaces that lead to them.
func (u *uninstall) gatherRights(ctx context.Context, i *installed) error {
	roles, err := u.add(ctx, nil, clusterRole, "")
	if err != nil {
		return err
	}
	going := map[string]bool{}
	for _, r := range roles {
		going[r.GetName()] = true
	}
	for _, gvk := range []schema.GroupVersionKind{roleBinding, clusterRoleBinding} {
		bindings, err := u.client.List(ctx, gvk, "", "")
		if err != nil {
			return err
		}
		for n := range bindings {
			ref, _, _ := unstructured.NestedString(bindings[n].Object, "roleRef", "name")
			kind, _, _ := unstructured.NestedString(bindings[n].Object, "roleRef", "kind")
			if kind == clusterRole.Kind && going[ref] {
				i.parts = append(i.parts, &bindings[n])
			}
		}
	}
	i.parts = append(i.parts, roles...)
	return nil
}

// add appends the labelled objects of a kind that have a name of deploy/: the label
// alone might be another product's.
func (u *uninstall) add(ctx context.Context, to []*unstructured.Unstructured, gvk schema.GroupVersionKind, namespace string) ([]*unstructured.Unstructured, error) {
	all, err := u.client.List(ctx, gvk, namespace, partOf)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if name := all[i].GetName(); strings.HasPrefix(name, "plumb-") || name == "nats" {
			to = append(to, &all[i])
		}
	}
	return to, nil
}

// show tells what will be removed and what stays.
func (u *uninstall) show(i installed) {
	u.say("cluster at %s", cell(u.host))
	u.say("will be removed:")
	for _, a := range i.applications {
		u.say("  Application %s: its %d objects stay", cell(a.Key().String()), len(entries(a)))
	}
	for _, s := range i.sets {
		u.say("  ApplicationSet %s", cell(s.Key().String()))
	}
	for _, id := range i.definitions {
		u.say("  %s", id.Human())
	}
	for _, o := range append(append([]*unstructured.Unstructured{}, i.running...), i.parts...) {
		u.say("  %s", cell(object.IDOf(o).Human()))
	}
	u.say("stays:")
	marks := "with their marks"
	if u.stripMarks {
		marks = "without their marks"
	}
	u.say("  %d objects of %d Applications, %s", i.owned(), len(i.applications), marks)
	if i.namespace {
		u.say("  Namespace %s, with the Secrets and the volume of NATS in it: kubectl delete namespace %s", cell(u.namespace), cell(u.namespace))
	}
}

// entries are none where what the Application owns cannot be read.
func entries(a *v1alpha1.Application) []v1alpha1.InventoryEntry {
	stored, err := inventory.Stored(a)
	if err != nil || stored == nil {
		return nil
	}
	return stored.Entries
}
