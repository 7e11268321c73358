package alerter

import (
	"context"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/service"
)

// Program is the alerter as a binary of its own.
func Program() service.Program {
	return service.Program{Name: "alerter", Sections: []string{"alerter"}, Build: build}
}

func build(ctx context.Context, env service.Env) (built service.Built, err error) {
	c := env.Config
	b, err := bus.Open(ctx, bus.Options{
		URL: c.NATS.URL, CredentialsFile: c.NATS.CredentialsFile, Cluster: c.Cluster, Service: "alerter",
		Replicas: c.NATS.Replicas, SyncAlways: c.NATS.SyncAlways, Log: env.Log,
	})
	if err != nil {
		return built, err
	}
	built.Close = append(built.Close, b.Close)
	a, err := New(c.Alerter, b, Options{Cluster: c.Cluster, Log: env.Log, Registerer: env.Metrics})
	if err != nil {
		return built, err
	}
	built.Parts = []service.Part{{Name: "alerter", Run: a.Run}}
	built.Checks = []service.Check{{Name: "nats", Ready: func(context.Context) error { return b.Connected() }}}
	return built, nil
}
