package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/policy"
	"github.com/plumb-gitops/plumb/pkg/report"
	"github.com/plumb-gitops/plumb/pkg/source"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// store writes the end of an attempt, or of its wait, and tells it. The order
// matters: the state is told last, so that a state that is behind the status
// says that the facts before it may be missing, too (see worker's repair).
func (r *Reconciler) store(ctx context.Context, a *v1alpha1.Application, b begun, o outcome, d details) error {
	next := a.DeepCopy()
	next.Status = b.ended(a, o, r.now())
	written, err := r.writeStatus(ctx, a, next)
	if err != nil {
		return err
	}
	r.record(written, o)
	r.tellHealth(ctx, a, written, o)
	if fact := report.Finished(r.o.Cluster, written); fact != nil {
		fact.Stages, fact.Objects, fact.Omitted = d.stages, d.objects, d.omitted
		class, _ := fault.ClassOf(o.err)
		if o.result == v1alpha1.ResultFailed {
			fact.ErrorClass = class.String()
		}
		r.report.Count(fact)
		r.report.Tell(ctx, report.Fact{
			Type: event.SyncFinished, ID: report.AttemptID(a, b.number, "finished/"+string(o.result)), Cause: d.cause, Data: fact,
		})
	}
	r.report.Saw(ctx, written)
	return nil
}

// details are what only the attempt itself knows, and its fact tells.
type details struct {
	cause   string // id of the request's event
	trace   string // W3C traceparent
	stages  []*eventsv1.Stage
	objects []*eventsv1.ObjectAction
	omitted int32
}

func (t *attempt) details(ctx context.Context, o outcome) details {
	d := details{cause: t.cause, trace: telemetry.Traceparent(ctx), stages: t.stages.list}
	d.objects, d.omitted = o.objects(maxObjects)
	return d
}

// announce stores what an attempt may come to own, before its first object.
func (r *Reconciler) announce(ctx context.Context, a *v1alpha1.Application, b begun, made source.Assembly, owned inventory.Inventory, how opening) (*v1alpha1.Application, error) {
	switch how {
	case briefly:
		return a, nil
	case withClaim:
		return r.claimFirst(ctx, a, owned)
	}
	a, err := r.catalog.AddFinalizer(ctx, a)
	if err != nil {
		return nil, err
	}
	next := a.DeepCopy()
	next.Status = b.starting(a, made, owned)
	return r.writeStatus(ctx, a, next)
}

// claimFirst adds finalizer and claim to an Application that has neither.
func (r *Reconciler) claimFirst(ctx context.Context, a *v1alpha1.Application, owned inventory.Inventory) (*v1alpha1.Application, error) {
	claim, err := inventory.FirstClaim(a, owned)
	if err != nil {
		return nil, err
	}
	for now := a; ; {
		written, err := r.catalog.ClaimFirst(ctx, now, claim)
		if !errors.Is(err, catalog.ErrConflict) {
			return written, err
		}
		if now = r.unrivalled(ctx, a); now == nil || !untouched(now) {
			return nil, err
		}
	}
}

// writeStatus writes next's status over that of a.
func (r *Reconciler) writeStatus(ctx context.Context, a, next *v1alpha1.Application) (*v1alpha1.Application, error) {
	for {
		written, err := r.catalog.WriteStatus(ctx, next)
		if !errors.Is(err, catalog.ErrConflict) {
			return written, err
		}
		now := r.unrivalled(ctx, a)
		if now == nil {
			return nil, err
		}
		next.ResourceVersion = now.ResourceVersion
	}
}

// unrivalled is the Application as it is now; nil when that is not certain, or when more
// than metadata changed since a was read. Who changes only that, as an annotation, is no rival.
func (r *Reconciler) unrivalled(ctx context.Context, a *v1alpha1.Application) *v1alpha1.Application {
	now, err := r.catalog.Read(ctx, a.Key())
	if err != nil || now == nil || now.UID != a.UID || now.Generation != a.Generation || !equality.Semantic.DeepEqual(now.Status, a.Status) {
		return nil
	}
	return now
}

// maxObjects keeps a fact far below the limit of an event.
const maxObjects = 500

// record leaves a Kubernetes Event and a line in the log.
func (r *Reconciler) record(a *v1alpha1.Application, o outcome) {
	r.log.Info("attempt ended", "application", a.Key().String(), "attempt", a.Status.LastAttempt.Number, "result", o.result,
		"revision", short(o.revision), "trace", a.Status.LastAttempt.Trace)
	for _, out := range o.outcomes[:min(len(o.outcomes), maxObjects)] {
		for _, l := range out.Losers {
			r.catalog.Record(a, corev1.EventTypeNormal, "FieldsTaken",
				bounded(fmt.Sprintf("%s: took %s from %s, since Git declares them", out.Action.ID.Human(), strings.Join(l.Fields, ", "), l.Manager)))
		}
	}
	switch o.result {
	case v1alpha1.ResultFailed:
		r.catalog.Record(a, corev1.EventTypeWarning, string(o.reason()), o.message())
	case v1alpha1.ResultSucceeded:
		r.catalog.Record(a, corev1.EventTypeNormal, string(fault.Succeeded), fmt.Sprintf("applied %s; %s", short(o.revision), o.health.Describe()))
	}
}

