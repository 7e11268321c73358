// Package dashboard serves what people ask about all clusters: the API of the
// CLI (proto/plumb/api/v1, Connect) and, in time, the page.
//
// It holds NATS and nothing else: state is read from plumb_apps, facts from
// PLUMB_EVENTS, and what concerns a cluster is asked of that cluster's worker.
// It imports bus, config and service. When NATS is away it says unavailable;
// without the token in the data directory it says nothing at all.
package dashboard

import (
	"cmp"
	"context"
	"crypto/sha256"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/proto/plumb/api/v1/apiv1connect"
)

// Options are tunables; the zero value is what production uses.
type Options struct {
	Streams int           // event streams at a time; 0: 128
	Read    time.Duration // for one request's body; 0: 10 s
	Write   time.Duration // for one write to a client; 0: 30 s
	Log     *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Streams = cmp.Or(o.Streams, 128)
	o.Read = cmp.Or(o.Read, 10*time.Second)
	o.Write = cmp.Or(o.Write, 30*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Dashboard is the service.
type Dashboard struct {
	listen  string
	bus     *bus.Bus
	token   [sha256.Size]byte // hash of the bearer token
	streams chan struct{}
	o       Options

	life context.Context // ends with shutdown, and with it every stream
	end  context.CancelFunc
}

// New makes the service. dataDir holds the token, in the file TokenFile, which
// is created when it is not there; it may not be empty.
func New(c config.Dashboard, b *bus.Bus, dataDir string, o Options) (*Dashboard, error) {
	token, err := ensureToken(dataDir)
	if err != nil {
		return nil, err
	}
	o = o.withDefaults()
	d := &Dashboard{
		listen: c.Listen, bus: b, token: sha256.Sum256([]byte(token)),
		streams: make(chan struct{}, o.Streams), o: o,
	}
	d.life, d.end = context.WithCancel(context.Background())
	return d, nil
}

// Run listens where the configuration says and serves until ctx ends.
func (d *Dashboard) Run(ctx context.Context) error {
	l, err := service.Listen("dashboard.listen", d.listen)
	if err != nil {
		return err
	}
	return d.Serve(ctx, l)
}

// Serve is Run on a listener of the caller's; it closes it.
func (d *Dashboard) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, d.end)()
	d.o.Log.Info("the API is served", "address", l.Addr().String())
	return service.HTTP("dashboard", l, d.Handler(), d.o.Log).Run(ctx)
}

// Handler is all that the service answers: /healthz to everybody, the API to
// who has the token.
func (d *Dashboard) Handler() http.Handler {
	api := http.NewServeMux()
	api.Handle(apiv1connect.NewPlumbServiceHandler((*server)(d), connect.WithReadMaxBytes(maxRequest)))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.Handle("/", d.authenticated(d.limited(api)))
	return mux
}
