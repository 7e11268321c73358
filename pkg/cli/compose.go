package cli

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/report"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/alerter"
	"github.com/plumb-gitops/plumb/pkg/service/dashboard"
	"github.com/plumb-gitops/plumb/pkg/service/driftscanner"
	"github.com/plumb-gitops/plumb/pkg/service/receiver"
	"github.com/plumb-gitops/plumb/pkg/service/worker"
)

// everything is all services as one program: one connection to NATS, one
// catalog, one Git store.
func everything() service.Program {
	return service.Program{
		Name: "plumb", OwnNATS: true,
		Sections: []string{"kubernetes", "git", "receiver", "worker", "driftScanner", "committer", "alerter", "dashboard"},
		Build:    build,
	}
}

// shared is what the services of one process have in common.
type shared struct {
	bus     *bus.Bus
	cluster *cluster.Cluster
	catalog *catalog.Catalog
	store   *git.Store
}

func build(ctx context.Context, env service.Env) (built service.Built, err error) {
	var s shared
	if s.bus, err = openBus(ctx, env, &built); err != nil {
		return built, err
	}
	s.cluster, err = cluster.Open(cluster.Options{Kubeconfig: env.Config.Kubernetes.Kubeconfig, Log: env.Log})
	if err != nil {
		return built, err
	}
	if err := install(ctx, s.cluster); err != nil {
		return built, err
	}
	s.catalog = catalog.New(s.cluster, catalog.Options{Log: env.Log})
	s.store, err = git.Open(filepath.Join(env.Config.NATS.DataDir, "git"), git.Options{Log: env.Log})
	if err != nil {
		return built, fmt.Errorf("open the Git store: %w", err)
	}
	built.Close = append(built.Close, func() { _ = s.store.Close() })
	built.Checks = []service.Check{
		{Name: "nats", Ready: func(context.Context) error { return s.bus.Connected() }},
		{Name: "catalog", Ready: s.catalog.Listed},
	}
	built.Parts = []service.Part{{Name: "catalog", Run: s.catalog.Run}, service.SpareGarbage()}
	return built, s.services(env, &built)
}

// services adds the parts of every service, in the order of an event's way.
func (s shared) services(env service.Env, built *service.Built) error {
	for _, add := range []func(service.Env, *service.Built) error{
		s.receiver, s.worker, s.driftScanner, s.alerter, s.dashboard,
	} {
		if err := add(env, built); err != nil {
			return err
		}
	}
	return nil
}

func (s shared) receiver(env service.Env, built *service.Built) error {
	r, err := receiver.New(env.Config.Receiver, s.bus, receiver.Options{
		Cluster: env.Config.Cluster, Log: logOf(env, "receiver"), Registerer: env.Metrics,
	})
	if err == nil {
		built.Parts = append(built.Parts, service.Part{Name: "receiver", Run: r.Run})
	}
	return err
}

func (s shared) worker(env service.Env, built *service.Built) error {
	metrics, err := report.NewMetrics(env.Metrics)
	if err != nil {
		return err
	}
	renderer := worker.NewRenderer(env.Config.Worker)
	built.Close = append(built.Close, renderer.Close)
	parts := worker.New(env.Config, worker.Parts{
		Bus: s.bus, Cluster: s.cluster, Catalog: s.catalog, Store: s.store, Renderer: renderer, Metrics: metrics,
	}, logOf(env, "worker"))
	built.Parts = append(built.Parts, named("worker", parts)...)
	return nil
}

func (s shared) driftScanner(env service.Env, built *service.Built) error {
	metrics, err := driftscanner.NewMetrics(env.Metrics)
	if err != nil {
		return err
	}
	parts := driftscanner.New(env.Config, driftscanner.Parts{
		Bus: s.bus, Cluster: s.cluster, Catalog: s.catalog, Store: s.store, Metrics: metrics,
	}, logOf(env, "drift-scanner"))
	built.Parts = append(built.Parts, named("drift-scanner", parts)...)
	return nil
}

func (s shared) alerter(env service.Env, built *service.Built) error {
	a, err := alerter.New(env.Config.Alerter, s.bus, alerter.Options{
		Cluster: env.Config.Cluster, Log: logOf(env, "alerter"), Registerer: env.Metrics,
	})
	if err == nil {
		built.Parts = append(built.Parts, service.Part{Name: "alerter", Run: a.Run})
	}
	return err
}

func (s shared) dashboard(env service.Env, built *service.Built) error {
	d, err := dashboard.New(env.Config.Dashboard, s.bus, env.Config.NATS.DataDir, dashboard.Options{Log: logOf(env, "dashboard")})
	if err == nil {
		built.Parts = append(built.Parts, service.Part{Name: "dashboard", Run: d.Run})
	}
	return err
}

func logOf(env service.Env, part string) *slog.Logger { return env.Log.With("part", part) }

func named(program string, parts []service.Part) []service.Part {
	for i := range parts {
		parts[i].Name = program + "/" + parts[i].Name
	}
	return parts
}

// openBus connects, to a server in this process when none is configured. That
// one is ours alone, so its streams are brought up to date.
func openBus(ctx context.Context, env service.Env, built *service.Built) (*bus.Bus, error) {
	c := env.Config.NATS
	o := bus.Options{URL: c.URL, CredentialsFile: c.CredentialsFile, Cluster: env.Config.Cluster, Replicas: c.Replicas, SyncAlways: c.SyncAlways, Log: env.Log}
	if c.URL == "" {
		server, err := embedded.Start(filepath.Join(c.DataDir, "nats"), embedded.Options{Log: env.Log})
		if err != nil {
			return nil, err
		}
		built.Close = append(built.Close, server.Stop)
		o.InProcess, o.Replicas, o.SyncAlways = server, 1, true
	}
	b, err := bus.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	built.Close = append(built.Close, b.Close)
	if c.URL == "" {
		_, err = b.Apply(ctx)
	}
	return b, err
}

// installLimit is how long the API server may take to serve the Application API.
const installLimit = 30 * time.Second

func install(ctx context.Context, c *cluster.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, installLimit)
	defer cancel()
	for _, crd := range v1alpha1.CRDs() {
		if err := c.EnsureCRD(ctx, crd); err != nil {
			return fmt.Errorf("install the CRD: %w", err)
		}
	}
	return nil
}
