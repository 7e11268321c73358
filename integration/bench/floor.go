package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// widths are how many applications the floor works on at a time; the best counts.
var widths = []int{8, 16, 32, 64}

// floor is the time of bare requests, the best of all widths.
type floor struct {
	first spent // F1: metadata patch, objects, status patch
	all   spent // F2: the one object that differs, status patch; the mean of some commits
}

func (w *world) floor(ctx context.Context, applications int, label string) (floor, error) {
	var best floor
	for _, width := range widths {
		f, err := w.floorAt(ctx, applications, fmt.Sprintf("floor-%s-%d", label, width), width)
		if err != nil {
			return floor{}, err
		}
		if width == widths[0] || f.first.time < best.first.time {
			best.first = f.first
		}
		if width == widths[0] || f.all.time < best.all.time {
			best.all = f.all
		}
	}
	return best, nil
}

func (w *world) floorAt(ctx context.Context, applications int, ns string, width int) (f floor, err error) {
	if err := w.namespace(ctx, ns); err != nil {
		return f, err
	}
	if err := w.createApplications(ctx, ns, applications, "floor"); err != nil {
		return f, err
	}
	f.first, err = w.bare(ctx, ns, applications, width, "first", w.bareFirst)
	if err != nil {
		return f, err
	}
	f.all, err = changes(func(change string) (spent, error) { return w.bare(ctx, ns, applications, width, change, w.bareChange) })
	if err != nil {
		return f, err
	}
	return f, w.removeApplications(ctx, ns)
}

// bare is what the requests of do take for all applications, until they are Ready at the
// revision. It begins at rest.
func (w *world) bare(ctx context.Context, ns string, applications, width int, revision string, do func(ctx context.Context, ns string, i int, revision string) error) (spent, error) {
	if err := w.settle(ctx, nil); err != nil {
		return spent{}, err
	}
	return w.spending(nil, func() (time.Duration, error) {
		return w.untilReady(ctx, ns, applications, revision, func() error {
			return w.each(ctx, width, applications, func(ctx context.Context, i int) error { return do(ctx, ns, i, revision) })
		})
	})
}

func (w *world) each(ctx context.Context, width, count int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(width)
	for i := range count {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// bareFirst is what a first sync cannot do without.
func (w *world) bareFirst(ctx context.Context, ns string, i int, revision string) error {
	apps := w.objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns)
	finalizer := []byte(`{"metadata":{"finalizers":["plumb.dev/prune"]}}`)
	if _, err := apps.Patch(ctx, appName(i), types.MergePatchType, finalizer, metav1.PatchOptions{}); err != nil {
		return err
	}
	for _, o := range objectsOf(i, "one") {
		if err := w.apply(ctx, ns, o); err != nil {
			return err
		}
	}
	return w.bareStatus(ctx, ns, i, revision)
}

// bareChange is what a commit that changes one object cannot do without.
func (w *world) bareChange(ctx context.Context, ns string, i int, revision string) error {
	if err := w.apply(ctx, ns, objectsOf(i, revision)[1]); err != nil {
		return err
	}
	return w.bareStatus(ctx, ns, i, revision)
}

func (w *world) bareStatus(ctx context.Context, ns string, i int, revision string) error {
	patch := fmt.Appendf(nil, `{"status":{"revision":%q,"conditions":[{"type":"Ready","status":"True","reason":"Succeeded","message":"","lastTransitionTime":%q}]}}`,
		revision, time.Now().UTC().Format(time.RFC3339))
	_, err := w.objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).
		Patch(ctx, appName(i), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func (w *world) apply(ctx context.Context, ns string, u *unstructured.Unstructured) error {
	_, err := w.objects.Resource(resourceOf(u)).Namespace(ns).
		Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: "floor", Force: true})
	return err
}
