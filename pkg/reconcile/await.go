package reconcile

import (
	"context"
	"errors"
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// await returns when what a stage of the plan needs of its objects has come about.
// Meanwhile the worker slot serves others; request and lease are kept.
func (t *attempt) await(ctx context.Context, s fetched, p plan.Plan, ids []object.ID, until plan.Await) error {
	if len(ids) == 0 || until == plan.None {
		return nil
	}
	t.slot.Release()
	if err := t.until(ctx, s, p, ids, until); err != nil {
		return err
	}
	return t.slot.Acquire(ctx)
}

// aside lets the worker slot serve others while a render waits for a child: sources
// that take long must not hold all slots. So many attempts may stand aside at a time.
func (t *attempt) aside(ctx context.Context, wait func() error) error {
	select {
	case t.r.asides <- struct{}{}:
		defer func() { <-t.r.asides }()
	default:
		return wait()
	}
	t.slot.Release()
	if err := wait(); err != nil {
		return err
	}
	return t.slot.Acquire(ctx)
}

func (t *attempt) until(ctx context.Context, s fetched, p plan.Plan, ids []object.ID, until plan.Await) error {
	if until == plan.Usable {
		return fault.As(fault.ApplyFailed, s.client.Usable(ctx, ids))
	}
	versions := versionsOf(p)
	open := map[object.ID]string{}
	for _, id := range ids {
		open[id] = versions[id]
	}
	switch until {
	case plan.Gone:
		return follow(ctx, s.client, t.key, open, deleted)
	case plan.Finished: // how they ended is for the one who runs them to say
		return follow(ctx, s.client, t.key, open, newJudged(p.Ended).see)
	}
	j := newJudged(p.Health)
	err := follow(ctx, s.client, t.key, open, j.see)
	return verdictOf(ctx, err, func() health.Summary { return t.r.explain(context.WithoutCancel(ctx), s.client, j.all(), versions) })
}

func versionsOf(p plan.Plan) map[object.ID]string {
	versions := map[object.ID]string{}
	for _, a := range p.Actions() {
		versions[a.ID] = a.Version
	}
	for _, stage := range p.SyncFail {
		for _, a := range stage.Actions {
			versions[a.ID] = a.Version
		}
	}
	return versions
}

// deleted says that an object is gone, or that another took its name.
func deleted(_ object.ID, live *unstructured.Unstructured) bool {
	return live == nil || live.GetDeletionTimestamp() == nil
}

// verdictOf is what the end of a wait for health within an attempt means.
func verdictOf(ctx context.Context, err error, sum func() health.Summary) error {
	late := errors.Is(context.Cause(ctx), errTimeout)
	if err != nil && !late {
		return err
	}
	switch s := sum(); {
	case late:
		return unhealthy(fault.HealthTimeout, s)
	case s.Status == health.Degraded:
		return unhealthy(fault.HealthFailed, s)
	}
	return nil
}

// judged is the health of objects as watches tell them.
type judged struct {
	health func(*unstructured.Unstructured) health.Report

	mu      sync.Mutex
	reports map[object.ID]health.Report
}

func newJudged(of func(*unstructured.Unstructured) health.Report) *judged {
	return &judged{health: of, reports: map[object.ID]health.Report{}}
}

// see tells whether waiting changes nothing by itself: the object is healthy, or
// will not be.
func (j *judged) see(id object.ID, live *unstructured.Unstructured) bool {
	report := j.health(live)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reports[id] = report
	return report.Status == health.Healthy || report.Status == health.Degraded
}

func (j *judged) all() map[object.ID]health.Report {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.reports)
}

// follow watches objects of an Application, by their API versions, until settled
// has said so of each of them; it is told every state, nil when an object is absent.
func follow(ctx context.Context, client *cluster.Client, key app.Key, open map[object.ID]string, settled func(object.ID, *unstructured.Unstructured) bool) error {
	return followFrom(ctx, client, key, open, nil, settled)
}

// followFrom is follow after states that were seen already, by their resourceVersions: they
// need not be told again.
func followFrom(ctx context.Context, client *cluster.Client, key app.Key, open, from map[object.ID]string, settled func(object.ID, *unstructured.Unstructured) bool) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &following{open: open, from: from, settled: settled, seen: map[object.ID]bool{}, left: map[object.ID]bool{}, done: cancel}
	for id := range open {
		f.left[id] = true
	}
	var group sync.WaitGroup
	for _, s := range f.selections(key) {
		group.Go(func() {
			if err := client.Watch(watching, s, func(e cluster.WatchEvent) { f.see(s, e) }); err != nil {
				f.fail(err)
			}
		})
	}
	group.Wait()
	if f.err == nil && len(f.left) > 0 {
		return context.Cause(ctx)
	}
	return f.err
}

// following gathers what several watches say.
type following struct {
	open    map[object.ID]string // API versions
	from    map[object.ID]string // resourceVersions of states that were seen
	settled func(object.ID, *unstructured.Unstructured) bool
	done    func()

	mu   sync.Mutex
	seen map[object.ID]bool
	left map[object.ID]bool
	err  error
}

// selections are one watch for each kind and namespace. A single object is watched by
// its name: for a label the API server goes through all objects of the namespace.
func (f *following) selections(key app.Key) []cluster.Selection {
	ids := map[cluster.Selection][]object.ID{}
	for id, version := range f.open {
		gvk := schema.GroupVersionKind{Group: id.Group, Version: version, Kind: id.Kind}
		s := cluster.Selection{GroupVersionKind: gvk, Namespace: id.Namespace}
		ids[s] = append(ids[s], id)
	}
	var all []cluster.Selection
	for s, of := range ids {
		if len(of) == 1 {
			s.Name, s.From = of[0].Name, f.from[of[0]]
		} else {
			s.Labels = v1alpha1.OwnerLabel + "=" + v1alpha1.OwnerHash(key)
		}
		all = append(all, s)
	}
	return all
}

func (f *following) see(s cluster.Selection, e cluster.WatchEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch e.Type {
	case watch.Bookmark:
		f.absent(s)
	case watch.Deleted:
		f.tell(object.IDOf(e.Object), nil)
	default:
		id := object.IDOf(e.Object)
		f.seen[id] = true
		f.tell(id, e.Object)
	}
	if len(f.left) == 0 {
		f.done()
	}
}

// absent tells of what the list at the start of a watch did not have.
func (f *following) absent(s cluster.Selection) {
	for id := range f.open {
		if !f.seen[id] && id.GroupKind() == s.GroupKind() && id.Namespace == s.Namespace {
			f.tell(id, nil)
		}
	}
}

// tell keeps count of what is not settled; what was may change again.
func (f *following) tell(id object.ID, live *unstructured.Unstructured) {
	if _, followed := f.open[id]; !followed {
		return
	}
	if f.settled(id, live) {
		delete(f.left, id)
		return
	}
	f.left[id] = true
}

func (f *following) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
	f.done()
}
