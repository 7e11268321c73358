// Package catalog is the Applications of this cluster: what there are and how
// they change, their status and finalizer, the accounts and credentials they
// name, and the Kubernetes Events about them.
//
// It may import cluster and the Application API. It acts as Plumb's own account.
// Errors are classified by cluster; a write that lost a race is ErrConflict.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// ErrConflict: somebody else wrote the Application since it was read.
var ErrConflict = errors.New("the Application changed since it was read")

// Options are the tunables of a Catalog.
type Options struct {
	// Service is who reports Events; empty means plumb.
	Service string
	// Log gets what has no caller to return to; nil means slog.Default().
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Catalog is the Applications of one cluster.
type Catalog struct {
	cluster *cluster.Cluster
	client  *cluster.Client // as Plumb's own account
	log     *slog.Logger
	now     func() time.Time
	events  *recorder
	secrets *secrets

	synced    chan struct{}
	once      sync.Once
	subscribe []func(old, new *v1alpha1.Application)

	written written

	mu           sync.RWMutex
	applications map[app.Key]*v1alpha1.Application
	holders      holders
}

// New sends no request.
func New(c *cluster.Cluster, o Options) *Catalog {
	if o.Service == "" {
		o.Service = "plumb"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	own := c.As(cluster.Identity{})
	return &Catalog{
		cluster: c, client: own, log: o.Log, now: o.Now,
		events:       newRecorder(own, o),
		secrets:      newSecrets(own, o.Now),
		synced:       make(chan struct{}),
		applications: map[app.Key]*v1alpha1.Application{},
		holders:      holders{},
	}
}

// Subscribe has handle called for every change, one at a time and in order:
// old is nil for a new Application, new is nil for one that is gone. It must
// return quickly. Subscribe comes before Run.
func (c *Catalog) Subscribe(handle func(old, new *v1alpha1.Application)) {
	c.subscribe = append(c.subscribe, handle)
}

// retryKind is how long a cluster without the CRD is left alone.
const retryKind = 5 * time.Second

// Run watches the Applications and writes Events until ctx ends. It returns an
// error only when Plumb's account may not watch Applications.
func (c *Catalog) Run(ctx context.Context) error {
	var recording sync.WaitGroup
	defer recording.Wait()
	recording.Go(func() { c.events.run(ctx) })
	for {
		selection := cluster.Selection{GroupVersionKind: v1alpha1.GroupVersionKind}
		err := cluster.Follow(ctx, c.client, selection, c.see)
		if !errors.Is(err, cluster.ErrUnknownKind) {
			return err
		}
		c.log.WarnContext(ctx, "the cluster has no Applications yet; install the CRD (plumb crds)", "retry", retryKind)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryKind):
		}
	}
}

// Synced is closed once all Applications of the start are known.
func (c *Catalog) Synced() <-chan struct{} { return c.synced }

// Listed is nil once Synced is closed, for readiness.
func (c *Catalog) Listed(context.Context) error {
	select {
	case <-c.Synced():
		return nil
	default:
		return errors.New("the Applications of the cluster have not been listed yet")
	}
}

// see keeps what a watch tells, without the part that only servers read.
func (c *Catalog) see(e cluster.Event[v1alpha1.Application]) {
	if e.Type == watch.Bookmark {
		c.once.Do(func() { close(c.synced) })
		return
	}
	c.written.seen(e.Object)
	key, next := e.Object.Key(), e.Object
	next.ManagedFields = nil
	if e.Type == watch.Deleted {
		next = nil
	}
	old := c.put(key, next)
	if old == nil && next == nil {
		return
	}
	for _, handle := range c.subscribe {
		handle(old, next)
	}
}

func (c *Catalog) put(key app.Key, next *v1alpha1.Application) (old *v1alpha1.Application) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old = c.applications[key]
	c.holders.follow(key, old, next)
	if next == nil {
		delete(c.applications, key)
	} else {
		c.applications[key] = next
	}
	return old
}

// All returns the Applications as the watch knows them, in no order. They are
// shared: read only.
func (c *Catalog) All() []*v1alpha1.Application {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := make([]*v1alpha1.Application, 0, len(c.applications))
	for _, a := range c.applications {
		all = append(all, a)
	}
	return all
}

// Get returns an Application as the watch knows it. It is shared: read only.
func (c *Catalog) Get(key app.Key) (*v1alpha1.Application, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	a, ok := c.applications[key]
	return a, ok
}

// Read asks the API server; absent: nil, nil.
func (c *Catalog) Read(ctx context.Context, key app.Key) (*v1alpha1.Application, error) {
	a := &v1alpha1.Application{}
	found, err := c.client.GetInto(ctx, idOf(key), v1alpha1.Version, a)
	if err != nil || !found {
		return nil, err
	}
	return a, nil
}

