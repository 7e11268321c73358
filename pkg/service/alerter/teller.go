package alerter

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sethvargo/go-retry"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Waits of a channel that cannot be told, the first and the longest.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
)

// teller tells one channel what it does not know yet, one message at a time.
type teller struct {
	a        *Alerter
	channel  string
	notifier Notifier
	woken    chan struct{}
	claim    time.Duration // longer than telling takes
	backoff  retry.Backoff // nil while the channel takes messages
	away     bool          // NATS was, when last looked
}

func newTeller(a *Alerter, channel string, n Notifier) *teller {
	return &teller{
		a: a, channel: channel, notifier: n, woken: make(chan struct{}, 1),
		claim: a.o.Endpoint.Longest() * 3 / 2,
	}
}

func (t *teller) wake() {
	select {
	case t.woken <- struct{}{}:
	default:
	}
}

// run looks at the incidents whenever one changed, and after a pause when the
// channel or NATS could not be reached.
func (t *teller) run(ctx context.Context) {
	for {
		pause := t.a.gate.closed()
		if pause == 0 {
			pause = t.pause(ctx, t.round(ctx))
		}
		if pause > 0 {
			if !sleep(ctx, pause) {
				return
			}
			continue
		}
		select {
		case <-t.woken:
		case <-ctx.Done():
			return
		}
	}
}

// pause is how long to wait after a round; 0: until something changes.
func (t *teller) pause(ctx context.Context, err error) time.Duration {
	if err == nil || ctx.Err() != nil {
		t.backoff = nil
		return 0
	}
	if t.backoff == nil {
		t.backoff = retry.WithJitterPercent(20, retry.WithCappedDuration(longestPause, retry.NewExponential(firstPause)))
	}
	pause, _ := t.backoff.Next()
	if class, wait := fault.ClassOf(err); class == fault.RetryAfter {
		pause = wait
	}
	t.a.o.Log.WarnContext(ctx, "channel cannot be told; trying again", "channel", t.channel, "after", pause.Round(time.Millisecond), "error", err)
	return pause
}

