package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Incidents is the bucket of the alerter's incidents. Replicas of the alerter
// change it by compare-and-set.
type Incidents struct{ bus *Bus }

// Incidents returns the bucket of incidents.
func (b *Bus) Incidents() Incidents { return Incidents{b} }

// Get returns an incident and its revision; nil and 0 when there is none.
func (s Incidents) Get(ctx context.Context, id string) (*eventsv1.Incident, uint64, error) {
	value, revision, err := s.bus.read(ctx, incidentsBucket, event.Token(id))
	if err != nil || value == nil {
		return nil, 0, wrap("get incident "+id, err)
	}
	incident := &eventsv1.Incident{}
	if err := unmarshal(value, incident); err != nil {
		return nil, 0, wrap("get incident "+id, err)
	}
	return incident, revision, nil
}

// Put stores an incident in place of the revision that was read, 0 for none, and
// returns the new revision. ErrConflict when another was faster.
func (s Incidents) Put(ctx context.Context, incident *eventsv1.Incident, revision uint64) (uint64, error) {
	value, err := marshal(incident)
	if err != nil {
		return 0, wrap("put incident "+incident.GetId(), err)
	}
	key := event.Token(incident.GetId())
	var next uint64
	if revision == 0 {
		next, err = s.bus.create(ctx, incidentsBucket, key, value)
	} else {
		next, err = s.bus.replace(ctx, incidentsBucket, key, value, revision)
	}
	return next, wrap("put incident "+incident.GetId(), err)
}

// Delete forgets an incident at the revision that was read. ErrConflict when it
// changed meanwhile.
func (s Incidents) Delete(ctx context.Context, id string, revision uint64) error {
	return wrap("delete incident "+id, s.bus.drop(ctx, incidentsBucket, event.Token(id), revision))
}

// List hands out every incident with its revision, until handle fails.
func (s Incidents) List(ctx context.Context, handle func(incident *eventsv1.Incident, revision uint64) error) error {
	enough := errors.New("enough")
	t := &tail{
		bus: s.bus, stream: bucketStream(incidentsBucket), subjects: []string{keyPrefix(incidentsBucket) + ">"},
		policy: jetstream.DeliverLastPerSubjectPolicy,
		handle: func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
			if deleted(msg) {
				return nil
			}
			incident := &eventsv1.Incident{}
			if err := unmarshal(msg.Data(), incident); err != nil {
				s.bus.log.Warn("incident that cannot be read ignored", "subject", msg.Subject(), "error", err)
				return nil
			}
			return handle(incident, meta.Sequence.Stream)
		},
		caughtUp: func() error { return enough },
	}
	return wrap("list incidents", s.bus.untilCaughtUp(ctx, t, enough))
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
