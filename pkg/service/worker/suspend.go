package worker

import (
	"context"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Bounds of the schema for spec.suspension.
const (
	maxBy     = 253
	maxReason = 1024
)

// suspend writes into the spec that an Application is suspended, by whom and why, or
// that it is not; the watch then asks for what that calls for.
func (q *answers) suspend(ctx context.Context, ask *eventsv1.AskSuspend) *eventsv1.AnswerSuspend {
	ctx, end := telemetry.Start(ctx, "ask suspend")
	defer end(nil)
	key := app.Key{Namespace: ask.GetNamespace(), Name: ask.GetName()}
	spec := map[string]any{"suspend": false, "suspension": nil}
	if ask.GetSuspend() {
		why := map[string]any{"by": ask.GetBy(), "reason": ask.GetReason(), "until": nil}
		switch until := ask.GetUntil(); {
		case len(ask.GetBy()) > maxBy, len(ask.GetReason()) > maxReason:
			return &eventsv1.AnswerSuspend{Error: "the name or the reason is too long", ErrorCode: codeInvalid}
		case until != nil && !until.AsTime().After(time.Now()):
			return &eventsv1.AnswerSuspend{Error: "the end of the suspension is over already", ErrorCode: codeInvalid}
		case until != nil:
			why["until"] = until.AsTime().UTC().Format(time.RFC3339)
		}
		spec = map[string]any{"suspend": true, "suspension": why}
	}
	a, err := q.catalog.Read(ctx, key)
	switch {
	case err != nil:
		return &eventsv1.AnswerSuspend{Error: err.Error(), ErrorCode: codeInternal}
	case a == nil || !a.DeletionTimestamp.IsZero():
		return &eventsv1.AnswerSuspend{Error: q.noSuch("Application", key), ErrorCode: codeNotFound}
	}
	if err := q.own.MergePatch(ctx, idOf(v1alpha1.GroupVersionKind.Kind, key), v1alpha1.Version, map[string]any{"spec": spec}, nil); err != nil {
		return &eventsv1.AnswerSuspend{Error: err.Error(), ErrorCode: codeInternal}
	}
	return &eventsv1.AnswerSuspend{}
}
