// Package sets keeps the ApplicationSets of this cluster true: it watches them,
// expands them with generate when something may have changed, and creates, changes
// and deletes the Applications of their namespace that they own.
//
// It may import bus, catalog, cluster, generate, git and source. Reading, status,
// finalizers and owner references are Plumb's own account's; Applications are
// written as the account that the set names. It is level-triggered: what started an
// expansion decides nothing, and one that failed changes nothing and is repeated.
//
// One worker at a time works on a set, under a lease, and fetches after it took it:
// without that, a worker that read an older commit could bring back what a faster
// one has just deleted.
package sets

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/generate"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Sets are the ApplicationSets of one cluster, as a watch knows them.
type Sets struct {
	client *cluster.Client // as Plumb's own account
	log    *slog.Logger

	synced    chan struct{}
	once      sync.Once
	subscribe []func(now *v1alpha1.ApplicationSet)

	mu  sync.RWMutex
	all map[app.Key]*v1alpha1.ApplicationSet
}

// Watch returns the sets of a cluster; Run watches them.
func Watch(c *cluster.Cluster, log *slog.Logger) *Sets {
	return &Sets{
		client: c.As(cluster.Identity{}), log: log, synced: make(chan struct{}),
		all: map[app.Key]*v1alpha1.ApplicationSet{},
	}
}

// retryKind is how long a cluster without the CRD is left alone.
const retryKind = 5 * time.Second

// Run watches until ctx ends. It returns an error only when Plumb's account may not
// watch ApplicationSets.
func (s *Sets) Run(ctx context.Context) error {
	for told := false; ; told = true {
		err := cluster.Follow(ctx, s.client, cluster.Selection{GroupVersionKind: v1alpha1.SetKind}, s.see)
		if !errors.Is(err, cluster.ErrUnknownKind) {
			return err
		}
		if !told {
			s.log.WarnContext(ctx, "the cluster has no ApplicationSets yet; install the CRD (plumb crds)", "retry", retryKind)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryKind):
		}
	}
}

// Synced is closed once all sets of the start are known.
func (s *Sets) Synced() <-chan struct{} { return s.synced }

// All returns the sets in no order. They are shared: read only.
func (s *Sets) All() []*v1alpha1.ApplicationSet {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*v1alpha1.ApplicationSet, 0, len(s.all))
	for _, set := range s.all {
		all = append(all, set)
	}
	return all
}

func (s *Sets) see(e cluster.Event[v1alpha1.ApplicationSet]) {
	if e.Type == watch.Bookmark {
		s.once.Do(func() { close(s.synced) })
		return
	}
	e.Object.ManagedFields = nil
	s.mu.Lock()
	if e.Type == watch.Deleted {
		delete(s.all, e.Object.Key())
	} else {
		s.all[e.Object.Key()] = e.Object
	}
	s.mu.Unlock()
	for _, handle := range s.subscribe {
		handle(e.Object)
	}
}

// Sources are what a set reads of Git, each as the Application whose source it would
// be: what its generators name, and what the last expansion came upon.
func Sources(set *v1alpha1.ApplicationSet) []*v1alpha1.Application {
	var all []*v1alpha1.Application
	known := map[generate.Source]bool{}
	for _, s := range generate.Sources(set) {
		known[generate.Source{Repo: s.Repo, Ref: s.Ref}] = true
		all = append(all, sourceOf(set, s))
	}
	for _, read := range set.Status.Sources {
		// One that only parameters name has no secret: the API refuses that.
		if s := (generate.Source{Repo: read.Repo, Ref: read.Ref}); !known[s] {
			all = append(all, sourceOf(set, s))
		}
	}
	return all
}

// sourceOf is a stand-in: reading Git is decided by namespace, repo and secret.
func sourceOf(set *v1alpha1.ApplicationSet, s generate.Source) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Namespace, a.Name = set.Namespace, set.Name
	a.Spec.Source.Repo, a.Spec.Source.Ref = s.Repo, s.Ref
	if s.Secret != "" {
		a.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: s.Secret}
	}
	return a
}

func idOf(key app.Key) object.ID {
	return object.ID{Group: v1alpha1.Group, Kind: v1alpha1.SetKind.Kind, Namespace: key.Namespace, Name: key.Name}
}

// read asks the API server; absent: nil, nil.
func (s *Sets) read(ctx context.Context, key app.Key) (*v1alpha1.ApplicationSet, error) {
	set := &v1alpha1.ApplicationSet{}
	found, err := s.client.GetInto(ctx, idOf(key), v1alpha1.Version, set)
	if err != nil || !found {
		return nil, err
	}
	return set, nil
}

// writeStatus writes set.Status while the set is the newest; else an error that is
// worth another try.
func (s *Sets) writeStatus(ctx context.Context, set *v1alpha1.ApplicationSet) error {
	body := *set
	body.APIVersion, body.Kind = v1alpha1.SetKind.ToAPIVersionAndKind()
	body.ManagedFields = nil
	return s.client.UpdateStatus(ctx, idOf(set.Key()), v1alpha1.Version, &body, &v1alpha1.ApplicationSet{})
}

// setFinalizer adds or removes the finalizer, and nothing else.
func (s *Sets) setFinalizer(ctx context.Context, set *v1alpha1.ApplicationSet, want bool) (*v1alpha1.ApplicationSet, error) {
	finalizers := []string{}
	have := false
	for _, f := range set.Finalizers {
		if f == v1alpha1.SetFinalizer {
			have = true
		} else {
			finalizers = append(finalizers, f)
		}
	}
	if have == want {
		return set, nil
	}
	if want {
		finalizers = append(finalizers, v1alpha1.SetFinalizer)
	}
	patched := &v1alpha1.ApplicationSet{}
	patch := map[string]any{"metadata": map[string]any{"finalizers": finalizers, "resourceVersion": set.ResourceVersion}}
	if err := s.client.MergePatch(ctx, idOf(set.Key()), v1alpha1.Version, patch, patched); err != nil {
		return nil, fault.As(fault.ApplyFailed, err)
	}
	return patched, nil
}
