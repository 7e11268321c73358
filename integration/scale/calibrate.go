package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plumb-gitops/plumb/integration/scale/model"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/report"
	"github.com/plumb-gitops/plumb/pkg/route"
)

// bench measures what each operation costs by itself, with one client and no fleet: what
// the model makes of it for a fleet is what the simulation then looks at.
type bench struct {
	bus     *bus.Bus
	streams *streams
	server  int // process id
	count   int
	cluster *cluster
	worker  *worker
}

// rounds is how often everything is measured: the best counts, since what others do to
// this machine meanwhile is no cost of ours.
const rounds = 3

// calibrate measures on a server that nobody else uses yet.
func calibrate(ctx context.Context, url string, server, count int) (best model.Costs, err error) {
	for i := range rounds {
		c, err := calibrateOnce(ctx, url, server, count, i)
		if err != nil {
			return best, fmt.Errorf("calibrate: %w", err)
		}
		if best = c.Best(best); i == 0 {
			best = c
		}
	}
	return best, nil
}

func calibrateOnce(ctx context.Context, url string, server, count, round int) (c model.Costs, err error) {
	var t traffic
	b, err := bus.Open(ctx, bus.Options{InProcess: newLink(url, &t), Cluster: "calibration", SyncAlways: true})
	if err != nil {
		return c, err
	}
	defer b.Close()
	st, err := openStreams(url)
	if err != nil {
		return c, err
	}
	defer st.close()
	m := &bench{bus: b, streams: st, server: server, count: count, cluster: newCluster(900+round, count)}
	m.worker = &worker{cluster: m.cluster, bus: b}
	r, err := newRepo([]*cluster{m.cluster})
	if err != nil {
		return c, err
	}
	for _, key := range m.cluster.keys {
		if _, err := m.cluster.apply(m.cluster.get(key), r.newest(), event.ReasonPush); err != nil {
			return c, err
		}
	}
	all := m.cluster.all()
	begun := time.Now()
	route.Decide(route.Commit{SHA: "another", Tree: r.newest().Tree}, all)
	c.Digest = time.Since(begun) / time.Duration(count)
	for _, step := range []struct {
		cost    *model.Cost
		measure func(context.Context) (model.Cost, error)
	}{{&c.Fact, m.facts}, {&c.Follow, m.follow}, {&c.Alert, m.alerts}, {&c.Request, m.requests}, {&c.Lease, m.leases}, {&c.State, m.states}} {
		if *step.cost, err = step.measure(ctx); err != nil {
			return c, err
		}
	}
	return c, nil
}

// each runs an operation for every Application, publishing at a time.
func (m *bench) each(ctx context.Context, do func(ctx context.Context, i int) error) (model.Cost, error) {
	return m.timed(func() error {
		all, ctx := errgroup.WithContext(ctx)
		all.SetLimit(publishing)
		for i := range m.count {
			all.Go(func() error { return do(ctx, i) })
		}
		return all.Wait()
	})
}

// timed is the time and the CPU of a run, for each Application.
func (m *bench) timed(run func() error) (c model.Cost, err error) {
	cpu, err := m.cpu()
	if err != nil {
		return c, err
	}
	begun := time.Now()
	if err := run(); err != nil {
		return c, err
	}
	c.Wall = time.Since(begun) / time.Duration(m.count)
	now, err := m.cpu()
	c.CPU = (now - cpu) / time.Duration(m.count)
	return c, err
}

// cpu is what this process and the server have used.
func (m *bench) cpu() (sum time.Duration, err error) {
	for _, pid := range []int{os.Getpid(), m.server} {
		u, err := usageOf(pid)
		if err != nil {
			return 0, err
		}
		sum += u.cpu
	}
	return sum, nil
}

func (m *bench) facts(ctx context.Context) (model.Cost, error) {
	return m.each(ctx, func(ctx context.Context, i int) error {
		a := m.cluster.get(m.cluster.keys[i])
		return m.worker.send(ctx, event.SyncFinished, report.AttemptID(a, 1, "finished"), "", finished(m.cluster.name, a, time.Second))
	})
}

// follow hands out the facts that are stored.
func (m *bench) follow(ctx context.Context) (model.Cost, error) {
	return m.timed(func() error {
		return m.bus.Replay(ctx, bus.Query{Subjects: []string{bus.FactsOf(m.cluster.name, "", "")}}, func(event.Event) error { return nil })
	})
}

// alerts takes facts that are stored, one after the other.
func (m *bench) alerts(ctx context.Context) (model.Cost, error) {
	stored := make(chan struct{})
	c, err := m.consumed(ctx, events, bus.AlertConsumer().Name, func(ctx context.Context, take func()) error {
		return m.bus.Consume(ctx, bus.AlertConsumer(), func(context.Context, bus.Delivery) error { <-stored; take(); return nil })
	}, func() error {
		defer close(stored)
		_, err := m.each(ctx, func(ctx context.Context, i int) error {
			a := m.cluster.get(m.cluster.keys[i])
			return m.worker.send(ctx, event.SyncFinished, report.AttemptID(a, 2, "finished"), "", finished(m.cluster.name, a, time.Second))
		})
		return err
	}, func() error { return nil })
	// The next one must not find what other rounds publish.
	return c, errors.Join(err, m.streams.js.DeleteConsumer(ctx, events, bus.AlertConsumer().Name))
}

// requests are published while they are handed out, as after a push.
func (m *bench) requests(ctx context.Context) (model.Cost, error) {
	return m.consumed(ctx, syncs, "sync-"+event.Token(m.cluster.name), func(ctx context.Context, take func()) error {
		return m.bus.Work(ctx, m.cluster.name, publishing, func(context.Context, *bus.Task) error { take(); return nil })
	}, func() error { return nil }, func() error {
		_, err := m.each(ctx, func(ctx context.Context, i int) error {
			return m.worker.request(ctx, m.cluster.keys[i], "a commit", event.Event{ID: "calibration"})
		})
		return err
	})
}

// consumed is the time from publish, which follows before, until all was taken.
func (m *bench) consumed(ctx context.Context, stream, consumer string, consume func(context.Context, func()) error, before, publish func() error) (c model.Cost, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var taken atomic.Int64
	all, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- consume(ctx, func() {
			if taken.Add(1) == int64(m.count) {
				close(all)
			}
		})
	}()
	if err := errors.Join(m.streams.known(ctx, stream, consumer), before()); err != nil {
		return c, err
	}
	return m.timed(func() error {
		if err := publish(); err != nil {
			return err
		}
		select {
		case <-all:
			return nil
		case err := <-ended:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%d of %d were handed out: %w", taken.Load(), m.count, context.Cause(ctx))
		}
	})
}

func (m *bench) leases(ctx context.Context) (model.Cost, error) {
	return m.each(ctx, func(ctx context.Context, i int) error {
		lease, err := m.bus.Lease(ctx, bus.SyncLease(m.cluster.name, "calibration", m.cluster.keys[i].Name), "calibration")
		if err != nil {
			return err
		}
		return lease.Release(ctx)
	})
}

func (m *bench) states(ctx context.Context) (model.Cost, error) {
	return m.each(ctx, func(ctx context.Context, i int) error {
		return m.bus.PutState(ctx, report.State(m.cluster.name, m.cluster.get(m.cluster.keys[i]), time.Now()))
	})
}
