package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// widths are how many applications the floor works on at a time; the best counts.
var widths = []int{8, 16, 32, 64}

// floor is the time of bare requests at one width.
type floor struct {
	created spent // the Applications themselves: no part of F1
	first   spent // F1: metadata patch, objects, status patch
	all     spent // F2: the one object that differs, status patch; the mean of some commits
}

// whole is a first sync with the creation of what is synced, as that of Plumb is timed.
func (f floor) whole() time.Duration { return f.created.time + f.first.time }

// floors are that of a round by width, with the statuses that Plumb leaves.
type floors map[int]floor

func (w *world) floors(ctx context.Context, applications int, label string, plumbs statuses) (floors, error) {
	all := floors{}
	for _, width := range widths {
		f, err := w.floorAt(ctx, applications, fmt.Sprintf("floor-%s-%d", label, width), width, plumbs)
		if err != nil {
			return nil, err
		}
		all[width] = f
	}
	return all, nil
}

// bestWidth is that whose median over the rounds is the least. The least of each round
// would be that of four measurements beside one of Plumb: of the luckiest.
func bestWidth(rounds []versus, of func(floor) time.Duration) int {
	median := func(width int) float64 {
		var times []float64
		for _, r := range rounds {
			times = append(times, of(r.floors[width]).Seconds())
		}
		return figures.Quantile(times, 0.5)
	}
	return slices.MinFunc(widths, func(a, b int) int { return cmp.Compare(median(a), median(b)) })
}

// leanWidth is how many applications the lean floor works on at a time.
const leanWidth = 16

// lean is the floor with statuses of one condition.
func (w *world) lean(ctx context.Context, applications int, label string) (floor, error) {
	return w.floorAt(ctx, applications, "floor-"+label+"-lean", leanWidth, leanStatuses())
}

// warm makes the requests of the floor once, unmeasured: a control plane has something to do
// for the first of every kind, which whoever is measured first would pay.
func (w *world) warm(ctx context.Context, applications int, label string) error {
	_, err := w.floorAt(ctx, min(applications, 200), "warm-"+label, leanWidth, leanStatuses())
	return err
}

// beside measures Plumb and the floor, which goes first in every other round: then with the
// statuses that Plumb left in the round before, which before holds.
func (b *bench) beside(ctx context.Context, n, applications int, label string, before *statuses, r *versus, plumb func(*left) error) error {
	steps := []func() error{
		func() error {
			l := newLeft()
			err := plumb(l)
			*before = l.list
			return err
		},
		func() (err error) {
			if r.floors, err = b.floors(ctx, applications, label, *before); err != nil {
				return fmt.Errorf("floor: %w", err)
			}
			if r.lean, err = b.lean(ctx, applications, label); err != nil {
				return fmt.Errorf("lean floor: %w", err)
			}
			return nil
		},
	}
	if err := b.warm(ctx, applications, label); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	for i := range steps {
		if err := steps[(i+n)%len(steps)](); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) floorAt(ctx context.Context, applications int, ns string, width int, with statuses) (f floor, err error) {
	if err := w.namespace(ctx, ns); err != nil {
		return f, err
	}
	if err := w.settle(ctx, nil); err != nil {
		return f, err
	}
	f.created, err = w.spending(nil, func() (time.Duration, error) {
		began := time.Now()
		err := w.createApplications(ctx, ns, applications, "floor")
		return time.Since(began), err
	})
	if err != nil {
		return f, err
	}
	f.first, err = w.bare(ctx, ns, applications, width, firstSync, func(ctx context.Context, i int) error {
		return w.bareFirst(ctx, ns, i, with[firstSync])
	})
	if err != nil {
		return f, err
	}
	f.all, err = changes(applications, func(change string) (spent, error) {
		return w.bare(ctx, ns, applications, width, change, func(ctx context.Context, i int) error {
			return w.bareChange(ctx, ns, i, change, with[change])
		})
	})
	if err != nil {
		return f, err
	}
	return f, w.clear(ctx, ns)
}

// bare is what the requests of do take for all applications, until they are Ready at the
// revision. It begins at rest.
func (w *world) bare(ctx context.Context, ns string, applications, width int, revision string, do func(ctx context.Context, i int) error) (spent, error) {
	if err := w.settle(ctx, nil); err != nil {
		return spent{}, err
	}
	return w.spending(nil, func() (time.Duration, error) {
		return w.untilReady(ctx, ns, applications, revision, func() error {
			return w.each(ctx, width, applications, do)
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
func (w *world) bareFirst(ctx context.Context, ns string, i int, status []byte) error {
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
	return w.bareStatus(ctx, ns, i, status)
}

// bareChange is what a commit that changes one object cannot do without.
func (w *world) bareChange(ctx context.Context, ns string, i int, change string, status []byte) error {
	if err := w.apply(ctx, ns, objectsOf(i, change)[1]); err != nil {
		return err
	}
	return w.bareStatus(ctx, ns, i, status)
}

func (w *world) bareStatus(ctx context.Context, ns string, i int, patch []byte) error {
	_, err := w.objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).
		Patch(ctx, appName(i), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func (w *world) apply(ctx context.Context, ns string, u *unstructured.Unstructured) error {
	_, err := w.objects.Resource(resourceOf(u)).Namespace(ns).
		Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: "floor", Force: true})
	return err
}
