package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/singleflight"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Options of Open. URL or InProcess is required.
type Options struct {
	// URL is nats://host:port or tls://..., several separated by commas.
	URL string
	// InProcess is a server in this process; it goes before URL.
	InProcess interface{ InProcessConn() (net.Conn, error) }
	// CredentialsFile holds a user JWT with its seed, or an nkey seed alone.
	CredentialsFile string
	// Cluster and Service name the connection. Service, when it is one of those
	// that Permissions knows, limits Ensure to what that service may create and
	// separates its replies from those of others.
	Cluster string
	Service string
	// SyncAlways says that the server syncs each message to disk before it confirms it
	// (sync_interval: always, as package embedded does): what is published at the same
	// time then goes as one batch, which is synced as a whole.
	SyncAlways bool
	// Replicas of streams that have to be created; 0: one.
	Replicas int
	// Timeout of one exchange with the server; 0: 5 s.
	Timeout time.Duration
	// Timing is for tests; its zero values are what the design says.
	Timing Timing
	Log    *slog.Logger
	// Now is the clock of leases; nil: time.Now.
	Now func() time.Time
}

// Timing holds the intervals that belong together.
type Timing struct {
	// AckWait is how long a message may go without a sign of life; 10 s.
	AckWait time.Duration
	// LeaseTTL is how long a lease outlives its last heartbeat; 10 s.
	LeaseTTL time.Duration
	// Heartbeat is the interval of leases and of messages being handled; 3 s.
	Heartbeat time.Duration
	// Guard is how long after the last confirmed heartbeat writing is allowed; 6 s.
	Guard time.Duration
	// Pull is how long one request for messages stays open; 5 s.
	Pull time.Duration
	// Retry is the first wait after a failure, doubled up to 64 times; 1 s.
	Retry time.Duration
}

func (t Timing) withDefaults() Timing {
	return Timing{
		AckWait:   cmp.Or(t.AckWait, 10*time.Second),
		LeaseTTL:  cmp.Or(t.LeaseTTL, 10*time.Second),
		Heartbeat: cmp.Or(t.Heartbeat, 3*time.Second),
		Guard:     cmp.Or(t.Guard, 6*time.Second),
		Pull:      cmp.Or(t.Pull, 5*time.Second),
		Retry:     cmp.Or(t.Retry, time.Second),
	}
}

// Bus is one connection. It reconnects by itself for as long as it is open.
type Bus struct {
	o    Options
	log  *slog.Logger
	nc   *nats.Conn
	js   jetstream.JetStream
	line *line

	life   context.Context // ends with Close
	end    context.CancelFunc
	ensure singleflight.Group

	mu      sync.Mutex
	buckets map[string]jetstream.KeyValue
	tenures tenures

	events  *together // publishes to PLUMB_EVENTS
	batches batches
}

// Open connects and ensures the streams. NATS being away is not an error here:
// the bus connects when it can, and until then every call says so. Wrong options
// and streams that do not fit are permanent faults.
func Open(ctx context.Context, o Options) (*Bus, error) {
	o = withDefaults(o)
	b := &Bus{o: o, log: o.Log, line: newLine(), buckets: map[string]jetstream.KeyValue{}}
	b.life, b.end = context.WithCancel(context.Background())
	b.events = newTogether(func(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
		return b.publish(ctx, eventsStream, msg)
	}, b.publishAll)
	if err := b.connect(); err != nil {
		b.end()
		return nil, fault.Refuse("", fault.Place{}, "connect to NATS: %w", err)
	}
	b.line.waitBriefly(ctx, o.Timeout)
	if err := b.Ensure(ctx); err != nil {
		if class, _ := fault.ClassOf(err); class == fault.Permanent {
			b.Close()
			return nil, err
		}
		b.log.Warn("NATS is not usable yet; going on without", "error", err)
	}
	return b, nil
}

