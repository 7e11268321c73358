package worker

import (
	"context"
	"log/slog"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/sets"
	"github.com/plumb-gitops/plumb/pkg/source"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// keeper keeps the ApplicationSets of the cluster.
type keeper struct {
	watched    *sets.Sets
	controller *sets.Controller
}

func newKeeper(c config.Config, p Parts, log *slog.Logger) keeper {
	watched := sets.Watch(p.Cluster, log)
	controller := sets.New(sets.Parts{
		Bus: p.Bus, Cluster: p.Cluster, Catalog: p.Catalog, Sets: watched, Store: p.Store,
		Sources: source.Policy{Git: c.Git, Catalog: p.Catalog},
	}, sets.Options{
		Cluster: c.Cluster, Labels: c.ClusterLabels, Holder: holder(), Log: log,
		Impersonation: c.Worker.Impersonation, DefaultServiceAccount: c.Worker.DefaultServiceAccount,
	})
	return keeper{watched, controller}
}

func (k keeper) parts() []service.Part {
	return []service.Part{{Name: "watch sets", Run: k.watched.Run}, {Name: "sets", Run: k.controller.Run}}
}

// after has the sets that read a pushed ref expanded once its Applications are
// routed, which wait for less. A push that comes again need not be told again.
func (k keeper) after(route func(context.Context, bus.Delivery) error) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		err := route(ctx, d)
		if push, ok := d.Event.Data.(*eventsv1.GitPush); ok && (err == nil || d.Deliveries <= 1) {
			k.controller.Pushed(push.GetRepo(), push.GetRef(), push.GetAfter())
		}
		return err
	}
}