// tellHealth tells when the health of the whole changed.
func (r *Reconciler) tellHealth(ctx context.Context, old, now *v1alpha1.Application, o outcome) {
	from, to := healthOf(old), healthOf(now)
	if from == to {
		return
	}
	worst := ""
	if o.health.Object != (object.ID{}) {
		worst = o.health.Object.String()
	}
	r.report.Tell(ctx, report.Fact{
		Type: event.HealthChanged, ID: report.AttemptID(now, now.Status.LastAttempt.Number, "health/"+to),
		Data: &eventsv1.HealthChanged{
			Cluster: r.o.Cluster, Namespace: now.Namespace, Name: now.Name, From: from, To: to,
			Since: timestamppb.New(r.now()), WorstObject: worst, Message: bounded(o.health.Message), Revision: o.revision,
		},
	})
}

func healthOf(a *v1alpha1.Application) string {
	c := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionHealthy)
	switch {
	case c == nil:
		return "Unknown"
	case c.Status == metav1.ConditionTrue:
		return "Healthy"
	case c.Status == metav1.ConditionFalse:
		return "Degraded"
	}
	return "Progressing"
}

// repeat is the consequence of a failure: the request comes back after a while,
// or it ends here.
func (r *Reconciler) repeat(ctx context.Context, key app.Key, o outcome) error {
	a, err := r.catalog.Read(ctx, key)
	if err != nil || a == nil {
		return err
	}
	failures := int32(1)
	if last := a.Status.LastAttempt; last != nil {
		failures = last.Failures
	}
	wait, repeats := again(a, failures, o.err)
	if !repeats {
		r.log.WarnContext(ctx, "attempt failed", "application", key.String(), "reason", o.reason(), "error", o.err)
		return nil
	}
	r.log.InfoContext(ctx, "attempt failed; it is repeated", "application", key.String(), "reason", o.reason(), "error", o.err, "after", wait)
	return fault.After(o.reason(), wait, "sync %s: %w", key, o.err)
}

// storeHeld writes why an Application is not synced now.
func (r *Reconciler) storeHeld(ctx context.Context, a *v1alpha1.Application, b begun, why *held) error {
	next := a.DeepCopy()
	s := &next.Status
	s.ObservedGeneration, s.Requested = a.Generation, b.requested
	why.tell(s, a, r.now())
	if equality.Semantic.DeepEqual(a.Status, *s) {
		return nil
	}
	written, err := r.writeStatus(ctx, a, next)
	if err != nil {
		return superseded(err)
	}
	r.report.Saw(ctx, written)
	return nil
}

// heldBack says why the Application's policy keeps this request from being carried
// out; nil when it does not: it is suspended, or nobody asked and its mode is manual.
func heldBack(a *v1alpha1.Application, request *eventsv1.SyncRequested, now time.Time) *held {
	const suspended = string(fault.Suspended)
	switch {
	case policy.Suspended(a, now):
		message := bounded(policy.Suspension(a) + "; nothing is applied until then")
		why := &held{
			waiting: &v1alpha1.Waiting{Reason: suspended, Message: message},
			conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionSuspended, Status: metav1.ConditionTrue, Reason: suspended, Message: message},
				{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: suspended, Message: message},
			},
		}
		if a.Spec.Suspension != nil {
			why.waiting.Until = a.Spec.Suspension.Until
		}
		return why
	case a.Spec.Sync.Mode == v1alpha1.ModeManual && !asked(a, request) && !owed(a):
		const message = "spec.sync.mode is manual; ask with: plumb sync <namespace>/<name>"
		why := &held{conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionSynced, Status: metav1.ConditionUnknown, Reason: suspended, Message: message},
			{Type: v1alpha1.ConditionSuspended, Status: metav1.ConditionFalse, Reason: string(fault.Succeeded)},
		}}
		if a.Status.ObservedGeneration != a.Generation || a.Status.Waiting != nil { // Ready speaks of the current generation, and of no suspension
			why.conditions = append(why.conditions,
				metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown, Reason: suspended, Message: message})
		}
		return why
	}
	return nil
}

// asked says whether a person asked for this: by a request, or by the annotation
// that every such request writes first.
func asked(a *v1alpha1.Application, request *eventsv1.SyncRequested) bool {
	annotation := a.Annotations[v1alpha1.SyncAnnotation]
	return request.GetReason() == event.ReasonManual || annotation != "" && annotation != a.Status.Requested
}
