package reconcile

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/report"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// maxFields bounds how many fields of one object a fact tells.
const maxFields = 50

// drifted names the objects that drifted and were left as they are.
func drifted(result apply.Result) []string {
	var ids []string
	for _, o := range result.Outcomes {
		if o.Action.Verb == plan.Leave {
			ids = append(ids, o.Action.ID.Human())
		}
	}
	return ids
}

// tellDrift tells, field by field, what was healed and what was left alone.
func (t *attempt) tellDrift(ctx context.Context, a *v1alpha1.Application, b begun, s fetched, result apply.Result) {
	var healed, left []*eventsv1.DriftedObject
	for _, o := range result.Outcomes {
		switch {
		case o.Action.Drift == nil || o.Err != nil || o.Skipped:
		case o.Action.Verb == plan.Leave:
			left = append(left, driftedObject(o.Action))
		default:
			healed = append(healed, driftedObject(o.Action))
		}
	}
	t.tellLeft(ctx, a, b, left)
	if len(healed) > 0 {
		listed := healed[:min(len(healed), maxObjects)]
		t.r.report.Tell(ctx, report.Fact{Type: event.DriftHealed, ID: report.AttemptID(a, b.number, "healed"), Cause: t.cause,
			Data: &eventsv1.DriftHealed{
				Cluster: t.r.o.Cluster, Namespace: a.Namespace, Name: a.Name, Objects: listed, Omitted: int32(len(healed) - len(listed)),
				Attempt: b.number, Revision: s.made.Revision,
			}})
	}
}

// tellLeft tells what drifted and is left as it is.
func (t *attempt) tellLeft(ctx context.Context, a *v1alpha1.Application, b begun, left []*eventsv1.DriftedObject) {
	if len(left) == 0 {
		return
	}
	listed := left[:min(len(left), maxObjects)]
	t.r.report.Tell(ctx, report.Fact{Type: event.DriftFound, ID: report.AttemptID(a, b.number, "drift"), Cause: t.cause,
		Data: &eventsv1.DriftFound{
			Cluster: t.r.o.Cluster, Namespace: a.Namespace, Name: a.Name, Objects: listed, Omitted: int32(len(left) - len(listed)),
		}})
}

func driftedObject(a plan.Action) *eventsv1.DriftedObject {
	d := &eventsv1.DriftedObject{Id: a.ID.String(), Kind: a.Drift.Kind, Manager: a.Drift.Manager}
	if !a.Drift.Time.IsZero() {
		d.Time = timestamppb.New(a.Drift.Time)
	}
	for _, f := range a.Drift.Fields[:min(len(a.Drift.Fields), maxFields)] {
		d.Fields = append(d.Fields, &eventsv1.FieldChange{Path: f.Path, Before: f.Before, After: f.After})
	}
	return d
}
