package plane

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/kube/internal/nodes"
)

// pace is how often something awaited is looked at.
const pace = 50 * time.Millisecond

// check tells what is still missing.
type check func(context.Context) error

// Ready makes the fake nodes and the storage class if they are missing and returns when pods can be scheduled.
func (p *Plane) Ready(ctx context.Context) error {
	if err := p.await(ctx, p.seeded); err != nil {
		return err
	}
	for _, c := range []check{p.serving, p.accountExists, p.nodesReady} {
		if err := p.await(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// await repeats a check until it passes, a part fails or the context ends; then the last error is the reason.
func (p *Plane) await(ctx context.Context, c check) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		err := c(ctx)
		if err == nil {
			return nil
		}
		select {
		case f := <-p.failed:
			return f
		case <-ctx.Done():
			return &Failure{Part: "start", Log: KubeLog, Err: fmt.Errorf("still waiting: %w", err)}
		case <-tick.C:
		}
	}
}

func (p *Plane) serving(ctx context.Context) error {
	err := p.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	return nil
}

func (p *Plane) seeded(ctx context.Context) error { return nodes.Seed(ctx, p.client) }

func (p *Plane) nodesReady(ctx context.Context) error { return nodes.Ready(ctx, p.client) }

func (p *Plane) accountExists(ctx context.Context) error {
	_, err := p.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("service account default of namespace default: %w", err)
	}
	return nil
}
