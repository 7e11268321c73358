package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/report"
	"github.com/plumb-gitops/plumb/pkg/route"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// What pkg/service/worker and pkg/reconcile keep to.
const (
	routing    = 4  // pushes at a time
	publishing = 64 // requests under way at a time
	maxListed  = 500
	takeover   = 15 * time.Second
)

// worker is one process of a cluster. It routes pushes and carries out requests over the
// real bus, just as pkg/service/worker and pkg/reconcile do, which hold a Git store and
// a cluster; what is left out is the fetch, and render and apply are a wait.
type worker struct {
	name     string
	cluster  *cluster
	repo     *repo
	ledger   *ledger
	service  service
	slots    int
	bus      *bus.Bus
	link     *link
	reporter *report.Reporter
	end      context.CancelFunc
	parts    sync.WaitGroup
}

// service draws how long render and apply of an attempt take: half of the mean, and for
// the other half of it an exponential wait, the same in every run of a seed.
type service struct {
	mean time.Duration
	seed uint64
}

func (s service) of(a *v1alpha1.Application) time.Duration {
	number := uint64(1)
	if last := a.Status.LastAttempt; last != nil {
		number += uint64(last.Number)
	}
	name := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(a.UID) {
		name = (name ^ uint64(b)) * 1099511628211
	}
	random := rand.New(rand.NewPCG(s.seed, name+number))
	return s.mean/2 + time.Duration(random.ExpFloat64()*float64(s.mean/2))
}

// start connects the worker and runs its parts until stop or kill.
func (w *worker) start(ctx context.Context, log *slog.Logger) (err error) {
	w.bus, err = bus.Open(ctx, bus.Options{InProcess: w.link, Cluster: w.cluster.name, Service: "worker", SyncAlways: true, Log: log})
	if err != nil {
		return fmt.Errorf("open the bus of %s: %w", w.name, err)
	}
	w.reporter = report.New(w.bus, w.cluster.name, nil, log, time.Now)
	ctx, w.end = context.WithCancel(ctx)
	routes := bus.RouteConsumer(w.cluster.name)
	routes.Concurrency = routing
	w.run(log, "report", func() error { return w.reporter.Run(ctx) })
	w.run(log, "route", func() error { return w.bus.Consume(ctx, routes, w.route) })
	w.run(log, "sync", func() error { return w.bus.Work(ctx, w.cluster.name, w.slots, w.carry) })
	return nil
}

func (w *worker) run(log *slog.Logger, what string, part func() error) {
	w.parts.Go(func() {
		if err := part(); err != nil {
			log.Error("part ended", "worker", w.name, "part", what, "error", err)
		}
	})
}

// stop ends the worker as an operator does.
func (w *worker) stop() {
	w.end()
	w.parts.Wait()
	w.bus.Close()
}

// kill ends it as a power cut does: nothing that it still says arrives.
func (w *worker) kill() {
	w.link.cut()
	w.end()
	w.bus.Close()
	w.parts.Wait()
}

// route is Handle of the worker's router for Applications of one repository.
func (w *worker) route(ctx context.Context, d bus.Delivery) error {
	push, ok := d.Event.Data.(*eventsv1.GitPush)
	if !ok {
		return fault.Refuse("", fault.Place{}, "route %s: not a push", d.Event.Describe())
	}
	commit := w.repo.newest()
	decision := route.Decide(commit, w.cluster.all())
	requests, publishCtx := errgroup.WithContext(ctx)
	requests.SetLimit(publishing)
	for _, t := range decision.Affected {
		requests.Go(func() error { return w.request(publishCtx, t.Key, commit.SHA, d.Event) })
	}
	if err := requests.Wait(); err != nil {
		return err
	}
	w.ledger.routed(d.Event.ID, w.cluster.name, len(decision.Affected), decision.Unaffected)
	return w.tell(ctx, push, d.Event, commit.SHA, decision)
}

func (w *worker) request(ctx context.Context, key app.Key, sha string, cause event.Event) error {
	return w.send(ctx, event.SyncRequested, fmt.Sprintf("%s/%s/%s", cause.ID, w.cluster.name, key), cause.ID, &eventsv1.SyncRequested{
		Cluster: w.cluster.name, Namespace: key.Namespace, Name: key.Name, Reason: event.ReasonPush,
		RevisionHint: sha, EventSequence: cause.Sequence,
	})
}

