// Package worker routes pushes and carries out sync requests for its own
// cluster. It is stateless: what it keeps between attempts can be lost at any time.
//
// It composes reconcile with the bus and the catalog, and may import everything
// below the services.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/chart"
	"github.com/plumb-gitops/plumb/pkg/checks"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/oci"
	"github.com/plumb-gitops/plumb/pkg/reconcile"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/report"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/source"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Parts are what a worker works with. New subscribes to Catalog; whoever made it runs
// it afterwards.
type Parts struct {
	Bus      *bus.Bus
	Cluster  *cluster.Cluster
	Catalog  *catalog.Catalog
	Store    *git.Store
	Renderer *render.Renderer
	Metrics  *report.Metrics // may be nil
}

// New returns what a worker runs.
func New(c config.Config, p Parts, log *slog.Logger) []service.Part {
	w := compose(c, p, log)
	keeper := newKeeper(c, p, log)
	p.Catalog.Subscribe(w.changes.Observe)
	p.Catalog.Subscribe(w.wakes.Observe)
	p.Catalog.Subscribe(w.reconciler.Finisher().Observe)
	return append(keeper.parts(), []service.Part{
		{Name: "report", Run: w.reporter.Run},
		{Name: "finish", Run: w.reconciler.Finisher().Run},
		{Name: "changes", Run: w.changes.Run},
		{Name: "wakes", Run: after(p.Catalog.Synced(), w.wakes.Run)},
		{Name: "repair", Run: after(p.Catalog.Synced(), w.repair.Run)},
		{Name: "ask", Run: after(p.Catalog.Synced(), w.answers.Run)},
		{Name: "route", Run: after(p.Catalog.Synced(), func(ctx context.Context) error {
			return p.Bus.Consume(ctx, pushes(c.Cluster), keeper.after(w.router.Handle))
		})},
		{Name: "sync", Run: after(p.Catalog.Synced(), func(ctx context.Context) error {
			return p.Bus.Work(ctx, c.Cluster, c.Worker.Concurrency, w.reconciler.Handle)
		})},
	}...)
}

// after begins a part once the catalog knows every Application: before, a push
// would seem to concern nobody.
func after(synced <-chan struct{}, run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-synced:
			return run(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

type composed struct {
	reconciler *reconcile.Reconciler
	reporter   *report.Reporter
	changes    *changes
	wakes      *wakes
	router     *router
	repair     *repair
	answers    *answers
}

// maxRenders is how many bytes of renders are kept for commits that do not touch them.
const maxRenders = 32 << 20

func compose(c config.Config, p Parts, log *slog.Logger) composed {
	sources := source.Policy{Git: c.Git, Catalog: p.Catalog}
	heads := reconcile.NewHeads(p.Store, time.Now)
	artifacts := oci.New(oci.Options{InsecureHosts: c.Git.InsecureHosts, Log: log})
	assembler := &source.Assembler{
		Policy: sources, Store: p.Store, Heads: heads, Artifacts: artifacts,
		Charts: chart.New(artifacts, chart.Options{InsecureHosts: c.Git.InsecureHosts, Log: log}),
	}
	reporter := report.New(p.Bus, c.Cluster, p.Metrics, log, time.Now)
	requests := &requests{bus: p.Bus, cluster: c.Cluster, now: time.Now}
	changes := &changes{
		catalog: p.Catalog, sources: sources, store: p.Store, heads: heads, requests: requests, log: log,
		pending: map[app.Key]bool{}, wake: make(chan struct{}, 1),
	}
	wakes := newWakes(p.Catalog, requests, log)
	reconciler := reconcile.New(reconcile.Parts{
		Bus: p.Bus, Cluster: p.Cluster, Catalog: p.Catalog, Heads: heads,
		Assembler: assembler, Reporter: reporter,
		Checks:   checks.New(checks.Options{InsecureHosts: c.Git.InsecureHosts}),
		Renderer: render.Cached(p.Renderer, render.CacheOptions{MaxBytes: maxRenders, Observe: p.Metrics.Rendered}),
		Request: func(ctx context.Context, key app.Key, cause string) error {
			return requests.publish(ctx, cause, &eventsv1.SyncRequested{
				Cluster: c.Cluster, Namespace: key.Namespace, Name: key.Name, Reason: event.ReasonDependency,
			})
		},
	}, reconcile.Options{Cluster: c.Cluster, Holder: holder(), Worker: c.Worker, Log: log})
	return composed{
		reporter: reporter, changes: changes, wakes: wakes, reconciler: reconciler,
		router: &router{
			cluster: c.Cluster, catalog: p.Catalog, sources: sources, store: p.Store, heads: heads,
			assemble: assembler.Assemble, requests: requests,
		},
		repair: &repair{
			cluster: c.Cluster, bus: p.Bus, catalog: p.Catalog, changes: changes, wakes: wakes, requests: requests,
			reporter: reporter, now: time.Now, log: log,
		},
		answers: &answers{
			cluster: c.Cluster, bus: p.Bus, catalog: p.Catalog, own: p.Cluster.As(cluster.Identity{}), requests: requests,
			preview: reconciler.Preview, newID: uuid.NewString,
		},
	}
}

// holder names this process among all that may hold a lease.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), uuid.NewString()[:8])
}
