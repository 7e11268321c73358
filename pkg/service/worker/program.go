package worker

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/child"
	"github.com/plumb-gitops/plumb/pkg/report"
	"github.com/plumb-gitops/plumb/pkg/service"
)

// Program is the worker as a binary of its own, with a connection, a catalog and
// a Git store that nothing else shares.
func Program() service.Program {
	return service.Program{Name: "worker", Sections: []string{"git"}, Build: build}
}

func build(ctx context.Context, env service.Env) (built service.Built, err error) {
	c := env.Config
	b, err := bus.Open(ctx, bus.Options{
		URL: c.NATS.URL, CredentialsFile: c.NATS.CredentialsFile, Cluster: c.Cluster, Service: "worker",
		Replicas: c.NATS.Replicas, SyncAlways: c.NATS.SyncAlways, Log: env.Log,
	})
	if err != nil {
		return built, err
	}
	built.Close = append(built.Close, b.Close)
	kube, err := cluster.Open(cluster.Options{Kubeconfig: c.Kubernetes.Kubeconfig, UserAgent: "plumb-worker", Log: env.Log})
	if err != nil {
		return built, err
	}
	store, err := git.Open(filepath.Join(c.NATS.DataDir, "git", "worker"), git.Options{Log: env.Log})
	if err != nil {
		return built, fmt.Errorf("open the Git store: %w", err)
	}
	built.Close = append(built.Close, func() { _ = store.Close() })
	metrics, err := report.NewMetrics(env.Metrics)
	if err != nil {
		return built, err
	}
	renderer := NewRenderer(c.Worker)
	built.Close = append(built.Close, renderer.Close)
	applications := catalog.New(kube, catalog.Options{Log: env.Log})
	built.Parts = append(New(c, Parts{Bus: b, Cluster: kube, Catalog: applications, Store: store, Renderer: renderer, Metrics: metrics}, env.Log),
		service.Part{Name: "catalog", Run: applications.Run}, service.SpareGarbage())
	built.Checks = []service.Check{
		{Name: "nats", Ready: func(context.Context) error { return b.Connected() }},
		{Name: "catalog", Ready: applications.Listed},
	}
	return built, nil
}

// NewRenderer returns what renders for a worker, within the limits of its configuration.
func NewRenderer(c config.Worker) *render.Renderer {
	return render.New(render.Options{Children: child.Options{Timeout: c.Render.Timeout, CPU: c.Render.CPU}})
}
