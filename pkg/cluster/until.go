package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Condition judges an object as it is now; u is nil while it is absent.
// An error ends the wait.
type Condition func(id object.ID, u *unstructured.Unstructured) (done bool, err error)

// Until watches the objects until the condition has held once for each, one
// watch for each kind and namespace. When ctx ends first, the error names what
// is still awaited. The condition is never called twice at a time.
func (c *Client) Until(ctx context.Context, ids []object.ID, holds Condition) error {
	turn := make(chan struct{}, 1)
	oneByOne := func(id object.ID, u *unstructured.Unstructured) (bool, error) {
		turn <- struct{}{}
		defer func() { <-turn }()
		return holds(id, u)
	}
	group, ctx := errgroup.WithContext(ctx)
	for scope, names := range scopes(ids) {
		group.Go(func() error { return c.until(ctx, scope, names, oneByOne) })
	}
	return group.Wait()
}

type scope struct {
	schema.GroupKind
	namespace string
}

func scopes(ids []object.ID) map[scope]map[string]bool {
	out := map[scope]map[string]bool{}
	for _, id := range ids {
		s := scope{id.GroupKind(), id.Namespace}
		if out[s] == nil {
			out[s] = map[string]bool{}
		}
		out[s][id.Name] = true
	}
	return out
}

// until ends its own watch as soon as no name is awaited.
func (c *Client) until(ctx context.Context, s scope, awaited map[string]bool, holds Condition) error {
	k, err := c.cluster.kinds.any(ctx, s.GroupKind, "")
	if err != nil {
		return err
	}
	selection := Selection{GroupVersionKind: k.gv.WithKind(s.Kind), Namespace: s.namespace}
	if len(awaited) == 1 {
		for name := range awaited {
			selection.Name = name
		}
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := map[string]bool{}
	judge := func(name string, u *unstructured.Unstructured) {
		done, judged := holds(object.ID{Group: s.Group, Kind: s.Kind, Namespace: s.namespace, Name: name}, u)
		if done {
			delete(awaited, name)
		}
		if err = judged; err != nil || len(awaited) == 0 {
			cancel()
		}
	}
	watched := c.Watch(inner, selection, func(e WatchEvent) {
		for _, change := range changes(e, awaited, seen) {
			if inner.Err() == nil {
				judge(change.name, change.object)
			}
		}
	})
	switch {
	case err != nil || len(awaited) == 0:
		return err
	case watched != nil:
		return watched
	}
	return fmt.Errorf("wait for %s: %w", named(s, awaited), context.Cause(ctx))
}

type change struct {
	name   string
	object *unstructured.Unstructured
}

// changes are what an event means for the awaited names: the end of the
// beginning tells of those that do not exist.
func changes(e WatchEvent, awaited, seen map[string]bool) []change {
	if e.Type == watch.Bookmark {
		var absent []change
		for name := range awaited {
			if !seen[name] {
				absent = append(absent, change{name, nil})
			}
		}
		return absent
	}
	name := e.Object.GetName()
	if !awaited[name] {
		return nil
	}
	seen[name] = e.Type != watch.Deleted
	if e.Type == watch.Deleted {
		return []change{{name, nil}}
	}
	return []change{{name, e.Object}}
}

func named(s scope, awaited map[string]bool) string {
	var names []string
	for name := range awaited {
		names = append(names, object.ID{Kind: s.Kind, Namespace: s.namespace, Name: name}.Human())
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

var (
	namespaceKind = schema.GroupKind{Kind: "Namespace"}
	crdKind       = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
)

// Usable waits until the namespaces among ids are active and the kinds of the
// CustomResourceDefinitions among them are served with their schema. Other ids
// are usable at once.
func (c *Client) Usable(ctx context.Context, ids []object.ID) error {
	var awaited []object.ID
	for _, id := range ids {
		if gk := id.GroupKind(); gk == namespaceKind || gk == crdKind {
			awaited = append(awaited, id)
		}
	}
	var served []schema.GroupVersionKind
	err := c.Until(ctx, awaited, func(id object.ID, u *unstructured.Unstructured) (bool, error) {
		if u == nil {
			return false, nil
		}
		if id.GroupKind() == namespaceKind {
			phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
			return phase == "Active", nil
		}
		if why, rejected := condition(u, "NamesAccepted", "False"); rejected {
			return false, fault.Refuse("", fault.Place{Object: id.Human()}, "its names are taken: %s", why)
		}
		if _, established := condition(u, "Established", "True"); !established {
			return false, nil
		}
		served = append(served, servedBy(u)...)
		return true, nil
	})
	for _, gvk := range served {
		err = errors.Join(err, c.cluster.awaitServed(ctx, gvk))
	}
	return err
}

// condition tells whether an object's condition has the status, and why.
func condition(u *unstructured.Unstructured, name, status string) (message string, is bool) {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if condition, ok := c.(map[string]any); ok && condition["type"] == name {
			return fmt.Sprint(condition["message"]), condition["status"] == status
		}
	}
	return "", false
}

func servedBy(crd *unstructured.Unstructured) []schema.GroupVersionKind {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	name, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	var out []schema.GroupVersionKind
	for _, v := range versions {
		if version, ok := v.(map[string]any); ok && version["served"] == true {
			out = append(out, schema.GroupVersionKind{Group: group, Version: fmt.Sprint(version["name"]), Kind: name})
		}
	}
	return out
}

// awaitServed covers the moment between Established and the kind appearing in
// discovery and OpenAPI, which the API server fills a little later and which
// no watch tells of.
func (c *Cluster) awaitServed(ctx context.Context, gvk schema.GroupVersionKind) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		_, err := c.kinds.find(ctx, gvk)
		if err != nil && !isUnknownKind(err) {
			return err
		}
		if err == nil {
			published, err := c.schemas.fresh(ctx, gvk, c.schemas.now())
			if published != nil || err != nil {
				return err
			}
		}
		if !pause(ctx, wait) {
			return fmt.Errorf("wait for %s to be served: %w", gvk.Kind, context.Cause(ctx))
		}
	}
}
