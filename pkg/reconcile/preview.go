package reconcile

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/plan"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// PreviewOptions say what is previewed.
type PreviewOptions struct {
	// Ref, when set, stands in the place of spec.source.ref and semver.
	Ref string
	// PlanOnly leaves out the comparison, and so the dry runs.
	PlanOnly bool
	// Progress is told each step as it begins: fetch, render, plan, compare; may be nil.
	Progress func(step string)
}

// Preview is what the next attempt would do.
type Preview struct {
	Revision string
	Rendered int // objects
	Plan     plan.Plan
	// Differences are those of the plan, in its order; what drifted and would be left
	// is among them. They hold no secret value.
	Differences []plan.ObjectDiff
}

// Preview takes an Application as read through source, render and plan, by the very
// functions of an attempt and as the Application's account, without a lease and
// without a write. A plan that waits for a confirmation is no error. It is an attempt
// that nobody asked for: what drifted counts as spec.sync.drift says, and hooks run
// only beside a change.
func (r *Reconciler) Preview(ctx context.Context, a *v1alpha1.Application, o PreviewOptions) (Preview, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Ref != "" {
		a = a.DeepCopy()
		a.Spec.Source.Ref, a.Spec.Source.Semver = o.Ref, ""
	}
	t := &attempt{
		r: r, key: a.Key(), life: ctx, stages: queued(r.now(), r.now),
		request: &eventsv1.SyncRequested{Cluster: r.o.Cluster, Namespace: a.Namespace, Name: a.Name, Reason: event.ReasonSpec},
		guard:   func() error { return errPreview },
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout(a), errTimeout)
	defer cancel()
	return t.preview(ctx, a, o)
}

var errPreview = errors.New("a preview writes nothing")

func (t *attempt) preview(ctx context.Context, a *v1alpha1.Application, o PreviewOptions) (Preview, error) {
	owned, err := inventory.Of(a)
	if err != nil {
		return Preview{}, err
	}
	o.Progress("fetch")
	s, err := t.source(ctx, a)
	if err != nil {
		return Preview{}, err
	}
	o.Progress("render")
	rendered, _, err := t.render(ctx, a, s)
	if err != nil {
		return Preview{Revision: s.made.Revision}, err
	}
	o.Progress("plan")
	b := t.begin(ctx, a)
	p, err := t.plan(ctx, a, t.run(a, b, s), s, rendered, owned)
	made := Preview{Revision: s.made.Revision, Rendered: rendered.Len(), Plan: p}
	if err != nil && p.Err() == nil {
		return made, err
	}
	if o.PlanOnly {
		return made, nil
	}
	o.Progress("compare")
	made.Differences, err = t.differences(ctx, s, p)
	return made, err
}

// differences compares what would be sent with what is there.
func (t *attempt) differences(ctx context.Context, s fetched, p plan.Plan) ([]plan.ObjectDiff, error) {
	found, err := plan.Differences(ctx, p, func(ctx context.Context, a plan.Action) (*unstructured.Unstructured, error) {
		sent, err := p.Sent(a)
		if err != nil {
			return nil, err
		}
		options := cluster.ApplyOptions{DryRun: true}
		if !a.Merges() {
			options.Takeover = a.Live
		}
		would, err := s.client.Apply(ctx, sent, options)
		return would.Unstructured, err
	})
	if err != nil {
		return nil, fault.As(fault.ApplyFailed, err)
	}
	found = append(found, left(p)...)
	for i := range found {
		t.stages.veil.hide(&found[i])
	}
	return found, nil
}

// left is what drifted and is only told of, from the live state to that of Git.
func left(p plan.Plan) []plan.ObjectDiff {
	var all []plan.ObjectDiff
	for _, a := range p.Actions() {
		if a.Verb != plan.Leave {
			continue
		}
		d := plan.ObjectDiff{ID: a.ID, Verb: a.Verb, Why: a.Why}
		if a.Drift != nil {
			for _, f := range a.Drift.Fields {
				d.Fields = append(d.Fields, plan.FieldChange{Path: f.Path, Before: f.After, After: f.Before})
			}
		}
		all = append(all, d)
	}
	return all
}