func (w *worker) tell(ctx context.Context, push *eventsv1.GitPush, cause event.Event, to string, d route.Decision) error {
	fact := &eventsv1.GitRouted{Repo: push.GetRepo(), Ref: push.GetRef(), To: to, Cluster: w.cluster.name, Unaffected: int32(d.Unaffected)}
	for _, t := range d.Affected[:min(len(d.Affected), maxListed)] {
		fact.Affected = append(fact.Affected, &eventsv1.AffectedApplication{Namespace: t.Key.Namespace, Name: t.Key.Name, Why: t.Why})
	}
	fact.Omitted = int32(len(d.Affected) - len(fact.Affected))
	return w.send(ctx, event.GitRouted, cause.ID+"/routed/"+w.cluster.name, cause.ID, fact)
}

func (w *worker) send(ctx context.Context, kind event.Type, id, cause string, data proto.Message) error {
	_, err := w.bus.Publish(ctx, event.Event{
		ID: id, Source: event.SourceOf(w.cluster.name, "worker"), Type: kind, Subject: event.SubjectOf(data),
		Time: time.Now(), Cause: cause, Data: data,
	}, id)
	return err
}

// carry is Handle of a Reconciler: lease, look, work, write, tell.
func (w *worker) carry(ctx context.Context, task *bus.Task) error {
	request, ok := task.Event.Data.(*eventsv1.SyncRequested)
	if !ok {
		return fault.Refuse("", fault.Place{}, "handle %s: not a sync request", task.Event.Describe())
	}
	key := app.Key{Namespace: request.GetNamespace(), Name: request.GetName()}
	w.ledger.handed(task.Event.Cause, w.cluster.name+"/"+key.String())
	lease, err := w.hold(ctx, key, task.Slot)
	if err != nil {
		return err
	}
	defer lease.Release(context.WithoutCancel(ctx))
	return w.attempt(ctx, w.cluster.get(key), request.GetReason(), task.Event, lease)
}

// hold takes the lease, without its slot while another has it.
func (w *worker) hold(ctx context.Context, key app.Key, slot *bus.Slot) (*bus.Lease, error) {
	name := bus.SyncLease(w.cluster.name, key.Namespace, key.Name)
	lease, err := w.bus.Lease(ctx, name, w.name)
	if !errors.Is(err, bus.ErrHeld) {
		return lease, err
	}
	slot.Release()
	limited, cancel := context.WithTimeout(ctx, takeover)
	defer cancel()
	if lease, err = w.bus.AwaitLease(limited, name, w.name); err != nil {
		return nil, err
	}
	if err := slot.Acquire(ctx); err != nil {
		_ = lease.Release(context.WithoutCancel(ctx)) // else it expires
		return nil, err
	}
	return lease, nil
}

func (w *worker) attempt(ctx context.Context, a *v1alpha1.Application, reason string, cause event.Event, lease *bus.Lease) error {
	commit := w.repo.newest()
	if route.Why(commit, a) == "" {
		return nil
	}
	begun := time.Now()
	number := int64(1)
	if last := a.Status.LastAttempt; last != nil {
		number = last.Number + 1
	}
	w.reporter.Later(ctx, report.Fact{
		Type: event.SyncStarted, ID: report.AttemptID(a, number, "started"), Cause: cause.ID,
		Data: &eventsv1.SyncStarted{Cluster: w.cluster.name, Namespace: a.Namespace, Name: a.Name, Attempt: number, Reason: reason, Revision: commit.SHA},
	})
	if !pause(ctx, w.service.of(a)) {
		return ctx.Err()
	}
	if err := lease.Guard(); err != nil {
		return err
	}
	written, err := w.cluster.apply(a, commit, reason)
	if err != nil {
		return fault.Retry("", "sync %s: %w", a.Key(), err)
	}
	w.ledger.carried(cause.Cause, w.cluster.name+"/"+a.Key().String())
	w.reporter.Tell(ctx, report.Fact{
		Type: event.SyncFinished, ID: report.AttemptID(a, number, "finished/succeeded"), Cause: cause.ID, Data: finished(w.cluster.name, written, time.Since(begun)),
	})
	w.reporter.Saw(ctx, written)
	return nil
}

// finished is as large as that of an Application of four objects.
func finished(cluster string, a *v1alpha1.Application, took time.Duration) *eventsv1.SyncFinished {
	f := report.Finished(cluster, a)
	f.Duration = durationpb.New(took)
	for _, stage := range []string{"queue", "fetch", "render", "plan", "status", "apply"} {
		f.Stages = append(f.Stages, &eventsv1.Stage{Name: stage, Duration: durationpb.New(took / 6)})
	}
	for _, kind := range []string{"/ServiceAccount", "/Service", "apps/Deployment", "networking.k8s.io/Ingress"} {
		f.Objects = append(f.Objects, &eventsv1.ObjectAction{Id: kind + "/" + a.Namespace + "/" + a.Name, Action: "updated"})
	}
	return f
}

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
