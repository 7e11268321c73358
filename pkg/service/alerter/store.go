package alerter

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/plumb-gitops/plumb/pkg/bus"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

type incident = eventsv1.Incident

// store changes incidents by compare-and-set.
type store struct {
	bucket bus.Incidents
	log    *slog.Logger
}

// change replaces an incident by what edit makes of it, nil standing for none,
// as often as it takes until nobody else changed it meanwhile. edit sees each
// value once and must not modify it.
func (s store) change(ctx context.Context, id string, edit func(old *incident) (*incident, bool)) (*incident, bool, error) {
	for {
		old, revision, err := s.read(ctx, id)
		if err != nil {
			return nil, false, err
		}
		next, changed := edit(old)
		if !changed {
			return old, false, nil
		}
		_, err = s.bucket.Put(ctx, next, revision)
		switch {
		case err == nil:
			return next, true, nil
		case !conflict(err):
			return nil, false, err
		case ctx.Err() != nil:
			return nil, false, fmt.Errorf("change incident %s: %w", id, ctx.Err())
		}
	}
}

// read forgets a value that cannot be read, or belongs to another Application:
// somebody tampered with it, and no fact may be lost to that.
func (s store) read(ctx context.Context, id string) (*incident, uint64, error) {
	found, revision, err := s.bucket.Get(ctx, id)
	if !permanent(err) && (found == nil || named(found, id)) {
		return found, revision, err
	}
	s.log.ErrorContext(ctx, "incident that cannot be read forgotten", "incident", id, "error", err)
	if err := s.bucket.Delete(ctx, id, 0); err != nil && !conflict(err) {
		return nil, 0, err
	}
	return nil, 0, nil
}

func named(i *incident, id string) bool {
	return i.GetId() == id && id == i.GetCluster()+"/"+i.GetNamespace()+"/"+i.GetName()
}

// all returns every incident that can be read.
func (s store) all(ctx context.Context) (list []*incident, err error) {
	err = s.bucket.List(ctx, func(i *incident, _ uint64) error {
		list = append(list, i)
		return nil
	})
	return list, err
}

// forget deletes an incident unless it changed.
func (s store) forget(ctx context.Context, id string, sure func(*incident) bool) error {
	found, revision, err := s.bucket.Get(ctx, id)
	if err != nil || found == nil || !sure(found) {
		return err
	}
	if err := s.bucket.Delete(ctx, id, revision); !conflict(err) {
		return err
	}
	return nil
}
