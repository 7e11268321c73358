package stack

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/bus"
)

// Swift is New with the intervals of leases and messages shortened five times, in
// all parts: the work of a killed worker is taken over within about three seconds,
// for tests that kill many. Worker processes are integration/stack/swift then.
func Swift(t testing.TB) *Stack {
	return start(t, kubetest.Start(t), gitserver.Options{}, func(s *Stack) {
		s.timing = bus.Timing{
			AckWait: 2 * time.Second, LeaseTTL: 2 * time.Second, Heartbeat: 600 * time.Millisecond, Guard: 1200 * time.Millisecond,
			Pull: time.Second, Retry: 200 * time.Millisecond,
		}
	})
}

// worker is the program of worker processes, and what it wants in its environment.
func (s *Stack) worker(t testing.TB) (program string, env []string) {
	t.Helper()
	if s.timing == (bus.Timing{}) {
		return workerBinary(t, "services/worker"), nil
	}
	timing, err := json.Marshal(s.timing)
	must(t, err)
	return workerBinary(t, "integration/stack/swift"), []string{"PLUMB_TEST_TIMING=" + string(timing)}
}
