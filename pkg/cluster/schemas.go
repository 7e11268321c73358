package cluster

import (
	"context"
	"time"
)

type schemas struct{}

func newSchemas(read func(context.Context, string, any) error, k *kinds, now func() time.Time) *schemas {
	return &schemas{}
}
