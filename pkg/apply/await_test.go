package apply_test

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// await waits by watches, as the worker does.
func await(ctx context.Context, c *cluster.Client, p plan.Plan, ids []object.ID, until plan.Await) error {
	if until == plan.Usable {
		return c.Usable(ctx, ids)
	}
	return c.Until(ctx, ids, func(id object.ID, u *unstructured.Unstructured) (bool, error) {
		switch until {
		case plan.Gone:
			return u == nil || u.GetDeletionTimestamp() == nil, nil
		case plan.Finished:
			status := p.Ended(u).Status
			return u == nil || status == health.Healthy || status == health.Degraded, nil
		}
		report := p.Health(u)
		if report.Status == health.Degraded {
			return false, fault.Refuse(fault.HealthFailed, fault.Place{}, "%s: %s", id.Human(), report.Message)
		}
		return report.Status == health.Healthy, nil
	})
}
