package bus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
)

// flaky connects to a server through pipes that a test can cut.
type flaky struct {
	server *embedded.Server
	mu     sync.Mutex
	conns  []net.Conn
}

func (f *flaky) InProcessConn() (net.Conn, error) {
	conn, err := f.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, conn)
	return conn, nil
}

func (f *flaky) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.conns {
		_ = conn.Close() // that it may be closed already is all right
	}
	f.conns = nil
}

func TestTwoWorkersNeverHoldOneLease(t *testing.T) {
	server := startServer(t, embedded.Options{})
	const workers = 4
	var writing atomic.Int32
	var writes, tenures, breaks atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	var all sync.WaitGroup
	lines := make([]*flaky, workers)
	for i := range workers {
		lines[i] = &flaky{server: server}
		b := open(t, server, func(o *bus.Options) { o.InProcess = lines[i] })
		all.Go(func() {
			for ctx.Err() == nil {
				lease, err := b.AwaitLease(ctx, webLease, fmt.Sprint("worker-", i))
				if err != nil {
					sleepShortly(ctx, 10*time.Millisecond)
					continue
				}
				tenures.Add(1)
				for write := 0; write < 20 && lease.Guard() == nil && !closed(lease.Yielded()); write++ {
					if n := writing.Add(1); n != 1 {
						t.Errorf("%d write at a time", n)
					}
					sleepShortly(ctx, time.Millisecond)
					writing.Add(-1)
					writes.Add(1)
				}
				if rand.IntN(4) > 0 { // else it vanishes, and its lease expires
					_ = lease.Release(context.WithoutCancel(ctx)) // a broken line lets it expire
				} else {
					lines[i].cut()
					_ = lease.Release(canceled())
				}
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			sleepShortly(ctx, time.Duration(20+rand.IntN(100))*time.Millisecond)
			lines[rand.IntN(workers)].cut()
			breaks.Add(1)
		}
	})
	all.Wait()
	t.Logf("%d writes in %d tenures, %d breaks", writes.Load(), tenures.Load(), breaks.Load())
	if tenures.Load() < 5 {
		t.Errorf("%d tenures: nothing was tried", tenures.Load())
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// sleepShortly is the work that the stress does, and its pace.
func sleepShortly(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
