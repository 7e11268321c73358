//go:build !linux

package child

import (
	"os"
	"syscall"
	"time"
)

// Other systems are for trying plumb render out: there the memory limit is that of
// the Go runtime and the wall clock ends endless renders.
func executable() (string, error) { return os.Executable() }

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func confine(memory int64) error {
	watchMemory(uint64(memory))
	return nil
}

func bequeath() {}

func lowPriority(int) {}

func cpuTime(_ int, otherwise time.Duration) time.Duration { return otherwise }

func allowCPU(int64) error { return nil }
