package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// server is Dashboard with the methods of the API.
type server Dashboard

// Applications lists what plumb_apps knows, in order.
func (s *server) Applications(ctx context.Context, r *connect.Request[apiv1.ApplicationsRequest]) (*connect.Response[apiv1.ApplicationsResponse], error) {
	apps, err := s.applications(ctx, r.Msg.GetCluster(), r.Msg.GetNamespace(), r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&apiv1.ApplicationsResponse{Applications: apps}), nil
}

func (s *server) applications(ctx context.Context, cluster, namespace, name string) ([]*eventsv1.ApplicationState, error) {
	states, err := s.bus.States(ctx, cluster)
	if err != nil {
		return nil, coded(err)
	}
	states = slices.DeleteFunc(states, func(a *eventsv1.ApplicationState) bool {
		return namespace != "" && a.GetNamespace() != namespace || name != "" && a.GetName() != name
	})
	slices.SortFunc(states, func(a, b *eventsv1.ApplicationState) int {
		return cmp.Or(cmp.Compare(a.GetCluster(), b.GetCluster()),
			cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return states, nil
}

// Sync asks the worker of the Application's cluster for an attempt. Without a
// cluster the only one that has the Application is meant.
func (s *server) Sync(ctx context.Context, r *connect.Request[apiv1.SyncRequest]) (_ *connect.Response[apiv1.SyncResponse], err error) {
	ctx, end := telemetry.Start(telemetry.Continue(ctx, r.Header().Get("traceparent")), "ask sync")
	defer func() { end(err) }()
	cluster, err := s.clusterOf(ctx, r.Msg)
	if err != nil {
		return nil, err
	}
	question := &eventsv1.AskSync{
		Namespace: r.Msg.GetNamespace(), Name: r.Msg.GetName(), RequestedBy: by(r.Msg.GetRequestedBy()), OverrideWindows: r.Msg.GetOverrideWindows(),
	}
	answer := &eventsv1.AnswerSync{}
	if err := s.bus.Ask(ctx, cluster, "sync", question, answer); err != nil {
		return nil, coded(err)
	}
	if answer.GetError() != "" {
		return nil, connect.NewError(answerCode(answer.GetErrorCode()), errors.New(answer.GetError()))
	}
	return connect.NewResponse(&apiv1.SyncResponse{RequestId: answer.GetRequestId()}), nil
}

// clusterOf takes the cluster that is named, without a look at what is known:
// a worker knows better.
func (s *server) clusterOf(ctx context.Context, m named) (string, error) {
	if m.GetNamespace() == "" || m.GetName() == "" {
		return "", connect.NewError(connect.CodeInvalidArgument, errors.New("give namespace and name of an Application"))
	}
	if m.GetCluster() != "" {
		return m.GetCluster(), nil
	}
	found, err := s.applications(ctx, "", m.GetNamespace(), m.GetName())
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", connect.NewError(connect.CodeNotFound, fmt.Errorf("no Application %s/%s is known in any cluster", m.GetNamespace(), m.GetName()))
	case len(found) == 1:
		return found[0].GetCluster(), nil
	}
	clusters := make([]string, len(found))
	for i, a := range found {
		clusters[i] = a.GetCluster()
	}
	return "", connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("Application %s/%s is in several clusters; give one of %s",
		m.GetNamespace(), m.GetName(), strings.Join(clusters, ", ")))
}

// Events streams facts. Streams are bounded, so that no client can hold the
// service's memory.
func (s *server) Events(ctx context.Context, r *connect.Request[apiv1.EventsRequest], out *connect.ServerStream[apiv1.Event]) error {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return connect.NewError(connect.CodeResourceExhausted, errors.New("too many event streams are open; try again later"))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	err := s.events(ctx, r.Msg, func(e event.Event) error {
		m, err := message(e)
		if err != nil {
			return err
		}
		return out.Send(m)
	})
	if s.life.Err() != nil {
		return connect.NewError(connect.CodeUnavailable, errors.New("the service is shutting down"))
	}
	return coded(err)
}

func (s *server) events(ctx context.Context, m *apiv1.EventsRequest, send func(event.Event) error) error {
	q := bus.Query{}
	if m.GetCluster()+m.GetNamespace()+m.GetName() != "" {
		q.Subjects = []string{bus.FactsOf(m.GetCluster(), m.GetNamespace(), m.GetName())}
	}
	if m.GetSince() != nil {
		q.Since = m.GetSince().AsTime()
	}
	switch {
	case m.GetFollow():
		return s.bus.Follow(ctx, q, send)
	case q.Since.IsZero():
		return nil
	default:
		return s.bus.Replay(ctx, q, send)
	}
}

func message(e event.Event) (*apiv1.Event, error) {
	encoded, err := protojson.Marshal(e.Data)
	if err != nil {
		return nil, fmt.Errorf("encode event %s: %w", e.ID, err)
	}
	data := &structpb.Struct{}
	if err := protojson.Unmarshal(encoded, data); err != nil {
		return nil, fmt.Errorf("encode event %s: %w", e.ID, err)
	}
	return &apiv1.Event{
		Id: e.ID, Type: string(e.Type), Source: e.Source, Subject: e.Subject, Time: timestamppb.New(e.Time),
		Trace: e.Trace, Cause: e.Cause, Data: data, Sequence: e.Sequence,
	}, nil
}

// coded gives an error the code that tells a client whether to try again.
func coded(err error) error {
	var already *connect.Error
	if err == nil || errors.As(err, &already) {
		return err
	}
	if class, _ := fault.ClassOf(err); class != fault.Permanent {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	return connect.NewError(connect.CodeInternal, err)
}

func answerCode(code string) connect.Code {
	switch code {
	case "NotFound":
		return connect.CodeNotFound
	case "Suspended":
		return connect.CodeFailedPrecondition
	case "Invalid":
		return connect.CodeInvalidArgument
	}
	return connect.CodeInternal
}
