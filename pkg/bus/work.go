package bus

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Task is one sync request in the hands of a worker.
type Task struct {
	Delivery
	// Slot is held when the handler starts and given back when it returns.
	Slot *Slot
}

// Work hands a cluster's sync requests to handle, as many at a time as there
// are slots, until ctx ends; then it waits for the handlers and returns nil.
// Each Application has one request in the queue, the newest; a newer one is
// handed out even while an older is being handled, so handlers need the lease.
//
// What handle returns decides: nil and permanent faults acknowledge (how an
// attempt failed is in the status), DeadLetter keeps the request in PLUMB_DEAD
// as well, any other error brings the request back after a while, after the time
// that a retry-after fault names, or at once when ctx has ended. Until handle
// returns, the request stays its own by heartbeats; when this process vanishes
// another gets it within the ack wait.
func (b *Bus) Work(ctx context.Context, cluster string, slots int, handle func(context.Context, *Task) error) error {
	config := syncConsumer(cluster).config(b.o.Timing)
	config.DeliverPolicy = jetstream.DeliverAllPolicy // a work queue knows no other
	in := &intake{
		bus: b, puller: newPuller(b, syncStream, config), slots: newSlots(max(slots, 1)),
		handle: handle,
		buries: func(fault.Class) bool { return false },
	}
	return in.run(ctx)
}
