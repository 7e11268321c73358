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
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// How long Plumb may take to prune, and the namespaces of the demo to go.
const (
	pruneLimit   = 30 * time.Second
	cleanupLimit = 90 * time.Second
)

// cleanup leaves a cluster that is not the demo's own as it was, but for the
// definition of Application: Plumb prunes, if it still runs, and then the
// namespaces are deleted. It goes on after ctx has ended.
func (k *kube) cleanup(ctx context.Context, plumbRuns bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	apps := k.objects.Resource(applications).Namespace(home)
	left := names
	if plumbRuns {
		pruning, stop := context.WithTimeout(ctx, pruneLimit)
		left, _ = remove(pruning, apps, names) // what is left goes with its namespace
		stop()
	}
	failed := release(ctx, apps, left)
	left, err := remove(ctx, k.objects.Resource(namespaces), ownNamespaces())
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("namespaces %s are still being deleted after %s", strings.Join(left, ", "), cleanupLimit)
	}
	return errors.Join(failed, err)
}

// release takes the finalizer from Applications that Plumb has not let go.
func release(ctx context.Context, apps dynamic.ResourceInterface, left []string) (failed error) {
	for _, n := range left {
		_, err := apps.Patch(ctx, n, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			failed = errors.Join(failed, fmt.Errorf("release Application %s: %w", n, err))
		}
	}
	return failed
}

// remove deletes objects and waits until a watch shows that they are gone. It
// returns those that are not when ctx ends.
func remove(ctx context.Context, client dynamic.ResourceInterface, all []string) (left []string, err error) {
	w, err := client.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return all, fmt.Errorf("watch what is deleted: %w", err)
	}
	defer w.Stop()
	for _, n := range all {
		switch err := client.Delete(ctx, n, metav1.DeleteOptions{}); {
		case err == nil:
			left = append(left, n)
		case !apierrors.IsNotFound(err):
			return all, fmt.Errorf("delete %s: %w", n, err)
		}
	}
	for len(left) > 0 {
		e, open := <-w.ResultChan()
		if !open {
			return left, nil
		}
		if u, ok := e.Object.(*unstructured.Unstructured); ok && e.Type == watch.Deleted {
			left = slices.DeleteFunc(left, func(n string) bool { return n == u.GetName() })
		}
	}
	return nil, nil
}
