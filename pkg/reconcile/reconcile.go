// Package reconcile makes the cluster match Git, one attempt at a time for each
// Application: lease, fetch, render, plan, apply, prune, health, status.
//
// It owns the order of the steps and what an error means: steps classify, and
// this package turns the class into a status and into what becomes of the
// request. It may import everything below it. An attempt never ends without a
// status that explains it, unless its lease is lost: then it writes nothing more.
package reconcile

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/checks"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/report"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// Options are the tunables of a Reconciler; Cluster and Holder are required.
type Options struct {
	Cluster string
	// Holder names this process in leases; no two processes share one.
	Holder string
	// Worker says as whom writes are made.
	Worker config.Worker
	// Parallel is how many requests of one attempt are under way; 0: four per core.
	Parallel int
	Now      func() time.Time
	Log      *slog.Logger
}

// Renderer is what a render.Renderer does, and a cache of it.
type Renderer interface {
	Render(ctx context.Context, q render.Request) (render.Result, error)
}

// Parts are what a Reconciler works with.
type Parts struct {
	Bus       *bus.Bus
	Cluster   *cluster.Cluster
	Catalog   *catalog.Catalog
	Heads     *Heads
	Assembler *source.Assembler
	Renderer  Renderer
	Reporter  *report.Reporter
	Checks    *checks.Client
	// Request asks for a sync of an Application because of another's; the same cause
	// asks once.
	Request func(ctx context.Context, key app.Key, cause string) error
}

// Reconciler carries out sync requests.
type Reconciler struct {
	o         Options
	bus       *bus.Bus
	kube      *cluster.Cluster
	catalog   *catalog.Catalog
	heads     *Heads
	assembler *source.Assembler
	renderer  Renderer
	request   func(ctx context.Context, key app.Key, cause string) error
	report    *report.Reporter
	finisher  *Finisher
	checks    *checks.Client
	capable   *capabilities
	asides    chan struct{} // attempts whose render waits without a worker slot
	compiled  health.Cache  // of spec.health
	now       func() time.Time
	log       *slog.Logger
}

// asidesPerSlot bounds the attempts that stand aside: each keeps its lease alive.
const asidesPerSlot = 8

// New returns a Reconciler.
func New(p Parts, o Options) *Reconciler {
	if o.Parallel == 0 {
		o.Parallel = 4 * runtime.GOMAXPROCS(0)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Reconciler{
		o: o, bus: p.Bus, kube: p.Cluster, catalog: p.Catalog, heads: p.Heads, assembler: p.Assembler,
		renderer: p.Renderer, report: p.Reporter, request: p.Request, checks: p.Checks, now: o.Now, log: o.Log,
		capable: newCapabilities(p.Cluster.Capabilities, o.Now),
		asides:  make(chan struct{}, asidesPerSlot*max(o.Worker.Concurrency, 1)),
	}
	r.finisher = &Finisher{r: r, ctx: context.Background(), known: map[app.Key]known{}, cancels: map[app.Key]pending{}}
	return r
}

// Finisher is what ends the waits of this Reconciler's attempts and of others'.
func (r *Reconciler) Finisher() *Finisher { return r.finisher }

// client is the cluster as the Application's account, which must exist.
func (r *Reconciler) client(ctx context.Context, a *v1alpha1.Application) (*cluster.Client, error) {
	identity, err := catalog.IdentityFor(a, r.o.Worker.Impersonation, r.o.Worker.DefaultServiceAccount)
	if err != nil {
		return nil, err
	}
	if err := r.catalog.CheckAccount(ctx, identity); err != nil {
		return nil, err
	}
	return r.kube.As(identity), nil
}
