package driftscanner

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/ignore"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/policy"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// settle is how long a suspicion may take to dissolve: the watch of an object
// and that of its Application run apart.
const settle = 200 * time.Millisecond

// maxObjects is how many objects a fact tells.
const maxObjects = 500

// objects watches the live objects of every kind that some Application owns.
type objects struct {
	client    *cluster.Client // reads everything, as the scanner itself
	catalog   *catalog.Catalog
	publisher *publisher
	log       *slog.Logger

	records records
	ignored ignored
	judges  health.Cache // of spec.health
	kinds   *kinds

	mu      sync.Mutex
	watches map[schema.GroupVersionKind]context.CancelFunc
	synced  map[schema.GroupVersionKind]bool
	dirty   map[app.Key]bool
	wake    chan struct{}
	told    map[app.Key]string // what was last told of an Application
	pace    *pace
}

// Observe notes an Application whose status or spec moved.
func (o *objects) Observe(old, now *v1alpha1.Application) {
	if now == nil {
		o.kinds.note(old.Key())
		o.forget(old.Key())
		o.ignored.forget(old.Key())
		o.pace.forget(old.Key())
		return
	}
	o.kinds.note(now.Key())
	o.mark(now.Key())
}

func (o *objects) mark(key app.Key) {
	o.mu.Lock()
	o.dirty[key] = true
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run follows what Applications own until ctx ends.
func (o *objects) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
		}
		// What a status write and its objects' events have to say comes together.
		if !pause(ctx, settle) {
			return nil
		}
		o.follow(ctx, &group)
		for _, key := range o.take() {
			o.examine(ctx, key)
		}
	}
}

func (o *objects) take() []app.Key {
	o.mu.Lock()
	defer o.mu.Unlock()
	keys := slices.Collect(maps.Keys(o.dirty))
	clear(o.dirty)
	return keys
}

// follow watches the kinds that are owned now, and no other.
func (o *objects) follow(ctx context.Context, group *sync.WaitGroup) {
	wanted, changed := o.kinds.look(o.catalog.Get)
	if !changed {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for kind, cancel := range o.watches {
		if !wanted[kind] {
			cancel()
			delete(o.watches, kind)
			delete(o.synced, kind)
		}
	}
	for kind := range wanted {
		if _, watched := o.watches[kind]; !watched {
			watching, cancel := context.WithCancel(ctx)
			o.watches[kind] = cancel
			group.Go(func() { o.watch(watching, kind) })
		}
	}
}

// watch follows one kind. What the scanner may not read it leaves to the sweep
// of a worker, and says so.
func (o *objects) watch(ctx context.Context, kind schema.GroupVersionKind) {
	err := o.client.Watch(ctx, cluster.Selection{GroupVersionKind: kind, Labels: v1alpha1.OwnerLabel}, func(e cluster.WatchEvent) {
		o.see(kind, e)
	})
	if err == nil || ctx.Err() != nil {
		return
	}
	o.log.WarnContext(ctx, "drift in this kind is not seen", "kind", kind.String(), "error", err)
	pause(ctx, time.Minute)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.watches, kind) // the next change or sweep tries again
	o.kinds.repeat()
}

func (o *objects) see(kind schema.GroupVersionKind, e cluster.WatchEvent) {
	switch e.Type {
	case watch.Bookmark:
		o.begun(kind)
	case watch.Deleted:
		if before, known := o.records.remove(object.IDOf(e.Object)); known {
			o.mark(before.owner)
		}
	default:
		o.changed(e.Object)
	}
}

func (o *objects) changed(u *unstructured.Unstructured) {
	now, owned := recordOf(u, o.rules)
	if !owned {
		return
	}
	before, known := o.records.put(object.IDOf(u), now)
	if !known || before != now {
		o.mark(now.owner)
	}
	if known && before.owner != now.owner { // who lost it may have been examined before this was told
		o.mark(before.owner)
	}
}

// rules are those of spec.ignore and spec.health as the catalog has it; a change of
// the former makes suspects, which are read anew.
func (o *objects) rules(owner app.Key) (ignore.Rules, health.Rules) {
	a, _ := o.catalog.Get(owner)
	return o.rulesOf(a)
}

// rulesOf has no rules of health where those do not compile: the worker refuses
// them by name.
func (o *objects) rulesOf(a *v1alpha1.Application) (ignore.Rules, health.Rules) {
	if a == nil {
		return ignore.Rules{}, health.Rules{}
	}
	judged, err := o.judges.Compile(a.Spec.Health)
	if err != nil {
		judged = health.Rules{}
	}
	return o.ignored.of(a), judged
}

// begun notes that all objects of a kind were told: from now on one that is not
// known does not exist.
func (o *objects) begun(kind schema.GroupVersionKind) {
	o.mu.Lock()
	first := !o.synced[kind]
	o.synced[kind] = true
	o.mu.Unlock()
	if !first {
		return
	}
	for _, a := range o.catalog.All() {
		o.mark(a.Key())
	}
}

// examine compares an Application with its live objects, and tells and asks
// where they differ for sure.
func (o *objects) examine(ctx context.Context, key app.Key) {
	a, found := o.catalog.Get(key)
	if !found || policy.Suspended(a, time.Now()) || a.Spec.Sync.Drift == v1alpha1.DriftOff {
		return
	}
	owned, err := inventory.Of(a)
	if err != nil {
		return // the worker says so in the status
	}
	if err := o.judge(ctx, a, owned); err != nil && ctx.Err() == nil {
		o.log.WarnContext(ctx, "drift not examined; trying again", "application", key.String(), "error", err)
		time.AfterFunc(time.Second, func() { o.mark(key) })
	}
}

