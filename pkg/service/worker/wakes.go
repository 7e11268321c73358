package worker

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/dependency"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/policy"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// wakes asks for the syncs of Applications whose wait is over: what they depend on
// came to its end, a window opened, a suspension ended. It looks at what the catalog
// has and remembers nothing that matters, so it goes on after a start; every worker
// sees the same, and the cause makes their requests one.
type wakes struct {
	catalog interface {
		lister
		Get(app.Key) (*v1alpha1.Application, bool)
	}
	publish func(ctx context.Context, cause string, request *eventsv1.SyncRequested) error
	cluster string
	now     func() time.Time
	log     *slog.Logger

	changed chan struct{}
	asked   map[app.Key]string // of Run alone: the cause that was last asked for
}

// Looks that come together are one; a request that NATS did not take is repeated.
const (
	lookPause = 20 * time.Millisecond
	lookAgain = time.Second
)

// checksLost is after how long the request that asks for checks again is taken for
// lost with its stream: it comes back every minute at least.
const checksLost = 5 * time.Minute

func newWakes(c interface {
	lister
	Get(app.Key) (*v1alpha1.Application, bool)
}, q *requests, log *slog.Logger) *wakes {
	return &wakes{
		catalog: c, publish: q.publish, cluster: q.cluster, now: time.Now, log: log,
		changed: make(chan struct{}, 1), asked: map[app.Key]string{},
	}
}

// Observe notes that something changed. It never blocks.
func (w *wakes) Observe(_, _ *v1alpha1.Application) {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Run looks whenever something changed and whenever a time comes, until ctx ends.
func (w *wakes) Run(ctx context.Context) error {
	for {
		next := time.NewTimer(w.look(ctx))
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-w.changed:
		case <-next.C:
		}
		next.Stop()
		pause := time.NewTimer(lookPause)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// look asks for all whose wait is over, and says when to look again at the latest.
func (w *wakes) look(ctx context.Context) (wait time.Duration) {
	wait = time.Hour
	waiting := map[app.Key]string{}
	for _, a := range w.catalog.All() {
		if a.Status.Waiting == nil || !a.DeletionTimestamp.IsZero() {
			continue
		}
		key := a.Key()
		found, in := w.due(a, w.now())
		if in > 0 {
			wait = min(wait, in)
		}
		waiting[key] = w.asked[key]
		if found.cause == "" || found.cause == w.asked[key] {
			continue
		}
		if err := w.ask(ctx, a, found, ""); err != nil {
			w.log.DebugContext(ctx, "request not published; trying again", "application", key.String(), "error", err)
			wait = min(wait, lookAgain)
			continue
		}
		waiting[key] = found.cause
	}
	w.asked = waiting
	return wait
}

// due is what an Application that waits calls for now, nothing while it has to wait
// on; and in how long a time comes, 0 when none does.
func (w *wakes) due(a *v1alpha1.Application, now time.Time) (found want, in time.Duration) {
	waiting := a.Status.Waiting
	reason := event.ReasonRetry
	switch {
	case waiting.Reason == string(fault.Suspended):
		if reason = event.ReasonSpec; policy.Suspended(a, now) && waiting.Until == nil {
			return want{}, 0
		}
	case a.Spec.Sync.Mode == v1alpha1.ModeManual:
		reason = event.ReasonManual // only a person's request waits there
	}
	if waiting.Until != nil {
		if left := waiting.Until.Sub(now); left > 0 {
			return want{}, left
		}
		return want{cause: fmt.Sprintf("until/%d", waiting.Until.Unix()), reason: reason}, 0
	}
	switch fault.Reason(waiting.Reason) {
	case fault.DependencyNotReady:
		if reason == event.ReasonRetry {
			reason = event.ReasonDependency
		}
		if cause, settled := w.dependencies(a); settled {
			return want{cause: cause, reason: reason}, 0
		}
	case fault.ChecksPending, fault.ChecksFailed:
		times := now.Sub(waiting.Since.Time) / checksLost
		if in = (times+1)*checksLost - now.Sub(waiting.Since.Time); times < 1 {
			return want{}, in
		}
		return want{cause: fmt.Sprintf("checks/%d/%d", waiting.Since.Unix(), times), reason: reason}, in
	}
	return want{}, 0
}

// dependencies is a cause that is another one whenever what an Application depends on
// may let it go on, or tells another reason why not. While one of them is on its way
// it is not settled.
func (w *wakes) dependencies(a *v1alpha1.Application) (cause string, settled bool) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d %s\n", a.Generation, a.Status.Waiting.Revision)
	cycle := dependency.Cycle(a.Key(), func(key app.Key) []app.Key {
		if on, found := w.catalog.Get(key); found {
			return dependency.Of(on)
		}
		return nil
	})
	fmt.Fprintln(sum, dependency.Path(cycle))
	settled = true
	for _, key := range dependency.Of(a) {
		on, _ := w.catalog.Get(key)
		standing, done := dependency.Standing(on)
		fmt.Fprintln(sum, standing)
		settled = settled && (done || cycle != nil)
	}
	return fmt.Sprintf("dependency/%x", sum.Sum(nil)[:8]), settled
}

// overdue is the same for a request that should have been carried out a while ago:
// it may have been lost with its stream. What waits for what is not ready, and rightly
// so, is not overdue.
func (w *wakes) overdue(a *v1alpha1.Application, now time.Time) (want, bool) {
	if a.Status.Waiting == nil || !a.DeletionTimestamp.IsZero() {
		return want{}, false
	}
	found, _ := w.due(a, now.Add(-repairEvery))
	switch {
	case found.cause == "":
		return want{}, false
	case a.Status.Waiting.Reason != string(fault.DependencyNotReady):
		return found, a.Status.Waiting.Until != nil
	}
	for _, key := range dependency.Of(a) {
		if on, _ := w.catalog.Get(key); dependency.Unready(on) != "" {
			return want{}, false
		}
	}
	return found, true
}

// ask publishes a request; nonce tells a repetition from the first.
func (w *wakes) ask(ctx context.Context, a *v1alpha1.Application, found want, nonce string) error {
	return w.publish(ctx, fmt.Sprintf("%s/%s%s", a.UID, found.cause, nonce), &eventsv1.SyncRequested{
		Cluster: w.cluster, Namespace: a.Namespace, Name: a.Name, Reason: found.reason,
	})
}
