package bus_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
)

func benchBus(b *testing.B, syncAlways bool) *bus.Bus {
	b.Helper()
	server, err := embedded.Start(b.TempDir(), embedded.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	one, err := bus.Open(b.Context(), bus.Options{InProcess: server, SyncAlways: syncAlways})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(one.Close)
	return one
}

func BenchmarkPublish(b *testing.B) {
	one := benchBus(b, true)
	for i := 0; b.Loop(); i++ {
		if _, err := one.Publish(b.Context(), push(fmt.Sprint(i), "github.com/acme/config"), fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeaseTakenAndReleased(b *testing.B) {
	one := benchBus(b, true)
	for i := 0; b.Loop(); i++ {
		lease, err := one.Lease(b.Context(), bus.SyncLease("local", "team", fmt.Sprint(i)), "worker-1")
		if err != nil {
			b.Fatal(err)
		}
		if err := lease.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// From the publisher's call until the handler has the request.
func BenchmarkRequestHandedOut(b *testing.B) {
	one := benchBus(b, true)
	got := make(chan struct{})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go func() {
		_ = one.Work(ctx, "local", 32, func(context.Context, *bus.Task) error { got <- struct{}{}; return nil })
	}()
	for i := 0; b.Loop(); i++ {
		if _, err := one.Publish(b.Context(), request(fmt.Sprint(i), fmt.Sprint(i)), ""); err != nil {
			b.Fatal(err)
		}
		<-got
	}
}
