package bus

import (
	"errors"

	"github.com/nats-io/nats.go"

	"github.com/plumb-gitops/plumb/pkg/event"
)

// PublishBatch sends events as one batch and returns the sequence of the first, and whether
// they are to go one by one instead.
func (b *Bus) PublishBatch(events ...event.Event) (first uint64, refused bool, err error) {
	msgs := make([]*nats.Msg, len(events))
	for i, e := range events {
		if msgs[i], err = encode(e); err != nil {
			return 0, false, err
		}
	}
	first, err = b.publishAll(msgs)
	return first, errors.Is(err, errAlone), err
}

// Confirmed is how the answer to a batch is read.
var Confirmed = confirmed
