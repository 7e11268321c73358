// Package alerter tells people what fails and what recovers: it folds the facts
// of the bus into incidents, and tells every channel what it does not know yet.
//
// It holds NATS and the URLs of its channels, and imports bus, config and alert.
// What is told follows from the incidents alone, which are stored before a fact
// is acknowledged, so a crash loses nothing and may double one message. Replicas
// share the work. Nothing else waits for it: a channel that is down delays only
// itself, and an alerter that is down delays nobody. See docs/alerting.md.
package alerter

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/endpoint"
	"github.com/plumb-gitops/plumb/pkg/alert/jsonhook"
	"github.com/plumb-gitops/plumb/pkg/alert/slack"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Options are tunables; the zero value is what production uses.
type Options struct {
	Cluster  string        // names the source of the facts it publishes
	Holder   string        // names this replica; empty: a random name
	Patience time.Duration // before a failure that may pass is told; 0: 1 min
	Sweep    time.Duration // between looks at all incidents; 0: 10 s
	Settle   time.Duration // without a fact until a backlog counts as folded; 0: 1 s
	Absence  time.Duration // of an Application until its incident ends; 0: 5 min
	Keep     time.Duration // of incidents that are over; 0: 24 h
	Linger   time.Duration // that a message on its way is given at the end; 0: 3 s
	Endpoint endpoint.Options

	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

func (o Options) withDefaults() Options {
	o.Patience = cmp.Or(o.Patience, time.Minute)
	o.Sweep = cmp.Or(o.Sweep, 10*time.Second)
	o.Settle = cmp.Or(o.Settle, time.Second)
	o.Absence = cmp.Or(o.Absence, 5*time.Minute)
	o.Keep = cmp.Or(o.Keep, 24*time.Hour)
	o.Linger = cmp.Or(o.Linger, 3*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Endpoint.Now == nil {
		o.Endpoint.Now = o.Now
	}
	return o
}

// Alerter is the service.
type Alerter struct {
	bus     *bus.Bus
	store   store
	routes  alert.Routes
	tellers []*teller
	gate    *gate
	metrics *metrics
	o       Options
	absent  map[string]time.Time // incident -> since when its Application was not seen; the sweep's
}

// Notifier tells one channel. Its errors are classified for the one message:
// permanent, the channel will never take it.
type Notifier interface {
	Notify(ctx context.Context, m alert.Message) error
}

// New makes the service; the files of the channels must be good.
func New(c config.Alerter, b *bus.Bus, o Options) (*Alerter, error) {
	o = o.withDefaults()
	if o.Holder == "" {
		o.Holder = rand.Text()
	}
	a := &Alerter{
		bus: b, store: store{b.Incidents(), o.Log}, routes: alert.Routes(c.Routes), gate: newGate(o),
		o: o, absent: map[string]time.Time{},
	}
	var err error
	if a.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	for _, channel := range c.Channels {
		n, err := notifier(channel, o.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("alerter.channels: %s: %w", channel.Name, err)
		}
		a.tellers = append(a.tellers, newTeller(a, channel.Name, n))
	}
	return a, nil
}

func notifier(c config.Channel, o endpoint.Options) (Notifier, error) {
	if c.Type == "slack" {
		return slack.New(c.URLFile, o)
	}
	return jsonhook.New(c.URLFile, o)
}

// Run tells people until ctx ends; then messages on their way are given a moment.
func (a *Alerter) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { a.consume(ctx) })
	all.Go(func() { a.sweep(ctx) })
	for _, t := range a.tellers {
		all.Go(func() { t.run(ctx) })
	}
	all.Wait()
	return nil
}

// consume folds facts. A consumer that does not fit is told, and looked at
// again: it is no reason to end a process that syncs, too.
func (a *Alerter) consume(ctx context.Context) {
	for {
		err := a.bus.Consume(ctx, bus.AlertConsumer(), a.take)
		if ctx.Err() != nil {
			return
		}
		a.o.Log.ErrorContext(ctx, "facts cannot be consumed; nobody is told", "error", err)
		if !sleep(ctx, time.Minute) {
			return
		}
	}
}

// take stores what a fact means; only then is the fact acknowledged.
func (a *Alerter) take(ctx context.Context, d bus.Delivery) error {
	defer func() { a.gate.saw(d.Pending) }()
	f, ok := alert.Read(d.Event)
	if !ok {
		return nil
	}
	_, changed, err := a.store.change(ctx, f.Incident(), func(old *incident) (*incident, bool) { return alert.Fold(old, f) })
	if err != nil {
		return fmt.Errorf("fold %s: %w", d.Event.Describe(), err)
	}
	if changed {
		a.kick()
	}
	return nil
}

// kick makes every channel look at the incidents.
func (a *Alerter) kick() {
	for _, t := range a.tellers {
		t.wake()
	}
}

// lingering lives a while longer than ctx, for what should not be cut off.
func lingering(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if sleep(longer, d) {
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func permanent(err error) bool {
	class, _ := fault.ClassOf(err)
	return err != nil && class == fault.Permanent
}

func conflict(err error) bool { return errors.Is(err, bus.ErrConflict) }
