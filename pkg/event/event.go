// Package event holds what travels on the bus: the event types, their data
// (proto/plumb/events/v1) and the subject each is published on.
//
// It imports the CloudEvents SDK and the generated messages, never NATS.
// What it cannot encode or understand is a permanent fault.
package event

import (
	"fmt"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// MaxData is the limit of an event's data in bytes.
const MaxData = 256 << 10

// Type is the CloudEvents type.
type Type string

// The event types. What each says is in proto/plumb/events/v1.
const (
	GitPush           Type = "dev.plumb.git.push.v1"
	GitRouted         Type = "dev.plumb.git.routed.v1"
	GitPullRequest    Type = "dev.plumb.git.pullrequest.v1"
	ImagePush         Type = "dev.plumb.image.push.v1"
	SyncRequested     Type = "dev.plumb.sync.requested.v1"
	SyncStarted       Type = "dev.plumb.sync.started.v1"
	SyncFinished      Type = "dev.plumb.sync.finished.v1"
	HealthChanged     Type = "dev.plumb.app.health.v1"
	DriftFound        Type = "dev.plumb.drift.found.v1"
	DriftHealed       Type = "dev.plumb.drift.healed.v1"
	ImageUpdated      Type = "dev.plumb.image.updated.v1"
	RollbackCommitted Type = "dev.plumb.rollback.committed.v1"
	PreviewReady      Type = "dev.plumb.preview.ready.v1"
	AlertSent         Type = "dev.plumb.alert.sent.v1"
)

// Reasons of a sync request.
const (
	ReasonPush       = "push"
	ReasonSpec       = "spec"
	ReasonDrift      = "drift"
	ReasonManual     = "manual"
	ReasonDependency = "dependency"
	ReasonRetry      = "retry"
)

// Event is one fact or request. ID, Source, Type and Data are required.
type Event struct {
	ID      string
	Source  string // /<cluster>/<service>
	Type    Type
	Subject string // <namespace>/<app> or the repo; New derives it from Data
	Time    time.Time
	Trace   string // W3C traceparent
	Cause   string // id of the event that led to this one
	Data    proto.Message

	// Sequence is the position in the stream the event came from, set by the
	// bus on the way in; 0 before it is published.
	Sequence uint64
}

// CloudEvent encodes the event; data over MaxData is refused.
func (e Event) CloudEvent() (cloudevents.Event, error) {
	data, err := protojson.Marshal(e.Data)
	if err != nil {
		return cloudevents.Event{}, fault.Refuse("", fault.Place{}, "encode %s: %w", e.Type, err)
	}
	if len(data) > MaxData {
		return cloudevents.Event{}, fault.Refuse("", fault.Place{}, "encode %s: %d bytes of data, at most %d", e.Type, len(data), MaxData)
	}
	ce := cloudevents.New(cloudevents.CloudEventsVersionV1)
	ce.SetID(e.ID)
	ce.SetSource(e.Source)
	ce.SetType(string(e.Type))
	ce.SetSubject(e.Subject)
	ce.SetTime(e.Time)
	if e.Trace != "" {
		ce.SetExtension("traceparent", e.Trace)
	}
	if e.Cause != "" {
		ce.SetExtension("cause", e.Cause)
	}
	ce.SetDataContentType(cloudevents.ApplicationJSON)
	ce.DataEncoded = data
	if err := ce.Validate(); err != nil {
		return cloudevents.Event{}, fault.Refuse("", fault.Place{}, "encode %s: %w", e.Type, err)
	}
	return ce, nil
}

// FromCloudEvent decodes an event. An unknown type and data that does not fit
// its type are permanent faults; unknown fields are ignored.
func FromCloudEvent(ce cloudevents.Event) (Event, error) {
	if err := ce.Validate(); err != nil {
		return Event{}, fault.Refuse("", fault.Place{}, "decode event: %w", err)
	}
	kind, known := kinds[Type(ce.Type())]
	if !known {
		return Event{}, fault.Refuse("", fault.Place{}, "decode event %s: unknown type %q", ce.ID(), ce.Type())
	}
	data := kind.data()
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(ce.Data(), data); err != nil {
		return Event{}, fault.Refuse("", fault.Place{}, "decode data of %s %s: %w", ce.Type(), ce.ID(), err)
	}
	return Event{
		ID: ce.ID(), Source: ce.Source(), Type: Type(ce.Type()), Subject: ce.Subject(), Time: ce.Time(),
		Trace: extension(ce, "traceparent"), Cause: extension(ce, "cause"), Data: data,
	}, nil
}

func extension(ce cloudevents.Event, name string) string {
	s, _ := ce.Extensions()[name].(string)
	return s
}

// BusSubject is the NATS subject the event is published on. An error means a
// type that is unknown or data of another type.
func (e Event) BusSubject() (string, error) {
	kind, known := kinds[e.Type]
	if !known {
		return "", fault.Refuse("", fault.Place{}, "address event: unknown type %q", e.Type)
	}
	subject, ok := kind.subject(e.Data)
	if !ok {
		return "", fault.Refuse("", fault.Place{}, "address event: data of %s is %T", e.Type, e.Data)
	}
	return subject, nil
}

// SourceOf is the CloudEvents source of a service of a cluster.
func SourceOf(cluster, service string) string { return "/" + cluster + "/" + service }

// SubjectOf is the CloudEvents subject that fits the data.
func SubjectOf(data proto.Message) string {
	switch d := data.(type) {
	case interface {
		GetNamespace() string
		GetName() string
	}:
		return app.Key{Namespace: d.GetNamespace(), Name: d.GetName()}.String()
	case interface{ GetRepo() string }:
		return d.GetRepo()
	case *eventsv1.ImagePush:
		return d.GetRegistry() + "/" + d.GetRepository()
	case *eventsv1.AlertSent:
		return d.GetIncident()
	}
	return ""
}

// Describe is one line for people: type without prefix and version, and subject.
func (e Event) Describe() string {
	name := strings.TrimSuffix(strings.TrimPrefix(string(e.Type), "dev.plumb."), ".v1")
	return fmt.Sprintf("%s %s", name, e.Subject)
}
