package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/plumb-gitops/plumb/integration/scale/model"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// simulation is a fleet on one NATS server.
type simulation struct {
	fleet    model.Fleet
	seed     uint64
	url      string
	traffic  traffic
	log      *slog.Logger
	repo     *repo
	ledger   *ledger
	clusters []*cluster
	workers  []*worker
	receiver *bus.Bus
	audience audience
	heard    *heard
}

// audience are those who follow what is told: the drift-scanners of all clusters the
// pushes, an alerter the attempts, a dashboard the states.
type audience struct {
	end    context.CancelFunc
	parts  sync.WaitGroup
	buses  []*bus.Bus
	pushes atomic.Int64 // git.routed facts that all scanners saw
	alerts atomic.Int64 // facts that the alerter took
	states atomic.Int64 // changes that the dashboard saw
}

// newSimulation connects all parts of the fleet to the server.
func newSimulation(ctx context.Context, f model.Fleet, seed uint64, url string, log *slog.Logger) (s *simulation, err error) {
	heard := &heard{}
	s = &simulation{fleet: f, seed: seed, url: url, log: slog.New(hearing{log.Handler(), heard}), heard: heard, ledger: newLedger()}
	for i := range f.Clusters {
		s.clusters = append(s.clusters, newCluster(i, f.Applications))
	}
	if s.repo, err = newRepo(s.clusters); err != nil {
		return nil, err
	}
	for _, c := range s.clusters {
		for _, key := range c.keys {
			if _, err := c.apply(c.get(key), s.repo.newest(), event.ReasonSpec); err != nil {
				return nil, err
			}
		}
	}
	if s.receiver, err = s.open(ctx, "", "receiver"); err != nil {
		return nil, err
	}
	return s, errors.Join(s.listen(ctx), s.hire(ctx))
}

// settled waits until everybody listens: an event from before is not for them.
func (s *simulation) settled(ctx context.Context, st *streams) error {
	return errors.Join(st.await(ctx, events, 2*s.fleet.Clusters+1), st.await(ctx, syncs, s.fleet.Clusters), st.await(ctx, states, 1))
}

// heard counts what is logged of load: facts and states that the repair has to tell
// again, and pulls that found nobody in time.
type heard struct{ late, again atomic.Int64 }

type hearing struct {
	slog.Handler
	heard *heard
}

func (h hearing) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "fact not told", "fact dropped: too many wait", "state not stored":
		h.heard.late.Add(1)
		return nil
	case "pull failed; trying again":
		h.heard.again.Add(1)
		return nil
	case "NATS is away", "NATS reported an error":
		return nil // of a worker that was killed; a server that dies shows in everything else
	}
	return h.Handler.Handle(ctx, r)
}

func (s *simulation) open(ctx context.Context, cluster, service string) (*bus.Bus, error) {
	b, err := bus.Open(ctx, bus.Options{InProcess: newLink(s.url, &s.traffic), Cluster: cluster, Service: service, SyncAlways: true, Log: s.log})
	if err != nil {
		return nil, fmt.Errorf("open the bus of %s %s: %w", cluster, service, err)
	}
	return b, nil
}

// hire starts the workers of all clusters.
func (s *simulation) hire(ctx context.Context) error {
	all, _ := errgroup.WithContext(ctx)
	s.workers = make([]*worker, s.fleet.Clusters*s.fleet.Workers)
	for i := range s.workers {
		c := s.clusters[i%s.fleet.Clusters]
		s.workers[i] = &worker{
			name: fmt.Sprintf("%s/worker-%d", c.name, i/s.fleet.Clusters), cluster: c, repo: s.repo, ledger: s.ledger,
			service: service{s.fleet.Service, s.seed}, slots: s.fleet.Slots, link: newLink(s.url, &s.traffic),
		}
		all.Go(func() error { return s.workers[i].start(ctx, s.log) })
	}
	return all.Wait()
}

// listen starts the audience.
func (s *simulation) listen(ctx context.Context) error {
	a := &s.audience
	ctx, a.end = context.WithCancel(ctx)
	follow := func(cluster, service string, part func(*bus.Bus) error) error {
		b, err := s.open(ctx, cluster, service)
		if err != nil {
			return err
		}
		a.buses = append(a.buses, b)
		a.parts.Go(func() {
			if err := part(b); err != nil {
				s.log.Error("part ended", "cluster", cluster, "part", service, "error", err)
			}
		})
		return nil
	}
	for _, c := range s.clusters {
		err := follow(c.name, "drift-scanner", func(b *bus.Bus) error {
			return b.Follow(ctx, bus.Query{Subjects: []string{"plumb.events.git.routed.>"}}, func(event.Event) error {
				a.pushes.Add(1)
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(follow("", "alerter", func(b *bus.Bus) error {
		return b.Consume(ctx, bus.AlertConsumer(), func(context.Context, bus.Delivery) error {
			a.alerts.Add(1)
			return nil
		})
	}), follow("", "dashboard", func(b *bus.Bus) error {
		return b.WatchStates(ctx, "", func(bus.StateChange) error {
			a.states.Add(1)
			return nil
		})
	}))
}

// close ends everything but the server.
func (s *simulation) close() {
	var all sync.WaitGroup
	for _, w := range s.workers {
		all.Go(w.stop)
	}
	all.Wait()
	s.audience.end()
	s.audience.parts.Wait()
	for _, b := range append(s.audience.buses, s.receiver) {
		b.Close()
	}
}

// push makes a change that concerns a number of Applications.
func (s *simulation) push(ctx context.Context, c change, want int) (*pushed, error) {
	p := newPushed(s.fleet.Clusters, want)
	return p, s.pushInto(ctx, p, c, "")
}

// pushInto commits a change and publishes the push event, as the receiver does.
func (s *simulation) pushInto(ctx context.Context, p *pushed, c change, application string) error {
	id := uuid.NewString()
	s.ledger.begin(id, application, p)
	sha, err := s.repo.commit(c)
	if err != nil {
		return err
	}
	data := &eventsv1.GitPush{Repo: repoName, Ref: refName, After: sha, Provider: "github", DeliveryId: id}
	_, err = s.receiver.Publish(ctx, event.Event{
		ID: id, Source: event.SourceOf("receiver", "receiver"), Type: event.GitPush, Subject: event.SubjectOf(data), Time: time.Now(), Data: data,
	}, id)
	return err
}
