package child

import (
	"os"
	"runtime/metrics"
	"syscall"
	"time"
)

// watchMemory stands in for RLIMIT_DATA where the kernel has none, or where the race
// detector's own mappings would break it.
func watchMemory(limit uint64) {
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
		for range time.Tick(10 * time.Millisecond) {
			metrics.Read(sample)
			if sample[0].Value.Uint64()+sample[1].Value.Uint64() > limit {
				_, _ = syscall.Write(2, []byte("fatal error: out of memory\n"))
				os.Exit(2)
			}
		}
	}()
}
