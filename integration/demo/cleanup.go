package main

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
	"k8s.io/apimachinery/pkg/types"
)

// cleanupLimit is how long the namespaces of the demo may take to go.
const cleanupLimit = 90 * time.Second

// cleanup leaves a cluster that is not the demo's own as it was, but for the
// definition of Application: Plumb prunes, then the namespaces are deleted.
func (k *kube) cleanup() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	defer cancel()
	mark := k.changes.Mark()
	deleted := 0
	for _, n := range names {
		err := k.objects.Resource(applications).Namespace(home).Delete(ctx, n, metav1.DeleteOptions{})
		if err == nil {
			deleted++
		}
	}
	left := slices.Clone(names)
	waiting, stop := context.WithTimeout(ctx, cleanupLimit/3)
	defer stop()
	for deleted > 0 && len(left) > 0 {
		c, err := k.changes.Await(waiting, mark, func(c change) bool { return c.gone && c.is(applications, home, left[0]) })
		if err != nil {
			break // their namespaces go all the same
		}
		left = slices.DeleteFunc(left, func(n string) bool { return n == c.object.GetName() })
	}
	return errors.Join(k.release(ctx, left), k.removeNamespaces(ctx))
}

// release takes the finalizer from Applications that Plumb has not let go.
func (k *kube) release(ctx context.Context, left []string) (failed error) {
	for _, n := range left {
		_, err := k.objects.Resource(applications).Namespace(home).
			Patch(ctx, n, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			failed = errors.Join(failed, fmt.Errorf("release Application %s: %w", n, err))
		}
	}
	return failed
}

func (k *kube) removeNamespaces(ctx context.Context) error {
	w, err := k.objects.Resource(namespaces).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("watch namespaces: %w", err)
	}
	defer w.Stop()
	var left []string
	for _, n := range ownNamespaces() {
		err := k.objects.Resource(namespaces).Delete(ctx, n, metav1.DeleteOptions{})
		switch {
		case err == nil:
			left = append(left, n)
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("delete namespace %s: %w", n, err)
		}
	}
	if len(left) == 0 {
		return nil
	}
	for e := range w.ResultChan() {
		if u, ok := e.Object.(*unstructured.Unstructured); ok && e.Type == "DELETED" {
			left = slices.DeleteFunc(left, func(n string) bool { return n == u.GetName() })
		}
		if len(left) == 0 {
			return nil
		}
	}
	return fmt.Errorf("namespaces %s are still being deleted after %s", strings.Join(left, ", "), cleanupLimit)
}
