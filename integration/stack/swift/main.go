// Swift is the worker for tests that kill many: the program of services/worker, but
// for the intervals of its leases and messages, which PLUMB_TEST_TIMING gives as JSON
// (bus.Timing). What is taken over after seconds there is taken over sooner here.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/child"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/worker"
)

func main() {
	if child.Main() {
		return
	}
	program := service.Program{Name: "worker", Sections: []string{"git"}, Build: build}
	os.Exit(service.Main(program, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func build(ctx context.Context, env service.Env) (built service.Built, err error) {
	o := bus.Options{URL: env.Config.NATS.URL, Cluster: env.Config.Cluster, Service: "worker", SyncAlways: true, Log: env.Log}
	if err := json.Unmarshal([]byte(os.Getenv("PLUMB_TEST_TIMING")), &o.Timing); err != nil {
		return built, fmt.Errorf("read PLUMB_TEST_TIMING: %w", err)
	}
	b, err := bus.Open(ctx, o)
	if err != nil {
		return built, err
	}
	built.Close = append(built.Close, b.Close)
	kube, err := cluster.Open(cluster.Options{Kubeconfig: env.Config.Kubernetes.Kubeconfig, UserAgent: "plumb-worker", Log: env.Log})
	if err != nil {
		return built, err
	}
	store, err := git.Open(filepath.Join(env.Config.NATS.DataDir, "git", "worker"), git.Options{Log: env.Log})
	if err != nil {
		return built, err
	}
	built.Close = append(built.Close, func() { _ = store.Close() })
	renderer := render.New(render.Options{})
	built.Close = append(built.Close, renderer.Close)
	applications := catalog.New(kube, catalog.Options{Log: env.Log})
	parts := worker.Parts{Bus: b, Cluster: kube, Catalog: applications, Store: store, Renderer: renderer}
	built.Parts = append(worker.New(env.Config, parts, env.Log), service.Part{Name: "catalog", Run: applications.Run})
	return built, nil
}
