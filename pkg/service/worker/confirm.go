package worker

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/policy"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// codeInvalid is that of a question without what it needs.
const codeInvalid = "Invalid"

// confirm writes a person's confirmation down. The digest decides: the plan is made
// anew, and one that deletes anything else goes on waiting.
func (q *answers) confirm(ctx context.Context, ask *eventsv1.AskConfirm) *eventsv1.AnswerConfirm {
	ctx, end := telemetry.Start(ctx, "ask confirm")
	defer end(nil)
	key := app.Key{Namespace: ask.GetNamespace(), Name: ask.GetName()}
	switch {
	case ask.GetKind() == v1alpha1.SetKind.Kind:
		return q.confirmSet(ctx, key, ask.GetDigest())
	case ask.GetDigest() == "":
		return &eventsv1.AnswerConfirm{Error: "a confirmation names the digest of a plan", ErrorCode: codeInvalid}
	}
	return q.confirmApplication(ctx, key, ask)
}

// confirmApplication asks for a sync beside the confirmation, in one write: the state
// then tells which attempt was the answer, and a manual Application is not left out.
func (q *answers) confirmApplication(ctx context.Context, key app.Key, ask *eventsv1.AskConfirm) *eventsv1.AnswerConfirm {
	a, err := q.catalog.Read(ctx, key)
	switch {
	case err != nil:
		return &eventsv1.AnswerConfirm{Error: err.Error(), ErrorCode: codeInternal}
	case a == nil || !a.DeletionTimestamp.IsZero():
		return &eventsv1.AnswerConfirm{Error: q.noSuch("Application", key), ErrorCode: codeNotFound}
	case policy.Suspended(a, time.Now()):
		return &eventsv1.AnswerConfirm{Error: "Application " + key.String() + " is " + policy.Suspension(a) + "; resume it first: plumb resume " + key.String(), ErrorCode: codeSuspended}
	}
	id := q.newID()
	marks := map[string]any{v1alpha1.ConfirmPruneAnnotation: ask.GetDigest(), v1alpha1.SyncAnnotation: id}
	if err := q.annotate(ctx, v1alpha1.GroupVersionKind.Kind, key, marks); err != nil {
		return &eventsv1.AnswerConfirm{Error: err.Error(), ErrorCode: codeInternal}
	}
	// The annotations are what counts: when this message is lost, the watch asks again.
	_ = q.requests.publish(ctx, string(a.UID)+"/sync/"+id, &eventsv1.SyncRequested{
		Cluster: q.cluster, Namespace: key.Namespace, Name: key.Name,
		Reason: event.ReasonManual, RequestId: id, RequestedBy: ask.GetRequestedBy(),
	})
	return &eventsv1.AnswerConfirm{RequestId: id}
}

func (q *answers) confirmSet(ctx context.Context, key app.Key, digest string) *eventsv1.AnswerConfirm {
	set := &v1alpha1.ApplicationSet{}
	found, err := q.own.GetInto(ctx, idOf(v1alpha1.SetKind.Kind, key), v1alpha1.Version, set)
	switch {
	case err != nil:
		return &eventsv1.AnswerConfirm{Error: err.Error(), ErrorCode: codeInternal}
	case !found || !set.DeletionTimestamp.IsZero():
		return &eventsv1.AnswerConfirm{Error: q.noSuch("ApplicationSet", key), ErrorCode: codeNotFound}
	case digest != "":
		if err := q.annotate(ctx, v1alpha1.SetKind.Kind, key, map[string]any{v1alpha1.ConfirmPruneAnnotation: digest}); err != nil {
			return &eventsv1.AnswerConfirm{Error: err.Error(), ErrorCode: codeInternal}
		}
	}
	answer := &eventsv1.AnswerConfirm{Plan: set.Status.Plan, Confirmed: set.Status.Confirmed}
	for _, a := range set.Status.Applications {
		if a.Result == "blocked" {
			answer.Deletions = append(answer.Deletions, a.Name)
		}
	}
	if ready := meta.FindStatusCondition(set.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		answer.Ready, answer.Reason, answer.Message = string(ready.Status), ready.Reason, ready.Message
	}
	return answer
}

func (q *answers) annotate(ctx context.Context, kind string, key app.Key, marks map[string]any) error {
	patch := map[string]any{"metadata": map[string]any{"annotations": marks}}
	return q.own.MergePatch(ctx, idOf(kind, key), v1alpha1.Version, patch, nil)
}

func idOf(kind string, key app.Key) object.ID {
	return object.ID{Group: v1alpha1.Group, Kind: kind, Namespace: key.Namespace, Name: key.Name}
}
