package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sethvargo/go-retry"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// storeFailed is the server's JSStreamCreateErrF with "error creating store for
// stream" (nats-server errors.json); jetstream has no name for it.
const storeFailed jetstream.ErrorCode = 10049

// Ensure creates the streams and buckets that are missing and compares those
// that are there: another age, size or replica count is a warning, since
// `plumb bus apply` may change it; any other difference is a permanent fault
// that names it. Nothing is ever updated here. Concurrent calls share one run.
func (b *Bus) Ensure(ctx context.Context) error {
	done := b.ensure.DoChan("", func() (any, error) { return nil, b.ensureAll(b.life) })
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return fault.Retry("", "ensure streams: %w", ctx.Err())
	}
}

func (b *Bus) ensureAll(ctx context.Context) error {
	ctx, cancel, err := b.exchange(ctx)
	if err != nil {
		return fmt.Errorf("ensure streams: %w", err)
	}
	defer cancel()
	for _, want := range layout(b.o.Replicas, b.o.Timing) {
		if !uses(b.o.Service, want.Name) {
			continue
		}
		if err := b.ensureStream(ctx, want); err != nil {
			return fmt.Errorf("ensure stream %s: %w", want.Name, err)
		}
	}
	return nil
}

func (b *Bus) ensureStream(ctx context.Context, want jetstream.StreamConfig) error {
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = b.createStream(ctx, want)
	}
	if err != nil {
		return transient(err)
	}
	info := stream.CachedInfo()
	if want.Name == bucketStream(leasesBucket) {
		b.tenures.seeBucket(info.Created, info.State.LastSeq, b.o.Now().Add(b.o.Timing.Guard))
	}
	refused, warnings := differences(want, info.Config)
	if len(warnings) > 0 {
		b.log.Warn("stream differs from what Plumb would create", "stream", want.Name, "difference", tell(warnings))
	}
	if len(refused) > 0 {
		return fault.Refuse("", fault.Place{}, "%s; delete the stream, or give Plumb another NATS account", tell(refused))
	}
	return nil
}

// createStream may lose a race against another process; then what that one made is compared.
func (b *Bus) createStream(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := b.createStore(ctx, want)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return b.js.Stream(ctx, want.Name)
	}
	if err == nil {
		b.log.Info("created stream", "stream", want.Name)
	}
	return stream, err
}

// createStore asks for a stream until ctx ends when the server has no place for
// it yet: while it still removes the files of a stream of the same name that was
// deleted a moment ago, it refuses a new one.
func (b *Bus) createStore(ctx context.Context, want jetstream.StreamConfig) (stream jetstream.Stream, err error) {
	backoff := retry.WithMaxDuration(b.o.Timeout/2, retry.WithCappedDuration(200*time.Millisecond, retry.NewExponential(5*time.Millisecond)))
	err = retry.Do(ctx, backoff, func(ctx context.Context) error {
		stream, err = b.js.CreateStream(ctx, want)
		var api jetstream.JetStreamError
		if errors.As(err, &api) && api.APIError() != nil && api.APIError().ErrorCode == storeFailed {
			return retry.RetryableError(err)
		}
		return err
	})
	return stream, err
}

// transient gives err a class when it has none: JetStream answers of the
// 4xx kind stay as they are until somebody changes something.
func transient(err error) error {
	var classified *fault.Error
	if errors.As(err, &classified) {
		return err
	}
	var api jetstream.JetStreamError
	if errors.As(err, &api) && api.APIError() != nil && api.APIError().Code == 400 {
		return fault.Refuse("", fault.Place{}, "%w", err)
	}
	return fault.Retry("", "%w", err)
}

// difference is one field of a stream that is not as Plumb would make it.
type difference struct {
	field     string
	want, got any
}

func (d difference) String() string { return fmt.Sprintf("%s is %v, want %v", d.field, d.got, d.want) }

func tell(all []difference) string {
	texts := make([]string, len(all))
	for i, d := range all {
		texts[i] = d.String()
	}
	return strings.Join(texts, ", ")
}

// differences returns what cannot be lived with and what can. The server fills
// in fields that we leave out, so only ours are compared. A shorter age of the
// leases would let two workers hold one, so it is refused.
func differences(want, got jetstream.StreamConfig) (refused, warnings []difference) {
	age := difference{"max_age", want.MaxAge, got.MaxAge}
	mild := []difference{
		{"max_bytes", want.MaxBytes, got.MaxBytes},
		{"max_msg_size", want.MaxMsgSize, got.MaxMsgSize},
		{"duplicate_window", want.Duplicates, got.Duplicates},
		{"num_replicas", want.Replicas, got.Replicas},
		{"subject_delete_marker_ttl", want.SubjectDeleteMarkerTTL, got.SubjectDeleteMarkerTTL},
		{"allow_atomic", want.AllowAtomicPublish, got.AllowAtomicPublish},
	}
	hard := []difference{
		{"subjects", fmt.Sprint(want.Subjects), fmt.Sprint(got.Subjects)},
		{"retention", want.Retention, got.Retention},
		{"storage", want.Storage, got.Storage},
		{"discard", want.Discard, got.Discard},
		{"max_msgs_per_subject", max(want.MaxMsgsPerSubject, 0), max(got.MaxMsgsPerSubject, 0)},
		{"deny_delete", want.DenyDelete, got.DenyDelete},
		{"deny_purge", want.DenyPurge, got.DenyPurge},
		{"allow_rollup_hdrs", want.AllowRollup, got.AllowRollup},
		{"allow_direct", want.AllowDirect, got.AllowDirect},
		{"no_ack", false, got.NoAck},
		{"sealed", false, got.Sealed},
		{"mirror", false, got.Mirror != nil},
		{"sources", 0, len(got.Sources)},
		{"republish", false, got.RePublish != nil},
		{"subject_transform", false, got.SubjectTransform != nil},
	}
	if want.Replicas == got.Replicas {
		hard = append(hard, difference{"persist_mode", want.PersistMode, got.PersistMode})
	}
	if want.Name == bucketStream(leasesBucket) && got.MaxAge > 0 && got.MaxAge < want.MaxAge {
		hard = append(hard, age)
	} else {
		mild = append(mild, age)
	}
	return changed(hard), changed(mild)
}

func changed(all []difference) []difference {
	return slices.DeleteFunc(all, func(d difference) bool { return d.want == d.got })
}

// stream returns a handle with fresh information, creating the stream when it is gone.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	var stream jetstream.Stream
	err := b.withStreams(ctx, func(ctx context.Context) (err error) {
		stream, err = b.js.Stream(ctx, name)
		return err
	})
	return stream, err
}

// withStreams runs one exchange, and once more after Ensure when it found the
// stream gone. Its errors are classified.
func (b *Bus) withStreams(ctx context.Context, do func(context.Context) error) error {
	err := b.once(ctx, do)
	if !gone(err) {
		return err
	}
	if err := b.Ensure(ctx); err != nil {
		return err
	}
	return b.once(ctx, do)
}

func (b *Bus) once(ctx context.Context, do func(context.Context) error) error {
	limited, cancel, err := b.exchange(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	err = do(limited)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled) && ctx.Err() == nil:
		return fault.Retry("", "connection to NATS lost: %w", err)
	}
	return transient(err)
}

// backoff is the wait before try n, from 1: doubled each time, at most 64 times
// the first, and spread so that those who failed together do not come together.
func (t Timing) backoff(n uint64, jitter float64) time.Duration {
	wait := t.Retry << min(max(n, 1)-1, 6)
	return wait + time.Duration(jitter*float64(wait)/4)
}
