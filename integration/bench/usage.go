package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// memory is the Pss of a process and all below it, in bytes: what they share is
// counted once.
type memory int64

func (m memory) megabytes() float64 { return float64(m) / 1e6 }

func memoryOf(pid int) (memory, error) {
	var sum memory
	for _, p := range tree(pid) {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			continue // it ended meanwhile
		}
		for line := range strings.Lines(string(rollup)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
				kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
				if err != nil {
					return 0, fmt.Errorf("read memory of process %d: %w", p, err)
				}
				sum += memory(kilobytes << 10)
			}
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("read memory of process %d: nothing found", pid)
	}
	return sum, nil
}

// looking is how often the peak of memory is looked for.
const looking = 200 * time.Millisecond

// watchMemory looks at the memory of the process tree until the returned function is
// called, which tells the most that was seen.
func (p *process) watchMemory() (end func() memory) {
	var peak memory
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(looking)
		defer ticker.Stop()
		for {
			if m, err := memoryOf(p.cmd.Process.Pid); err == nil {
				peak = max(peak, m)
			}
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
		}
	})
	return func() memory {
		close(stop)
		done.Wait()
		return peak
	}
}

// jiffy is the unit of processor times in /proc, on every Linux that Go runs on.
const jiffy = 10 * time.Millisecond

// cpuOf is the processor time that a process, all below it and those of them that have
// ended took up to now.
func cpuOf(pid int) (time.Duration, error) {
	var sum int64
	for _, p := range tree(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue // it ended meanwhile
		}
		_, after, _ := strings.Cut(string(text), ") ") // the name before may hold blanks
		fields := strings.Fields(after)
		if len(fields) < 15 {
			return 0, fmt.Errorf("read processor time of process %d: %q", p, text)
		}
		for _, field := range fields[11:15] { // utime, stime, cutime, cstime: proc_pid_stat(5)
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read processor time of process %d: %w", p, err)
			}
			sum += n
		}
	}
	return time.Duration(sum) * jiffy, nil
}

// tree is a process and all below it.
func tree(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, file := range children {
			text, _ := os.ReadFile(file)
			for _, child := range strings.Fields(string(text)) {
				if n, err := strconv.Atoi(child); err == nil {
					all = append(all, n)
				}
			}
		}
	}
	return all
}
