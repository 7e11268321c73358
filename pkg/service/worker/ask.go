package worker

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/policy"
	"github.com/plumb-gitops/plumb/pkg/reconcile"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Codes of a refused AskSync.
const (
	codeNotFound  = "NotFound"
	codeSuspended = "Suspended"
	codeInternal  = "Internal"
)

// answers answers questions about this cluster.
type answers struct {
	cluster  string
	bus      *bus.Bus
	catalog  *catalog.Catalog
	own      *cluster.Client // as Plumb's own account
	requests *requests
	preview  func(context.Context, *v1alpha1.Application, reconcile.PreviewOptions) (reconcile.Preview, error)
	newID    func() string
}

// Run answers until ctx ends.
func (q *answers) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	answer := func(question string, req proto.Message, handle func(context.Context, proto.Message, func(proto.Message) error) error) {
		group.Go(func() error { return q.bus.Answer(ctx, q.cluster, question, req, handle) })
	}
	answer("sync", &eventsv1.AskSync{}, func(ctx context.Context, req proto.Message, reply func(proto.Message) error) error {
		return reply(q.sync(ctx, req.(*eventsv1.AskSync)))
	})
	answer("diff", &eventsv1.AskDiff{}, func(ctx context.Context, req proto.Message, reply func(proto.Message) error) error {
		return q.diff(ctx, req.(*eventsv1.AskDiff), reply)
	})
	answer("confirm", &eventsv1.AskConfirm{}, func(ctx context.Context, req proto.Message, reply func(proto.Message) error) error {
		return reply(q.confirm(ctx, req.(*eventsv1.AskConfirm)))
	})
	answer("suspend", &eventsv1.AskSuspend{}, func(ctx context.Context, req proto.Message, reply func(proto.Message) error) error {
		return reply(q.suspend(ctx, req.(*eventsv1.AskSuspend)))
	})
	return group.Wait()
}

// sync takes what a person asks for: first as an annotation, which nothing can
// lose, and only then as a message.
func (q *answers) sync(ctx context.Context, ask *eventsv1.AskSync) *eventsv1.AnswerSync {
	key := app.Key{Namespace: ask.GetNamespace(), Name: ask.GetName()}
	ctx, end := telemetry.Start(ctx, "ask sync")
	defer end(nil)
	a, err := q.catalog.Read(ctx, key)
	switch {
	case err != nil:
		return &eventsv1.AnswerSync{Error: err.Error(), ErrorCode: codeInternal}
	case a == nil || !a.DeletionTimestamp.IsZero():
		return &eventsv1.AnswerSync{Error: "there is no Application " + key.String() + " in cluster " + q.cluster, ErrorCode: codeNotFound}
	case policy.Suspended(a, time.Now()):
		return &eventsv1.AnswerSync{Error: "Application " + key.String() + " is " + policy.Suspension(a) + "; resume it first: plumb resume " + key.String(), ErrorCode: codeSuspended}
	}
	id := q.newID()
	marks := map[string]any{v1alpha1.SyncAnnotation: id, v1alpha1.OverrideWindowsAnnotation: nil}
	if ask.GetOverrideWindows() {
		marks[v1alpha1.OverrideWindowsAnnotation] = id
	}
	if err := q.annotate(ctx, v1alpha1.GroupVersionKind.Kind, key, marks); err != nil {
		return &eventsv1.AnswerSync{Error: err.Error(), ErrorCode: codeInternal}
	}
	if ask.GetOverrideWindows() { // the attempt may come of the watch, which knows no name
		q.catalog.Record(a, corev1.EventTypeNormal, "WindowOverrideAsked", fmt.Sprintf("%s asks for a sync although a window may be closed, request %s", ask.GetRequestedBy(), id))
	}
	// The annotation is what counts: when this message is lost, the watch asks again.
	_ = q.requests.publish(ctx, string(a.UID)+"/sync/"+id, &eventsv1.SyncRequested{
		Cluster: q.cluster, Namespace: key.Namespace, Name: key.Name,
		Reason: event.ReasonManual, RequestId: id, RequestedBy: ask.GetRequestedBy(),
	})
	return &eventsv1.AnswerSync{RequestId: id}
}

func keyOf(s *eventsv1.ApplicationState) app.Key {
	return app.Key{Namespace: s.GetNamespace(), Name: s.GetName()}
}
