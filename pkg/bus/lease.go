package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// ErrHeld says that somebody else holds the lease.
var ErrHeld = errors.New("lease is held")

// tenure is the value of a lease: who holds it, and a token of its own so that
// a holder knows its own write again when the confirmation was lost.
type tenure struct {
	Holder string `json:"holder"`
	Token  string `json:"token"`
}

// Lease is the right to work on something alone. It lives by heartbeats until
// Release, until the bus closes, or until it is lost.
type Lease struct {
	bus   *Bus
	key   string
	value []byte
	own   tenure

	inherited bool // see Inherited

	beating sync.Mutex // one exchange about this lease at a time

	mu        sync.Mutex
	revision  uint64
	confirmed time.Time // when the last confirmed heartbeat was sent

	life    context.Context // ends with Release and with the bus
	stop    context.CancelFunc
	stopped <-chan struct{} // closed when no heartbeat is sent any more
	lost    chan struct{}
	yielded chan struct{}
	yields  *nats.Subscription
}

// Lease takes a lease that is free. ErrHeld, with the holder's name, when it is
// not: AwaitLease waits for it. The holder is told to people only.
func (b *Bus) Lease(ctx context.Context, key, holder string) (*Lease, error) {
	l := &Lease{
		bus: b, key: key, own: tenure{Holder: holder, Token: nuid.Next()},
		lost: make(chan struct{}), yielded: make(chan struct{}),
	}
	var err error
	if l.value, err = json.Marshal(l.own); err != nil {
		return nil, fmt.Errorf("take lease %s: %w", key, err)
	}
	if err := l.take(ctx); err != nil {
		return nil, fmt.Errorf("take lease %s: %w", key, err)
	}
	if err := l.listen(); err != nil {
		return nil, errors.Join(fmt.Errorf("take lease %s: %w", key, err), l.drop(ctx))
	}
	l.life, l.stop = context.WithCancel(b.life)
	stopped := make(chan struct{})
	l.stopped = stopped
	go func() {
		defer close(stopped)
		l.beatUntil(l.life)
	}()
	if err := l.settleIn(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("take lease %s: %w", key, err), l.Release(context.WithoutCancel(ctx)))
	}
	return l, nil
}

// take writes the key where there is none.
func (l *Lease) take(ctx context.Context) error {
	sent, newest := l.bus.o.Now(), l.bus.tenures.newest()
	revision, err := l.bus.create(ctx, leasesBucket, l.key, l.value)
	if err == nil {
		l.confirm(revision, sent)
		l.bus.tenures.note(newest, revision, l.bus.o.Now().Add(l.bus.o.Timing.Guard))
	}
	if !errors.Is(err, ErrConflict) {
		return err
	}
	holder, _, err := l.look(ctx)
	switch {
	case err != nil:
		return err
	case holder == nil: // gone this moment
		return fmt.Errorf("%w: it was until now", ErrHeld)
	}
	return fmt.Errorf("%w by %s", ErrHeld, holder.Holder)
}

// look reads who holds the lease now; nil when nobody does.
func (l *Lease) look(ctx context.Context) (*tenure, uint64, error) {
	value, revision, err := l.bus.read(ctx, leasesBucket, l.key)
	if err != nil || value == nil {
		return nil, 0, err
	}
	l.bus.tenures.see(revision)
	holder := &tenure{}
	if err := json.Unmarshal(value, holder); err != nil {
		return &tenure{Holder: "somebody whose name cannot be read"}, revision, nil
	}
	return holder, revision, nil
}

func (l *Lease) confirm(revision uint64, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision, l.confirmed = revision, sent
}

// listen waits for somebody to ask for the lease.
func (l *Lease) listen() (err error) {
	var once sync.Once
	l.yields, err = l.bus.nc.Subscribe(yieldPrefix+l.key, func(*nats.Msg) {
		once.Do(func() { close(l.yielded) })
	})
	return err
}

// beatUntil renews the lease every heartbeat, and at once when the connection
// comes back, until life ends or the lease is lost.
func (l *Lease) beatUntil(life context.Context) {
	ticker := time.NewTicker(l.bus.o.Timing.Heartbeat)
	defer ticker.Stop()
	back := l.bus.line.returns()
	for {
		select {
		case <-life.Done():
			return
		case <-ticker.C:
		case <-back:
			back = l.bus.line.returns()
		}
		if err := l.beat(life); err != nil && life.Err() == nil {
			l.bus.log.Warn("lease lost", "lease", l.key, "holder", l.own.Holder, "error", err)
			close(l.lost)
			return
		}
	}
}

