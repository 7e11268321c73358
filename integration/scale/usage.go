package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	cpu    time.Duration
	memory int // resident now, bytes
	peak   int
}

// tick is the unit of times in /proc/<pid>/stat (proc_pid_stat(5)): USER_HZ, which is
// 100 on every Linux that Go runs on.
const tick = time.Second / 100

func usageOf(pid int) (u usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name before it may hold anything
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return u, fmt.Errorf("%s/stat has %d fields after the name", dir, len(fields))
	}
	for _, f := range fields[11:13] { // utime and stime
		ticks, err := strconv.Atoi(f)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * tick
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	u.memory, u.peak = kilobytes(string(status), "VmRSS:"), kilobytes(string(status), "VmHWM:")
	return u, err
}

func kilobytes(status, name string) int {
	_, after, _ := strings.Cut(status, name)
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[0])
	return n << 10
}

// busy is the time that all processors were not idle, of /proc/stat (proc_stat(5)).
func busy() (sum time.Duration, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, f := range strings.Fields(line)[1:] {
		ticks, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		if i < 8 && i != 3 && i != 4 { // idle, iowait; guests are in user already
			sum += time.Duration(ticks) * tick
		}
	}
	return sum, nil
}
