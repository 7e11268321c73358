package worker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/policy"
	"github.com/plumb-gitops/plumb/pkg/report"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// repairEvery is how often what should be on the bus is compared with what is
// there. Streams may have been wiped, and a worker may have died between a
// status write and its facts.
const repairEvery = 30 * time.Second

// repair brings back what the bus lost: requests of Applications that are not
// where they should be, and facts and states that are behind the status.
type repair struct {
	cluster  string
	bus      *bus.Bus
	catalog  *catalog.Catalog
	changes  *changes
	wakes    *wakes
	requests *requests
	reporter *report.Reporter
	now      func() time.Time
	log      *slog.Logger
}

// Run repairs at the start and then every interval, give or take a fifth, so
// that workers do not do it all at once.
func (r *repair) Run(ctx context.Context) error {
	for {
		if err := r.once(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "repair not finished; trying again", "error", err)
		}
		timer := time.NewTimer(repairEvery + time.Duration(rand.Int64N(int64(repairEvery/5))))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (r *repair) once(ctx context.Context) error {
	stored, err := r.bus.States(ctx, r.cluster)
	if err != nil {
		return err
	}
	states := make(map[string]*eventsv1.ApplicationState, len(stored))
	for _, s := range stored {
		states[s.GetNamespace()+"/"+s.GetName()] = s
	}
	for _, a := range r.catalog.All() {
		key := a.Key().String()
		r.retell(ctx, a, states[key])
		delete(states, key)
		if err := r.ask(ctx, a); err != nil {
			return err
		}
	}
	for _, s := range states {
		r.reporter.Gone(ctx, keyOf(s))
	}
	return nil
}

// retell tells the end of an attempt and the state again when the stored state
// is not that of the status: facts are told before the state.
func (r *repair) retell(ctx context.Context, a *v1alpha1.Application, stored *eventsv1.ApplicationState) {
	should := report.State(r.cluster, a, r.now())
	if stored.GetAttempt() == should.GetAttempt() && stored.GetResult() == should.GetResult() &&
		stored.GetReady() == should.GetReady() && stored.GetReason() == should.GetReason() && stored.GetSuspended() == should.GetSuspended() {
		return
	}
	if fact := report.Finished(r.cluster, a); fact != nil && stored.GetAttempt() <= should.GetAttempt() {
		r.reporter.Tell(telemetry.Resume(ctx, a.Status.LastAttempt.Trace), report.Fact{
			Type: event.SyncFinished, Data: fact,
			ID: report.AttemptID(a, fact.GetAttempt(), "finished/"+fact.GetResult()),
		})
	}
	r.reporter.Saw(ctx, a)
}

// ask repeats the request of an Application that calls for one, unless somebody
// works on it.
func (r *repair) ask(ctx context.Context, a *v1alpha1.Application) error {
	nonce := fmt.Sprintf("/again/%d", r.now().Unix()/int64(repairEvery.Seconds()))
	_, wanted := r.changes.want(ctx, a)
	overdue, late := r.wakes.overdue(a, r.now())
	if !wanted && !late && !abandoned(a, r.now()) {
		return nil
	}
	held, err := r.bus.Held(ctx, bus.SyncLease(r.cluster, a.Namespace, a.Name))
	if err != nil || held {
		return err
	}
	if wanted {
		return r.changes.ask(ctx, a, nonce)
	}
	if late {
		return r.wakes.ask(ctx, a, overdue, nonce)
	}
	return r.requests.publish(ctx, fmt.Sprintf("%s/%d%s", a.UID, a.Status.LastAttempt.Number, nonce), &eventsv1.SyncRequested{
		Cluster: r.cluster, Namespace: a.Namespace, Name: a.Name, Reason: event.ReasonRetry,
	})
}

// abandoned is an attempt that should have ended: its worker died and its
// request was lost with the stream; or one whose deletions waited for another
// Application, and still do. A failure is the scanner's to repeat.
func abandoned(a *v1alpha1.Application, now time.Time) bool {
	last := a.Status.LastAttempt
	if last == nil || policy.Suspended(a, now) || a.Spec.Sync.Mode == v1alpha1.ModeManual || now.Sub(last.StartedAt.Time) < repairEvery {
		return false
	}
	if last.RetryAt != nil && last.Result != v1alpha1.ResultFailed {
		return now.Sub(last.RetryAt.Time) >= repairEvery
	}
	return last.Result == v1alpha1.ResultRunning || last.Result == v1alpha1.ResultSuperseded
}
