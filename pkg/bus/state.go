package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// PutState stores the last known state of an Application; the last writer wins.
func (b *Bus) PutState(ctx context.Context, s *eventsv1.ApplicationState) error {
	value, err := marshal(s)
	if err != nil {
		return fmt.Errorf("put state: %w", err)
	}
	key := stateKey(s.GetCluster(), app.Key{Namespace: s.GetNamespace(), Name: s.GetName()})
	err = b.withBucket(ctx, appsBucket, func(ctx context.Context, kv jetstream.KeyValue) error {
		_, err := kv.Put(ctx, key, value)
		return err
	})
	if err != nil {
		return fmt.Errorf("put state: %w", err)
	}
	return nil
}

// State returns the last known state of one Application; nil when there is none.
func (b *Bus) State(ctx context.Context, cluster string, k app.Key) (*eventsv1.ApplicationState, error) {
	value, _, err := b.read(ctx, appsBucket, stateKey(cluster, k))
	if err != nil || value == nil {
		return nil, wrap("get state", err)
	}
	s := &eventsv1.ApplicationState{}
	if err := unmarshal(value, s); err != nil {
		return nil, wrap("get state", err)
	}
	return s, nil
}

// DeleteState forgets an Application.
func (b *Bus) DeleteState(ctx context.Context, cluster string, k app.Key) error {
	if err := b.drop(ctx, appsBucket, stateKey(cluster, k), 0); err != nil {
		return fmt.Errorf("delete state: %w", err)
	}
	return nil
}

func stateKey(cluster string, k app.Key) string {
	return key(event.Token(cluster), k.Namespace, k.Name)
}

// States returns what is known now, of one cluster or, with an empty name, of
// all, in no particular order.
func (b *Bus) States(ctx context.Context, cluster string) ([]*eventsv1.ApplicationState, error) {
	states := map[string]*eventsv1.ApplicationState{}
	enough := errors.New("enough")
	t := b.stateTail(cluster, func(c StateChange) error {
		switch {
		case c.Synced:
			return enough
		case c.Reset:
			clear(states)
		case c.State == nil:
			delete(states, stateKey(c.Cluster, c.Key))
		default:
			states[stateKey(c.Cluster, c.Key)] = c.State
		}
		return nil
	})
	if err := b.untilCaughtUp(ctx, t, enough); err != nil {
		return nil, fmt.Errorf("list states: %w", err)
	}
	list := make([]*eventsv1.ApplicationState, 0, len(states))
	for _, s := range states {
		list = append(list, s)
	}
	return list, nil
}

// untilCaughtUp runs a tail that ends itself with enough; NATS being away is
// told, and not waited for.
func (b *Bus) untilCaughtUp(ctx context.Context, t *tail, enough error) error {
	limited, cancel, err := b.exchange(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	switch err := t.run(limited); {
	case errors.Is(err, enough):
		return nil
	case err != nil:
		return err
	case limited.Err() != nil:
		return fault.Retry("", "NATS did not answer in time: %w", limited.Err())
	}
	return nil
}

// StateChange is one step of WatchStates: exactly one of its kinds.
type StateChange struct {
	// Cluster and Key name the Application; State is nil when it was forgotten.
	Cluster string
	Key     app.Key
	State   *eventsv1.ApplicationState
	// Synced says that everything known so far was told.
	Synced bool
	// Reset says that the bucket was made anew and all told before is void: who
	// shows states forgets them, who owns Applications puts theirs again.
	Reset bool
}

// WatchStates tells handle what is known, and every change from then on, until
// ctx ends (nil) or handle fails (its error). A cluster's name limits it.
func (b *Bus) WatchStates(ctx context.Context, cluster string, handle func(StateChange) error) error {
	if err := b.stateTail(cluster, handle).run(ctx); err != nil {
		return fmt.Errorf("watch states: %w", err)
	}
	return nil
}

func (b *Bus) stateTail(cluster string, handle func(StateChange) error) *tail {
	subject := keyPrefix(appsBucket) + ">"
	if cluster != "" {
		subject = keyPrefix(appsBucket) + event.Token(cluster) + ".>"
	}
	return &tail{
		bus: b, stream: bucketStream(appsBucket), subjects: []string{subject},
		policy: jetstream.DeliverLastPerSubjectPolicy,
		handle: func(msg jetstream.Msg, _ *jetstream.MsgMetadata) error {
			change, err := stateChange(msg)
			if err != nil {
				b.log.Warn("state that cannot be read ignored", "subject", msg.Subject(), "error", err)
				return nil
			}
			return handle(change)
		},
		caughtUp: func() error { return handle(StateChange{Synced: true}) },
		replaced: func() error { return handle(StateChange{Reset: true}) },
	}
}

func stateChange(msg jetstream.Msg) (StateChange, error) {
	if deleted(msg) {
		return forgotten(msg.Subject())
	}
	s := &eventsv1.ApplicationState{}
	if err := unmarshal(msg.Data(), s); err != nil {
		return StateChange{}, err
	}
	change := StateChange{Cluster: s.GetCluster(), Key: app.Key{Namespace: s.GetNamespace(), Name: s.GetName()}, State: s}
	if want := keyPrefix(appsBucket) + stateKey(change.Cluster, change.Key); want != msg.Subject() {
		return StateChange{}, fmt.Errorf("its value belongs at %q", want)
	}
	return change, nil
}

// forgotten reads the name out of the key, since a deletion has no value. Names
// of Kubernetes objects are short enough for tokens to be reversible.
func forgotten(subject string) (StateChange, error) {
	tokens := strings.Split(strings.TrimPrefix(subject, keyPrefix(appsBucket)), ".")
	if len(tokens) != 3 {
		return StateChange{}, fmt.Errorf("key of %d tokens", len(tokens))
	}
	for i, token := range tokens {
		name, err := unescape(strings.ReplaceAll(strings.TrimSuffix(token, "="), "=", "%"))
		if err != nil {
			return StateChange{}, err
		}
		tokens[i] = name
	}
	return StateChange{Cluster: tokens[0], Key: app.Key{Namespace: tokens[1], Name: tokens[2]}}, nil
}

// marshal and unmarshal are the form of values and replies: plain protojson.
func marshal(m proto.Message) ([]byte, error) {
	data, err := protojson.Marshal(m)
	if err != nil {
		return nil, fault.Refuse("", fault.Place{}, "encode %T: %w", m, err)
	}
	if len(data) > event.MaxData {
		return nil, fault.Refuse("", fault.Place{}, "encode %T: %d bytes, at most %d", m, len(data), event.MaxData)
	}
	return data, nil
}

func unmarshal(data []byte, m proto.Message) error {
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, m); err != nil {
		return fault.Refuse("", fault.Place{}, "decode %T: %w", m, err)
	}
	return nil
}
