package dashboard

import (
	"context"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/service"
)

// Program is the dashboard as a binary of its own.
func Program() service.Program {
	return service.Program{Name: "dashboard", Build: build}
}

func build(ctx context.Context, env service.Env) (built service.Built, err error) {
	c := env.Config
	b, err := bus.Open(ctx, bus.Options{
		URL: c.NATS.URL, CredentialsFile: c.NATS.CredentialsFile, Cluster: c.Cluster, Service: "dashboard",
		Replicas: c.NATS.Replicas, SyncAlways: c.NATS.SyncAlways, Log: env.Log,
	})
	if err != nil {
		return built, err
	}
	built.Close = append(built.Close, b.Close)
	d, err := New(c.Dashboard, b, c.NATS.DataDir, Options{Log: env.Log})
	if err != nil {
		return built, err
	}
	built.Parts = []service.Part{{Name: "dashboard", Run: d.Run}}
	built.Checks = []service.Check{{Name: "nats", Ready: func(context.Context) error { return b.Connected() }}}
	return built, nil
}
