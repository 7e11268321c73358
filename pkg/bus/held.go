package bus

import "context"

// Held says whether somebody holds a lease now.
func (b *Bus) Held(ctx context.Context, key string) (bool, error) {
	value, _, err := b.read(ctx, leasesBucket, key)
	return value != nil, err
}