func withDefaults(o Options) Options {
	o.Timing = o.Timing.withDefaults()
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.Replicas = max(o.Replicas, 1)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func (b *Bus) connect() error {
	opts, err := b.connectOptions()
	if err != nil {
		return err
	}
	nc, err := nats.Connect(b.o.URL, opts...)
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return err
	}
	b.nc, b.js = nc, js
	return nil
}

// connectOptions never give up and never buffer: what is published while NATS
// is away must fail at once.
func (b *Bus) connectOptions() ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(strings.Trim(b.o.Cluster+"/"+b.o.Service, "/")),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(b.o.Timeout),
		nats.CustomInboxPrefix(inboxPrefix(b.o.Service)),
		nats.ConnectHandler(func(*nats.Conn) { b.line.up() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.line.up(); b.log.Info("NATS is back") }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.line.down()
			if b.life.Err() == nil {
				b.log.Warn("NATS is away", "error", err)
			}
		}),
		nats.ErrorHandler(b.asyncError),
	}
	if b.o.InProcess != nil {
		return append(opts, nats.InProcessServer(b.o.InProcess)), nil
	}
	return withCredentials(opts, b.o.CredentialsFile)
}

func withCredentials(opts []nats.Option, file string) ([]nats.Option, error) {
	if file == "" {
		return opts, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if strings.Contains(string(content), "NATS USER JWT") {
		return append(opts, nats.UserCredentials(file)), nil
	}
	nkey, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		return nil, fmt.Errorf("read credentials %s: neither a user JWT nor an nkey seed: %w", file, err)
	}
	return append(opts, nkey), nil
}

// asyncError tells of what has no caller to tell, as a subject that this
// account may not use: the call itself only times out.
func (b *Bus) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if b.life.Err() != nil {
		return
	}
	if sub != nil {
		b.log.Error("NATS reported an error", "subject", sub.Subject, "error", err)
		return
	}
	b.log.Error("NATS reported an error", "error", err)
}

// Connected is nil while NATS is reachable, for readiness.
func (b *Bus) Connected() error {
	_, err := b.session()
	return err
}

// Close ends the connection, the leases' heartbeats and everything that runs
// on this bus. Leases not released expire.
func (b *Bus) Close() {
	b.end()
	b.nc.Close()
}

// session returns a context that ends with the present connection.
func (b *Bus) session() (context.Context, error) {
	session := b.line.session()
	if session == nil || !b.nc.IsConnected() {
		return nil, fault.Retry("", "NATS is away: %w", errors.Join(nats.ErrDisconnected, b.nc.LastError()))
	}
	return session, nil
}

// exchange returns ctx limited to one exchange with the server: it ends at the
// timeout, or when the connection goes, so that nobody waits for a lost reply.
func (b *Bus) exchange(ctx context.Context) (context.Context, context.CancelFunc, error) {
	session, err := b.session()
	if err != nil {
		return nil, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, b.o.Timeout)
	stop := context.AfterFunc(session, cancel)
	return limited, func() { stop(); cancel() }, nil
}

// gone says that a stream, bucket or consumer is not there, or nobody answers for it.
func gone(err error) bool {
	for _, target := range []error{
		jetstream.ErrStreamNotFound, jetstream.ErrNoStreamResponse, jetstream.ErrBucketNotFound,
		jetstream.ErrConsumerNotFound, jetstream.ErrConsumerDeleted, jetstream.ErrConsumerDoesNotExist,
		jetstream.ErrNoHeartbeat, nats.ErrNoResponders, nats.ErrNoStreamResponse,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// pause waits before try n+1: a short backoff, and then for the connection.
func (b *Bus) pause(ctx context.Context, n uint64) {
	if !sleep(ctx, b.o.Timing.backoff(n, rand.Float64())/8) {
		return
	}
	select {
	case <-b.line.isUp():
	case <-ctx.Done():
	}
}

// sleep waits, and reports whether ctx is still alive.
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
