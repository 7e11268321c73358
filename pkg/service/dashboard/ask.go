package dashboard

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/telemetry"
	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Diff asks the worker of the Application's cluster what the next sync would do,
// and passes on its answer as it comes. Such answers count as event streams do.
func (s *server) Diff(ctx context.Context, r *connect.Request[apiv1.DiffRequest], out *connect.ServerStream[eventsv1.AnswerDiff]) (err error) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return connect.NewError(connect.CodeResourceExhausted, errors.New("too many streams are open; try again later"))
	}
	ctx, end := telemetry.Start(telemetry.Continue(ctx, r.Header().Get("traceparent")), "ask diff")
	defer func() { end(err) }()
	m := r.Msg
	cluster, err := s.clusterOf(ctx, m)
	if err != nil {
		return err
	}
	question := &eventsv1.AskDiff{Namespace: m.GetNamespace(), Name: m.GetName(), Ref: m.GetRef(), PlanOnly: m.GetPlanOnly()}
	part := &eventsv1.AnswerDiff{}
	err = s.bus.AskEach(ctx, cluster, "diff", question, part, func() error {
		if part.GetError() != "" {
			return connect.NewError(answerCode(part.GetErrorCode()), errors.New(part.GetError()))
		}
		if part.GetSummary() != nil {
			part.Summary.Cluster = cluster
		}
		return out.Send(proto.CloneOf(part))
	})
	return coded(err)
}

// Confirm passes a confirmation on to the worker of the cluster.
func (s *server) Confirm(ctx context.Context, r *connect.Request[apiv1.ConfirmRequest]) (_ *connect.Response[eventsv1.AnswerConfirm], err error) {
	ctx, end := telemetry.Start(telemetry.Continue(ctx, r.Header().Get("traceparent")), "ask confirm")
	defer func() { end(err) }()
	m := r.Msg
	find := s.clusterOf
	if m.GetKind() == "ApplicationSet" {
		find = s.onlyCluster
	}
	cluster, err := find(ctx, m)
	if err != nil {
		return nil, err
	}
	question := &eventsv1.AskConfirm{
		Kind: m.GetKind(), Namespace: m.GetNamespace(), Name: m.GetName(), Digest: m.GetDigest(), RequestedBy: "API token",
	}
	answer := &eventsv1.AnswerConfirm{}
	if err := s.bus.Ask(ctx, cluster, "confirm", question, answer); err != nil {
		return nil, coded(err)
	}
	if answer.GetError() != "" {
		return nil, connect.NewError(answerCode(answer.GetErrorCode()), errors.New(answer.GetError()))
	}
	return connect.NewResponse(answer), nil
}

// Suspend passes on to the worker of the cluster that an Application is to be
// suspended or resumed.
func (s *server) Suspend(ctx context.Context, r *connect.Request[apiv1.SuspendRequest]) (_ *connect.Response[eventsv1.AnswerSuspend], err error) {
	ctx, end := telemetry.Start(telemetry.Continue(ctx, r.Header().Get("traceparent")), "ask suspend")
	defer func() { end(err) }()
	m := r.Msg
	cluster, err := s.clusterOf(ctx, m)
	if err != nil {
		return nil, err
	}
	question := &eventsv1.AskSuspend{
		Namespace: m.GetNamespace(), Name: m.GetName(), Suspend: m.GetSuspend(), By: by(m.GetBy()), Reason: m.GetReason(), Until: m.GetUntil(),
	}
	answer := &eventsv1.AnswerSuspend{}
	if err := s.bus.Ask(ctx, cluster, "suspend", question, answer); err != nil {
		return nil, coded(err)
	}
	if answer.GetError() != "" {
		return nil, connect.NewError(answerCode(answer.GetErrorCode()), errors.New(answer.GetError()))
	}
	return connect.NewResponse(answer), nil
}

// by is who asks: the token says that they may, their name is what they say.
func by(name string) string {
	if name == "" {
		return "API token"
	}
	return name + " (API token)"
}

// named is a request about one object of a cluster.
type named interface {
	GetCluster() string
	GetNamespace() string
	GetName() string
}

// onlyCluster is the cluster of what no state is known of: the one that is named,
// else the only one that there is.
func (s *server) onlyCluster(ctx context.Context, m named) (string, error) {
	if m.GetNamespace() == "" || m.GetName() == "" {
		return "", connect.NewError(connect.CodeInvalidArgument, errors.New("give namespace and name of an ApplicationSet"))
	}
	if m.GetCluster() != "" {
		return m.GetCluster(), nil
	}
	states, err := s.applications(ctx, "", "", "")
	if err != nil {
		return "", err
	}
	var clusters []string
	for _, a := range states { // they are sorted by cluster
		if len(clusters) == 0 || clusters[len(clusters)-1] != a.GetCluster() {
			clusters = append(clusters, a.GetCluster())
		}
	}
	switch len(clusters) {
	case 0:
		return "", connect.NewError(connect.CodeInvalidArgument, errors.New("no cluster is known yet; give the one of the ApplicationSet"))
	case 1:
		return clusters[0], nil
	}
	return "", connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("there are several clusters; give one of %s", strings.Join(clusters, ", ")))
}