// round tells all that is due, oldest first, until something fails.
func (t *teller) round(ctx context.Context) error {
	all, err := t.a.store.all(ctx)
	switch {
	case err != nil:
		t.away = true
		return err
	case t.away: // what happened meanwhile comes first
		t.away = false
		t.a.gate.close()
		t.wake()
		return nil
	}
	all = slices.DeleteFunc(all, func(i *incident) bool { return t.due(i) == "" })
	slices.SortFunc(all, func(a, b *incident) int {
		return cmp.Or(a.GetChangedAt().AsTime().Compare(b.GetChangedAt().AsTime()), cmp.Compare(a.GetId(), b.GetId()))
	})
	for _, i := range all {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := t.tell(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) due(i *incident) string {
	return alert.Due(i, t.channel, t.a.routes.Lead(i.GetCluster(), i.GetNamespace(), i.GetName(), t.channel))
}

// tell sends one message. What became of it is recorded before anything else is.
func (t *teller) tell(ctx context.Context, listed *incident) error {
	s, err := t.take(ctx, listed)
	if err != nil || s.what == "" {
		return err
	}
	ctx, cancel := lingering(ctx, t.a.o.Linger)
	defer cancel()
	m := alert.MessageOf(s.incident, s.what)
	log := t.a.o.Log.With("channel", t.channel, "incident", m.Incident, "state", s.what, "trace", m.Trace)
	err = t.notifier.Notify(ctx, m)
	switch {
	case err == nil:
		t.count(s.what, "sent")
		t.record(ctx, m.Incident, s.what)
		t.publish(ctx, s.incident, m)
		log.InfoContext(ctx, "told")
		return nil
	case permanent(err):
		t.count(s.what, "refused")
		t.record(ctx, m.Incident, alert.Refused)
		log.ErrorContext(ctx, "message refused; it is not sent again", "error", err)
		return nil
	}
	t.count(s.what, "failed")
	if !errors.Is(err, endpoint.ErrUnsure) {
		t.record(ctx, m.Incident, s.before)
	}
	return err
}

// sending is a message that this replica has the right to send.
type sending struct {
	incident *incident
	what     string // to tell; empty: nothing
	before   string // what the channel was told last
}

// take claims the telling of an incident, so that of several replicas one does
// it, and stores that the channel may have been told: whatever happens now, it
// hears what holds afterwards. Nothing is left to tell when the Application is
// known to be ready again.
func (t *teller) take(ctx context.Context, listed *incident) (s sending, err error) {
	var state *eventsv1.ApplicationState
	if t.due(listed) == alert.Opened {
		if state, err = t.a.state(ctx, listed); err != nil {
			return sending{}, err
		}
	}
	s.incident, _, err = t.a.store.change(ctx, listed.GetId(), func(old *incident) (*incident, bool) {
		s.what, s.before = t.due(old), old.GetTold()[t.channel]
		if s.what == "" || t.taken(old) {
			s.what = ""
			return old, false
		}
		if next, over := alert.Review(old, state); over {
			if s.what = t.due(next); s.what == "" {
				return next, true
			}
			old = next
		}
		return t.claimed(old, state), true
	})
	return s, err
}

// taken says whether another replica is at it.
func (t *teller) taken(i *incident) bool {
	claim := i.GetClaims()[t.channel]
	return claim != nil && claim.GetHolder() != t.a.o.Holder && t.a.o.Now().Before(claim.GetUntil().AsTime())
}

// claimed also knows the repo where no fact told it.
func (t *teller) claimed(old *incident, s *eventsv1.ApplicationState) *incident {
	next := t.noted(old, alert.Unsure)
	if next.Claims == nil {
		next.Claims = map[string]*eventsv1.Claim{}
	}
	next.Claims[t.channel] = &eventsv1.Claim{Holder: t.a.o.Holder, Until: timestamppb.New(t.a.o.Now().Add(t.claim))}
	next.Repo = cmp.Or(next.GetRepo(), s.GetRepo())
	return next
}

// noted is an incident with what the channel was told, and no claim of it.
func (t *teller) noted(old *incident, told string) *incident {
	next := proto.CloneOf(old)
	if next.Told == nil {
		next.Told = map[string]string{}
	}
	next.Told[t.channel] = told
	if told == "" {
		delete(next.Told, t.channel)
	}
	delete(next.Claims, t.channel)
	return next
}

// record remembers what the channel was told, over breaks of NATS. What it
// cannot record stays unsure, and is told again by whoever comes after.
func (t *teller) record(ctx context.Context, id, told string) {
	backoff := retry.WithCappedDuration(5*time.Second, retry.NewExponential(50*time.Millisecond))
	err := retry.Do(ctx, backoff, func(ctx context.Context) error {
		_, _, err := t.a.store.change(ctx, id, func(old *incident) (*incident, bool) {
			if old == nil {
				return nil, false // forgotten with its bucket
			}
			return t.noted(old, told), true
		})
		if permanent(err) {
			return err
		}
		return retry.RetryableError(err)
	})
	if err != nil {
		t.a.o.Log.WarnContext(ctx, "not recorded what was told; it may be told twice", "channel", t.channel, "incident", id, "error", err)
	}
}

func (t *teller) count(state, outcome string) {
	t.a.metrics.messages.WithLabelValues(t.channel, state, outcome).Inc()
}

// state is the last known state of an incident's Application; nil when there is
// none that can be read.
func (a *Alerter) state(ctx context.Context, i *incident) (*eventsv1.ApplicationState, error) {
	s, err := a.bus.State(ctx, i.GetCluster(), app.Key{Namespace: i.GetNamespace(), Name: i.GetName()})
	if permanent(err) {
		return nil, nil
	}
	return s, err
}
