package child

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// executable is this very binary, even after an upgrade has replaced its file.
func executable() (string, error) { return "/proc/self/exe", nil }

// attributes end the child with the thread that started it, which lives as long as
// the pool, and keep a terminal's signals for the parent.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// confine takes from the process what a render does not need: it opens no file and
// no socket any more, gets no new rights, and its memory ends at the limit.
func confine(memory int64) error {
	// The runtime makes its poller with the first timer and dies when it cannot.
	time.NewTimer(time.Hour).Stop()
	for _, limit := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"files", unix.RLIMIT_NOFILE, 0},
		{"core", unix.RLIMIT_CORE, 0},
		{"memory", unix.RLIMIT_DATA, uint64(memory)},
	} {
		if limit.name == "memory" && !limitsData {
			watchMemory(uint64(memory))
			continue
		}
		l := unix.Rlimit{Cur: limit.value, Max: limit.value}
		if err := unix.Setrlimit(limit.resource, &l); err != nil {
			return fmt.Errorf("limit %s: %w", limit.name, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	return nil
}

// allowCPU lets the process use that many more seconds of CPU time.
func allowCPU(seconds int64) error {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return fmt.Errorf("read CPU time: %w", err)
	}
	total := used.Utime.Sec + used.Stime.Sec + 1 + seconds
	return unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: uint64(total), Max: unix.RLIM_INFINITY})
}