func (o *objects) judge(ctx context.Context, a *v1alpha1.Application, owned inventory.Inventory) error {
	if found := suspects(a, owned, o.look(owned)); len(found) > 0 {
		return o.verify(ctx, a.Key(), found)
	}
	if misjudged(a, owned, o.look(owned)) {
		// Lost and found are told apart: what was found may be lost again before it is seen.
		what := "health-lost"
		if sick(a) {
			what = "health-found"
		}
		return o.ask(ctx, a, what, nil)
	}
	if settled(a) {
		o.forget(a.Key())
	}
	return nil
}

// look finds a record; an object of a kind that is not known yet passes for what
// was applied.
func (o *objects) look(owned inventory.Inventory) func(object.ID) (record, bool) {
	return func(id object.ID) (record, bool) {
		entry, _ := owned.Get(id)
		o.mu.Lock()
		synced := o.synced[schema.GroupVersionKind{Group: id.Group, Version: entry.Version, Kind: id.Kind}]
		o.mu.Unlock()
		if found, known := o.records.get(id); known || synced {
			return found, known
		}
		return record{uid: entry.UID, fields: entry.Fields}, true
	}
}

// verify reads the Application and its suspects: watches lag, an answer to a
// read does not.
func (o *objects) verify(ctx context.Context, key app.Key, found map[object.ID]string) error {
	a, err := o.catalog.Read(ctx, key)
	if err != nil || a == nil || !settled(a) {
		return err
	}
	owned, err := inventory.Of(a)
	if err != nil {
		return nil
	}
	var drifted []*eventsv1.DriftedObject
	for _, id := range slices.SortedFunc(maps.Keys(found), byName) {
		entry, still := owned.Get(id)
		live, err := o.client.Get(ctx, id, entry.Version)
		if err != nil {
			return err
		}
		if kind := o.certain(a, entry, live); still && kind != "" {
			drifted = append(drifted, describe(id, kind, live))
		}
	}
	if len(drifted) == 0 {
		return nil
	}
	return o.ask(ctx, a, signature(drifted), drifted)
}

// certain is the difference of an object that was read just now. Where the rules
// changed since it was applied, that is no drift: the change itself asks for a sync.
func (o *objects) certain(a *v1alpha1.Application, entry inventory.Entry, live *unstructured.Unstructured) string {
	if live == nil {
		return difference(a.Key(), entry, record{}, false)
	}
	now := record{uid: string(live.GetUID()), fields: o.ignored.of(a).Fields(live)}
	if known, owned := recordOf(live, func(app.Key) (ignore.Rules, health.Rules) { return o.rulesOf(a) }); owned {
		if now.owner = known.owner; now.owner == a.Key() {
			o.records.put(entry.ID, known)
		}
	}
	kind := difference(a.Key(), entry, now, true)
	if kind == changed && now.fields != "" && !ignore.Comparable(now.fields, entry.Fields) {
		return ""
	}
	return kind
}

// ask tells of drift and requests an attempt, once for the same difference until
// it is gone or the next sweep. Somebody who keeps changing an object back is
// answered ever more slowly.
func (o *objects) ask(ctx context.Context, a *v1alpha1.Application, what string, drifted []*eventsv1.DriftedObject) error {
	if !o.first(a.Key(), what) {
		return nil
	}
	if wait := o.pace.next(a.Key()); wait > 0 {
		o.forget(a.Key())
		time.AfterFunc(wait, func() { o.mark(a.Key()) })
		return nil
	}
	ctx, end := telemetry.Start(ctx, "drift") // of what is told and what is asked
	cause := fmt.Sprintf("drift/%s/%d/%s", a.UID, a.Status.LastAttempt.Number, what)
	err := o.tell(ctx, a, cause, drifted)
	if err == nil && a.Spec.Sync.Mode != v1alpha1.ModeManual {
		err = o.publisher.request(ctx, cause, a.Key(), event.ReasonDrift)
	}
	end(err)
	if err != nil {
		o.forget(a.Key())
	}
	return err
}

func (o *objects) tell(ctx context.Context, a *v1alpha1.Application, cause string, drifted []*eventsv1.DriftedObject) error {
	if len(drifted) == 0 {
		return nil
	}
	listed := drifted[:min(len(drifted), maxObjects)]
	return o.publisher.send(ctx, event.DriftFound, cause, "", &eventsv1.DriftFound{
		Cluster: o.publisher.cluster, Namespace: a.Namespace, Name: a.Name,
		Objects: listed, Omitted: int32(len(drifted) - len(listed)),
	})
}

// first says whether a difference was not told already, and notes it.
func (o *objects) first(key app.Key, what string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told[key] == what {
		return false
	}
	o.told[key] = what
	return true
}

func (o *objects) forget(key app.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.told, key)
}

func byName(a, b object.ID) int {
	switch {
	case a.String() < b.String():
		return -1
	case a.String() > b.String():
		return 1
	}
	return 0
}

func describe(id object.ID, kind string, live *unstructured.Unstructured) *eventsv1.DriftedObject {
	d := &eventsv1.DriftedObject{Id: id.String(), Kind: kind}
	if live == nil {
		return d
	}
	for _, f := range live.GetManagedFields() {
		if f.Manager == v1alpha1.FieldManager || f.Subresource != "" || f.Time == nil {
			continue
		}
		if d.Time == nil || f.Time.After(d.Time.AsTime()) {
			d.Manager, d.Time = f.Manager, timestamppb.New(f.Time.Time)
		}
	}
	return d
}
