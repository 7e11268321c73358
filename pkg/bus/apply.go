package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Apply gives the streams the age, size, windows and replica count that Plumb
// would create them with, and returns a line for each value it changed. It is
// for a person with an account that may update streams: no service does it.
func (b *Bus) Apply(ctx context.Context) (changed []string, err error) {
	if err := b.Ensure(ctx); err != nil {
		return nil, err
	}
	for _, want := range layout(b.o.Replicas, b.o.Timing) {
		mild, err := b.applyStream(ctx, want)
		if err != nil {
			return changed, fmt.Errorf("change stream %s: %w", want.Name, err)
		}
		for _, d := range mild {
			changed = append(changed, fmt.Sprintf("%s: %s was %v, is %v", want.Name, d.field, d.got, d.want))
		}
	}
	return changed, nil
}

func (b *Bus) applyStream(ctx context.Context, want jetstream.StreamConfig) (mild []difference, err error) {
	err = b.once(ctx, func(ctx context.Context) error {
		stream, err := b.js.Stream(ctx, want.Name)
		if err != nil {
			return err
		}
		c := stream.CachedInfo().Config
		if _, mild = differences(want, c); len(mild) == 0 {
			return nil
		}
		c.MaxAge, c.MaxBytes, c.MaxMsgSize = want.MaxAge, want.MaxBytes, want.MaxMsgSize
		c.Duplicates, c.Replicas, c.SubjectDeleteMarkerTTL = want.Duplicates, want.Replicas, want.SubjectDeleteMarkerTTL
		c.AllowAtomicPublish = want.AllowAtomicPublish
		_, err = b.js.UpdateStream(ctx, c)
		return err
	})
	return mild, err
}
