package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render"
)

// capableFor is how old what templates may know about the cluster may be. The answer is
// a document of all that the cluster serves: attempts that run together share it, and one
// that follows the installation of a kind sees the kind.
const capableFor = time.Second

// capabilities asks the cluster what it is able to, for all attempts of the process.
type capabilities struct {
	ask  func(context.Context) (cluster.Capabilities, error)
	now  func() time.Time
	line egress.Line[cluster.Capabilities]

	mu   sync.Mutex
	kept cluster.Capabilities
	at   time.Time // when kept was asked for; zero: never
}

func newCapabilities(ask func(context.Context) (cluster.Capabilities, error), now func() time.Time) *capabilities {
	return &capabilities{ask: ask, now: now, line: egress.Line[cluster.Capabilities]{Timeout: 30 * time.Second}}
}

// get is what templates may know about this cluster.
func (c *capabilities) get(ctx context.Context) (render.Capabilities, error) {
	found, recent := c.recent()
	if !recent {
		var err error
		if found, err = c.line.Ask(ctx, "", c.renew); err != nil {
			return render.Capabilities{}, fault.As(fault.RenderFailed, err)
		}
	}
	return render.Capabilities{KubeVersion: found.Version, APIVersions: found.APIVersions}, nil
}

func (c *capabilities) recent() (cluster.Capabilities, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept, !c.at.IsZero() && c.now().Sub(c.at) < capableFor
}

// renew asks, unless somebody has while this question waited for its turn.
func (c *capabilities) renew(ctx context.Context) (cluster.Capabilities, error) {
	if found, recent := c.recent(); recent {
		return found, nil
	}
	began := c.now()
	found, err := c.ask(ctx)
	if err != nil {
		return found, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.at = found, began
	return found, nil
}
