package child

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
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

// lowPriority gives a child, which leads a group of its own, what no other process
// wants of the processor: all its threads, and those that they will start.
func lowPriority(pid int) { _ = unix.Setpriority(unix.PRIO_PGRP, pid, 19) }

// cpuTime is what a process has used of the processor; see stat in proc(5). It is
// otherwise when that cannot be told.
func cpuTime(pid int, otherwise time.Duration) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, found := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if err != nil || !found || len(fields) < 13 {
		return otherwise
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 everywhere
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick
}

// confine takes from the process what a render does not need: it opens no file and
// no socket any more, and its memory ends at the limit.
func confine(memory int64) error {
	// The runtime makes its poller with the first timer and dies when it cannot.
	time.NewTimer(time.Hour).Stop()
	dropInherited()
	exitOnCPULimit()
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
	return nil
}

// bequeath gives the calling thread what its children inherit: never more rights.
// It fails only where the kernel is older than this attribute, which is then missed.
func bequeath() { _ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }

// dropInherited closes files that the parent itself inherited without knowing. What
// the runtime has opened for itself stays.
func dropInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		own := strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "/sys/fs/cgroup/")
		if err == nil && fd > 2 && target != "" && !own {
			_ = unix.Close(fd)
		}
	}
}

// exitOnCPULimit makes SIGXCPU what it is by default: the runtime ignores it.
func exitOnCPULimit() {
	over := make(chan os.Signal, 1)
	signal.Notify(over, syscall.SIGXCPU)
	go func() {
		<-over
		_, _ = syscall.Write(2, []byte("fatal error: SIGXCPU\n"))
		os.Exit(2)
	}()
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