func idOf(key app.Key) object.ID {
	return object.ID{Group: v1alpha1.Group, Kind: v1alpha1.GroupVersionKind.Kind, Namespace: key.Namespace, Name: key.Name}
}

// WriteStatus writes a.Status when a still is the newest, by its
// resourceVersion, and returns the Application as it is then; else ErrConflict.
func (c *Catalog) WriteStatus(ctx context.Context, a *v1alpha1.Application) (*v1alpha1.Application, error) {
	if a.ResourceVersion == "" {
		return nil, fault.Refuse("", fault.Place{Object: idOf(a.Key()).Human()}, "write status: it was never read")
	}
	body := *a
	body.APIVersion, body.Kind = v1alpha1.GroupVersionKind.ToAPIVersionAndKind()
	body.ManagedFields = nil
	written := &v1alpha1.Application{}
	if err := c.client.UpdateStatus(ctx, idOf(a.Key()), v1alpha1.Version, &body, written); err != nil {
		return nil, conflict(a.Key(), err)
	}
	c.wrote(written)
	return written, nil
}

func conflict(key app.Key, err error) error {
	if errors.Is(err, cluster.ErrChanged) {
		return fault.Retry("", "write Application %s: %w", key, ErrConflict)
	}
	return err
}

// AddFinalizer makes sure that Plumb is asked before the Application goes; one
// that has the finalizer is returned as it is, without a request.
func (c *Catalog) AddFinalizer(ctx context.Context, a *v1alpha1.Application) (*v1alpha1.Application, error) {
	if slices.Contains(a.Finalizers, v1alpha1.Finalizer) {
		return a, nil
	}
	return c.patchMetadata(ctx, a.Key(), finalized(a))
}

// ClaimFirst adds the finalizer together with FirstClaimAnnotation, or returns
// ErrConflict when the Application changed since it was read.
func (c *Catalog) ClaimFirst(ctx context.Context, a *v1alpha1.Application, claim string) (*v1alpha1.Application, error) {
	metadata := finalized(a)
	metadata["annotations"] = map[string]any{v1alpha1.FirstClaimAnnotation: claim}
	return c.patchMetadata(ctx, a.Key(), metadata)
}

// finalized is the change that adds the finalizer to the Application as it was read.
func finalized(a *v1alpha1.Application) map[string]any {
	finalizers := slices.Clone(a.Finalizers)
	if !slices.Contains(finalizers, v1alpha1.Finalizer) {
		finalizers = append(finalizers, v1alpha1.Finalizer)
	}
	return map[string]any{"finalizers": finalizers, "resourceVersion": a.ResourceVersion}
}

// RemoveFinalizer lets the Application go. It returns nil, nil when it is gone
// already, and ErrConflict when it changed since it was read.
func (c *Catalog) RemoveFinalizer(ctx context.Context, a *v1alpha1.Application) (*v1alpha1.Application, error) {
	finalizers := []string{}
	for _, f := range a.Finalizers {
		if f != v1alpha1.Finalizer {
			finalizers = append(finalizers, f)
		}
	}
	if len(finalizers) == len(a.Finalizers) {
		return a, nil
	}
	left, err := c.patchMetadata(ctx, a.Key(), map[string]any{"finalizers": finalizers, "resourceVersion": a.ResourceVersion})
	if err == nil || errors.Is(err, ErrConflict) {
		return left, err
	}
	if now, readErr := c.Read(ctx, a.Key()); readErr == nil && now == nil {
		return nil, nil
	}
	return nil, err
}

// Annotate sets one annotation; an empty value removes it.
func (c *Catalog) Annotate(ctx context.Context, key app.Key, name, value string) (*v1alpha1.Application, error) {
	var set any = value
	if value == "" {
		set = nil
	}
	return c.patchMetadata(ctx, key, map[string]any{"annotations": map[string]any{name: set}})
}

func (c *Catalog) patchMetadata(ctx context.Context, key app.Key, metadata map[string]any) (*v1alpha1.Application, error) {
	patched := &v1alpha1.Application{}
	err := c.client.MergePatch(ctx, idOf(key), v1alpha1.Version, map[string]any{"metadata": metadata}, patched)
	if err != nil {
		return nil, conflict(key, fmt.Errorf("change metadata: %w", err))
	}
	c.wrote(patched)
	return patched, nil
}

// Record writes a Kubernetes Event about the Application, later and only if
// there is room: telling never holds up a sync. Equal ones are counted.
func (c *Catalog) Record(a *v1alpha1.Application, eventtype, reason, message string) {
	c.events.record(v1alpha1.GroupVersionKind, a, eventtype, reason, message)
}

// RecordSet is Record for an ApplicationSet.
func (c *Catalog) RecordSet(s *v1alpha1.ApplicationSet, eventtype, reason, message string) {
	c.events.record(v1alpha1.SetKind, s, eventtype, reason, message)
}
