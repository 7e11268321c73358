// Package receiver takes webhooks: it authenticates them, turns them into
// events, publishes, and only then says 2xx.
//
// It owns HTTP, limits and secrets of the hooks; what a payload means is
// webhook's, how to publish is the Publisher's. It holds no cluster and no Git
// credential and may import neither client-go nor go-git nor helm. It fails by
// answering: whatever was not stored gets a status that makes the sender try
// again or says why that is useless.
package receiver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/service"
)

// Publisher stores an event. It returns once the event is stored, with its
// position in the stream; an event whose id was stored before is not stored again.
type Publisher interface {
	Publish(ctx context.Context, e event.Event, id string) (uint64, error)
}

// PublisherFunc is a function as a Publisher.
type PublisherFunc func(ctx context.Context, e event.Event, id string) (uint64, error)

// Publish calls f.
func (f PublisherFunc) Publish(ctx context.Context, e event.Event, id string) (uint64, error) {
	return f(ctx, e, id)
}

// Options are tunables; the zero value is what production uses.
type Options struct {
	Cluster    string // for the events' source; default "local"
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Limits     Limits
	Now        func() time.Time
	NewID      func() string // names deliveries that bring no id
}

// Limits bound what senders can make the receiver do.
type Limits struct {
	Body     int64         // bytes of one body; default 25 MiB, the most that GitHub sends
	InFlight int           // requests at a time; default 256
	Memory   int64         // bytes of all bodies at a time beyond 64 KiB each; default 64 MiB
	Read     time.Duration // for the header, and again for the body; default 10 s
	Publish  time.Duration // for all events of one delivery; default 8 s, GitHub waits 10
	Drain    time.Duration // for requests in flight at shutdown; default 15 s
}

// Receiver is the service.
type Receiver struct {
	listen    string
	hooks     hooks
	publisher Publisher
	opts      Options
	gate      *gate
	metrics   *metrics
}

// New checks the configuration and reads every secret once. Nothing listens yet.
func New(c config.Receiver, p Publisher, o Options) (*Receiver, error) {
	o = o.withDefaults()
	known, err := newHooks(c.Hooks, o)
	if err != nil {
		return nil, err
	}
	r := &Receiver{listen: c.Listen, hooks: known, publisher: p, opts: o, gate: newGate(o.Limits)}
	r.metrics, err = newMetrics(o.Registerer, r.gate)
	if err != nil {
		return nil, fmt.Errorf("register metrics of receiver: %w", err)
	}
	return r, nil
}

func (o Options) withDefaults() Options {
	set(&o.Cluster, "local")
	set(&o.Limits.Body, 25<<20)
	set(&o.Limits.InFlight, 256)
	set(&o.Limits.Memory, 64<<20)
	set(&o.Limits.Read, 10*time.Second)
	set(&o.Limits.Publish, 8*time.Second)
	set(&o.Limits.Drain, 15*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = randomID
	}
	return o
}

func set[T comparable](value *T, fallback T) {
	if *value == *new(T) {
		*value = fallback
	}
}

func randomID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, crypto/rand
	return hex.EncodeToString(b[:])
}

// Run listens where the configuration says and serves until ctx ends; then
// requests in flight are finished.
func (r *Receiver) Run(ctx context.Context) error {
	l, err := service.Listen("receiver.listen", r.listen)
	if err != nil {
		return err
	}
	return r.Serve(ctx, l)
}

// Serve is Run on a listener of the caller's; it closes it.
func (r *Receiver) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: r.opts.Limits.Read,
		WriteTimeout:      2*r.opts.Limits.Read + r.opts.Limits.Publish,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         noteState,
		ErrorLog:          slog.NewLogLogger(r.opts.Log.Handler(), slog.LevelDebug),
	}
	r.opts.Log.Info("webhooks are served", "address", l.Addr().String(), "hooks", len(r.hooks.known))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(lateListener{l}) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve webhooks: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.Limits.Drain)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("finish webhooks in flight: %w", err), server.Close())
	}
	return nil
}
