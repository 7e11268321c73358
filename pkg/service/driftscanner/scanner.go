// Package driftscanner finds what nobody announced: refs that moved without a
// webhook, and live objects that are no longer as they were applied. It publishes
// on the path that a webhook takes, and never writes to the cluster.
//
// It may import catalog, cluster, git, source and bus, and renders nothing. What
// it cannot look at it logs and looks at again; a finding that could not be
// published is found again.
package driftscanner

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/sets"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// Parts are what a scanner works with. New subscribes to Catalog; whoever made it runs
// it afterwards.
type Parts struct {
	Bus     *bus.Bus
	Cluster *cluster.Cluster
	Catalog *catalog.Catalog
	Store   *git.Store
	Metrics *Metrics // may be nil
}

// New returns what a scanner runs.
func New(c config.Config, p Parts, log *slog.Logger) []service.Part {
	publisher := &publisher{bus: p.Bus, cluster: c.Cluster, now: time.Now, newID: uuid.NewString}
	objects := &objects{
		client: p.Cluster.As(cluster.Identity{}), catalog: p.Catalog, publisher: publisher, log: log,
		records: records{byID: map[object.ID]record{}}, kinds: newKinds(),
		watches: map[schema.GroupVersionKind]context.CancelFunc{}, synced: map[schema.GroupVersionKind]bool{},
		dirty: map[app.Key]bool{}, wake: make(chan struct{}, 1), told: map[app.Key]string{},
		pace: &pace{now: time.Now, last: map[app.Key]stride{}},
	}
	watched := sets.Watch(p.Cluster, log)
	refs := &refs{
		sets:    &turns{sets: watched, interval: c.DriftScanner.Interval, now: time.Now},
		catalog: p.Catalog, sources: source.Policy{Git: c.Git, Catalog: p.Catalog}, store: p.Store,
		publisher: publisher, objects: objects, interval: c.DriftScanner.Interval, now: time.Now, metrics: p.Metrics, log: log,
		next: map[app.Key]time.Time{}, seen: map[ref]head{},
	}
	p.Catalog.Subscribe(objects.Observe)
	return []service.Part{
		{Name: "objects", Run: objects.Run},
		{Name: "refs", Run: refs.Run},
		{Name: "watch sets", Run: watched.Run},
		{Name: "announced", Run: func(ctx context.Context) error {
			return p.Bus.Follow(ctx, bus.Query{Subjects: []string{"plumb.events.git.routed.>"}}, refs.Announced)
		}},
	}
}

// Program is the scanner as a binary of its own.
func Program() service.Program {
	return service.Program{Name: "drift-scanner", Sections: []string{"git"}, Build: build}
}

func build(ctx context.Context, env service.Env) (built service.Built, err error) {
	c := env.Config
	b, err := bus.Open(ctx, bus.Options{
		URL: c.NATS.URL, CredentialsFile: c.NATS.CredentialsFile, Cluster: c.Cluster, Service: "drift-scanner",
		Replicas: c.NATS.Replicas, SyncAlways: c.NATS.SyncAlways, Log: env.Log,
	})
	if err != nil {
		return built, err
	}
	built.Close = append(built.Close, b.Close)
	kube, err := cluster.Open(cluster.Options{Kubeconfig: c.Kubernetes.Kubeconfig, UserAgent: "plumb-drift-scanner", Log: env.Log})
	if err != nil {
		return built, err
	}
	store, err := git.Open(filepath.Join(c.NATS.DataDir, "git", "drift-scanner"), git.Options{Log: env.Log})
	if err != nil {
		return built, fmt.Errorf("open the Git store: %w", err)
	}
	built.Close = append(built.Close, func() { _ = store.Close() })
	metrics, err := NewMetrics(env.Metrics)
	if err != nil {
		return built, err
	}
	applications := catalog.New(kube, catalog.Options{Service: "plumb-drift-scanner", Log: env.Log})
	built.Parts = append(New(c, Parts{Bus: b, Cluster: kube, Catalog: applications, Store: store, Metrics: metrics}, env.Log),
		service.Part{Name: "catalog", Run: applications.Run})
	built.Checks = []service.Check{{Name: "nats", Ready: func(context.Context) error { return b.Connected() }}}
	return built, nil
}
