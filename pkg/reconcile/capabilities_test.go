package reconcile

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/cluster"
)

func TestAttemptsThatRunTogetherAskTheClusterOnce(t *testing.T) {
	now, asked := noon, 0
	var failure error
	c := newCapabilities(func(context.Context) (cluster.Capabilities, error) {
		asked++
		return cluster.Capabilities{Version: "v1.37.2", APIVersions: []string{"v1"}}, failure
	}, func() time.Time { return now })
	for _, step := range []struct {
		name  string
		after time.Duration
		fails error
		asked int
	}{
		{name: "the first attempts ask", asked: 1},
		{name: "others in the same second do not", after: capableFor / 2},
		{name: "later ones do, since kinds come and go", after: capableFor, asked: 1},
		{name: "a failure is told", after: 2 * capableFor, fails: errors.New("away"), asked: 1},
	} {
		t.Run(step.name, func(t *testing.T) {
			before := asked
			now, failure = now.Add(step.after), step.fails
			var attempts sync.WaitGroup
			for range 20 {
				attempts.Go(func() {
					got, err := c.get(t.Context())
					if (err != nil) != (step.fails != nil) || err == nil && got.KubeVersion != "v1.37.2" {
						t.Errorf("%+v, %v", got, err)
					}
				})
			}
			attempts.Wait()
			if n := asked - before; step.fails == nil && n != step.asked || n < step.asked {
				t.Errorf("asked %d times, want %d", n, step.asked)
			}
		})
	}
}
