package catalog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// secretAge is for how long a Secret that was read is believed: a push that
// concerns a thousand Applications of one namespace reads it once.
const secretAge = 10 * time.Second

// ErrNoSecret: the Secret does not exist.
var ErrNoSecret = errors.New("the Secret does not exist")

// Secret reads the data of a Secret, which is shared: read only. Place is the
// Application that names it, as PlaceOf tells, and the field in which; it stands
// in every error, and no value does. A Secret that is missing is a permanent
// fault that wraps ErrNoSecret. Faults carry no reason: the caller knows it.
func (c *Catalog) Secret(ctx context.Context, namespace, name string, place fault.Place) (map[string][]byte, error) {
	id := object.ID{Kind: "Secret", Namespace: namespace, Name: name}
	data, err := c.secrets.read(ctx, id, place.Object)
	switch {
	case err != nil:
		return nil, err
	case data == nil:
		return nil, fault.Refuse("", place, "read Secret %s/%s: %w; create it", namespace, name, ErrNoSecret)
	}
	return data, nil
}

// PlaceOf is a field of an Application, for Secret and for errors.
func PlaceOf(a *v1alpha1.Application, field string) fault.Place {
	return fault.Place{Object: idOf(a.Key()).Human(), Field: field}
}

// Reread has every Secret read anew that is asked for on behalf of the
// Application from now on: one did not serve, or a person says that something
// changed.
func (c *Catalog) Reread(a *v1alpha1.Application) { c.secrets.distrust(PlaceOf(a, "").Object) }

// secrets reads Secrets, and for a moment remembers those that were there.
type secrets struct {
	client *cluster.Client
	now    func() time.Time

	mu         sync.Mutex
	kept       map[object.ID]keptSecret
	distrusted map[string]time.Time // by reader: what was read before is not believed
}

type keptSecret struct {
	data map[string][]byte
	at   time.Time // when the reading began
}

func newSecrets(client *cluster.Client, now func() time.Time) *secrets {
	return &secrets{client: client, now: now, kept: map[object.ID]keptSecret{}, distrusted: map[string]time.Time{}}
}

func (s *secrets) distrust(reader string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.distrusted[reader] = s.now()
}

// read is nil, nil for a Secret that is not there.
func (s *secrets) read(ctx context.Context, id object.ID, reader string) (map[string][]byte, error) {
	if data, ok := s.remembered(id, reader); ok {
		return data, nil
	}
	began := s.now()
	var secret struct {
		Data map[string][]byte `json:"data"`
	}
	found, err := s.client.GetInto(ctx, id, "v1", &secret)
	if err != nil || !found {
		return nil, err
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[id].at.Before(began) {
		s.kept[id] = keptSecret{secret.Data, began}
	}
	return secret.Data, nil
}

func (s *secrets) remembered(id object.ID, reader string) (map[string][]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	kept, ok := s.kept[id]
	since, distrusted := s.distrusted[reader]
	if !ok || distrusted && !kept.at.After(since) {
		return nil, false
	}
	return kept.data, true
}

func (s *secrets) expire() {
	for id, kept := range s.kept {
		if s.now().Sub(kept.at) > secretAge {
			delete(s.kept, id)
		}
	}
	for reader, since := range s.distrusted {
		if s.now().Sub(since) > secretAge {
			delete(s.distrusted, reader)
		}
	}
}
