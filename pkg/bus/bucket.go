package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrConflict says that a value changed since it was read: read it again.
var ErrConflict = errors.New("changed meanwhile")

// bucket returns a handle of a key-value bucket; it stays good when the bucket
// is made anew.
func (b *Bus) bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	b.mu.Lock()
	kv := b.buckets[name]
	b.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	kv, err := b.js.KeyValue(ctx, name)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.buckets[name] = kv
	b.mu.Unlock()
	return kv, nil
}

// withBucket runs one exchange with a bucket, creating it when it is gone. What
// has changed is ErrConflict, a key that is not there jetstream.ErrKeyNotFound;
// all else is classified.
func (b *Bus) withBucket(ctx context.Context, name string, do func(context.Context, jetstream.KeyValue) error) error {
	var told error
	err := b.withStreams(ctx, func(ctx context.Context) error {
		kv, err := b.bucket(ctx, name)
		if err != nil {
			return err
		}
		told = nil
		err = do(ctx, kv)
		if changed := conflict(err); changed || errors.Is(err, jetstream.ErrKeyNotFound) {
			told = err
			if changed {
				told = ErrConflict
			}
			return nil
		}
		return err
	})
	return errors.Join(told, err)
}

// conflict says that a compare-and-set found another revision; single and
// replicated streams say it by different codes.
func conflict(err error) bool {
	var api jetstream.JetStreamError
	if !errors.As(err, &api) || api.APIError() == nil {
		return errors.Is(err, jetstream.ErrKeyExists)
	}
	code := api.APIError().ErrorCode
	return code == jetstream.JSErrCodeStreamWrongLastSequence || code == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

// read returns a value and its revision; nil and 0 when the key is not there.
func (b *Bus) read(ctx context.Context, bucket, key string) (value []byte, revision uint64, err error) {
	err = b.withBucket(ctx, bucket, func(ctx context.Context, kv jetstream.KeyValue) error {
		entry, err := kv.Get(ctx, key)
		if err == nil {
			value, revision = entry.Value(), entry.Revision()
		}
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	return value, revision, err
}

// create writes a key that is not there, and returns its revision. ErrConflict
// when it is.
func (b *Bus) create(ctx context.Context, bucket, key string, value []byte) (revision uint64, err error) {
	err = b.withBucket(ctx, bucket, func(ctx context.Context, kv jetstream.KeyValue) (err error) {
		revision, err = kv.Create(ctx, key, value)
		return err
	})
	return revision, err
}

// replace writes a value in place of a revision and returns the new one.
// ErrConflict when the key is at another; 0 is a key that never was.
func (b *Bus) replace(ctx context.Context, bucket, key string, value []byte, revision uint64) (next uint64, err error) {
	err = b.withBucket(ctx, bucket, func(ctx context.Context, kv jetstream.KeyValue) (err error) {
		next, err = kv.Update(ctx, key, value, revision)
		return err
	})
	return next, err
}

// drop deletes a key; revision 0 means whatever is there.
func (b *Bus) drop(ctx context.Context, bucket, key string, revision uint64) error {
	return b.withBucket(ctx, bucket, func(ctx context.Context, kv jetstream.KeyValue) error {
		var opts []jetstream.KVDeleteOpt
		if revision > 0 {
			opts = append(opts, jetstream.LastRevision(revision))
		}
		return kv.Delete(ctx, key, opts...)
	})
}