// beat renews the lease once. Its error means that the lease is lost; an
// exchange that failed is not, until the lease must have expired.
func (l *Lease) beat(ctx context.Context) error {
	l.beating.Lock()
	defer l.beating.Unlock()
	err := l.renew(ctx)
	if errors.Is(err, ErrConflict) {
		if err = l.reclaim(ctx); err == nil {
			err = l.renew(ctx)
		}
	}
	switch {
	case err == nil || errors.Is(err, ErrHeld):
		return err
	case errors.Is(err, ErrConflict) && l.held() == 0:
		return fmt.Errorf("%w by another since the bucket was made anew", ErrHeld)
	}
	if silent := l.silent(); silent > l.bus.o.Timing.LeaseTTL {
		return fmt.Errorf("no heartbeat confirmed for %s: %w", silent.Round(time.Millisecond), err)
	}
	return nil
}

func (l *Lease) renew(ctx context.Context) error {
	sent, newest := l.bus.o.Now(), l.bus.tenures.newest()
	next, err := l.bus.replace(ctx, leasesBucket, l.key, l.value, l.held())
	if err == nil {
		l.confirm(next, sent)
		l.bus.tenures.note(newest, next, l.bus.o.Now().Add(l.bus.o.Timing.Guard))
	}
	return err
}

// held is the revision that is ours.
func (l *Lease) held() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revision
}

func (l *Lease) holdAt(revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision = revision
}

// reclaim finds out why the revision is another. Our own token: the
// confirmation of a heartbeat was lost, and its revision is taken over. No key
// within the guard time, when it cannot have expired: the bucket may have been
// made anew, and the next renewal writes the key if nobody ever has there.
func (l *Lease) reclaim(ctx context.Context) error {
	holder, revision, err := l.look(ctx)
	switch {
	case err != nil:
		return err
	case holder == nil && l.held() > 0 && l.silent() <= l.bus.o.Timing.Guard:
		l.holdAt(0)
		return nil
	case holder == nil:
		return fmt.Errorf("%w by nobody any more: it expired", ErrHeld)
	case holder.Token != l.own.Token:
		return fmt.Errorf("%w by %s now", ErrHeld, holder.Holder)
	}
	l.holdAt(revision)
	return nil
}

// silent is how long ago the last confirmed heartbeat was sent. The monotonic
// clock stands still while the machine sleeps and the wall clock may be set, so
// the longer of the two counts.
func (l *Lease) silent() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.bus.o.Now()
	return max(now.Sub(l.confirmed), now.Round(0).Sub(l.confirmed.Round(0)))
}

// Guard is nil while writing under the lease is safe: it is not lost, and the
// last confirmed heartbeat is at most 6 s old, which leaves a request on its way
// 4 s to arrive before the lease expires. Ask it before every write.
func (l *Lease) Guard() error {
	select {
	case <-l.lost:
		return fault.Retry("", "lease %s is lost", l.key)
	case <-l.life.Done():
		return fault.Retry("", "lease %s is released", l.key)
	default:
	}
	if silent := l.silent(); silent > l.bus.o.Timing.Guard {
		return fault.Retry("", "lease %s is in doubt: no heartbeat confirmed for %s", l.key, silent.Round(time.Millisecond))
	}
	return nil
}

// Inherited says whether who held the lease before was seen to vanish while this holder
// waited for it: its lease expired, and what it was about may be half done.
func (l *Lease) Inherited() bool { return l.inherited }

// Lost is closed once the lease is known to be lost.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Yielded is closed once somebody has asked for the lease.
func (l *Lease) Yielded() <-chan struct{} { return l.yielded }

// Release gives the lease back; Guard fails from then on. An error means that
// it will expire instead. Releasing a lost lease does nothing.
func (l *Lease) Release(ctx context.Context) error {
	l.stop()
	<-l.stopped
	if err := l.yields.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
		l.bus.log.Debug("stop listening for yields", "lease", l.key, "error", err)
	}
	select {
	case <-l.lost:
		return nil
	default:
	}
	return l.drop(ctx)
}

// drop deletes the key if it is still ours.
func (l *Lease) drop(ctx context.Context) error {
	l.beating.Lock()
	defer l.beating.Unlock()
	if l.held() == 0 {
		return nil
	}
	err := l.bus.drop(ctx, leasesBucket, l.key, l.held())
	if errors.Is(err, ErrConflict) {
		if l.reclaim(ctx) != nil || l.held() == 0 {
			return nil // not ours any more
		}
		err = l.bus.drop(ctx, leasesBucket, l.key, l.held())
	}
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.key, err)
	}
	return nil
}
