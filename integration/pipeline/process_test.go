package pipeline

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Bounds of a worker under attack: it holds one artifact and a few trees at a time,
// and each child what child.Options gives it, beside its program.
const (
	maxWorkerMB = 1000
	maxChildMB  = 512 + 200
	maxChildren = 4 + 2 + 2 // at work, slow, and idle or starting
)

// usage follows a process and its children until the test looks at it.
type usage struct {
	pid      int
	cancel   context.CancelFunc
	done     chan struct{}
	children int // most at a time
	child    int // most memory of one, in MB
}

func watchProcess(t *testing.T, pid int) *usage {
	ctx, cancel := context.WithCancel(t.Context())
	u := &usage{pid: pid, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			u.look()
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(cancel)
	return u
}

func (u *usage) look() {
	children := childrenOf(u.pid)
	u.children = max(u.children, len(children))
	for _, child := range children {
		u.child = max(u.child, highWater(child))
	}
}

func (u *usage) check(t *testing.T) {
	t.Helper()
	u.cancel()
	<-u.done
	worker := highWater(u.pid)
	t.Logf("the worker took %d MB, and had %d children of %d MB at most", worker, u.children, u.child)
	if worker == 0 || worker > maxWorkerMB || u.child > maxChildMB {
		t.Errorf("the worker took %d MB (of %d) and a child %d (of %d)", worker, maxWorkerMB, u.child, maxChildMB)
	}
	if u.children == 0 || u.children > maxChildren {
		t.Errorf("%d children at a time, want 1 to %d", u.children, maxChildren)
	}
}

// childrenOf are the processes that a process started; proc(5).
func childrenOf(pid int) (children []int) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range all {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, _ := os.ReadFile("/proc/" + entry.Name() + "/stat")
		_, rest, _ := strings.Cut(string(text), ") ") // the name before may hold anything
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			children = append(children, child)
		}
	}
	return children
}

// highWater is the most memory that a process ever held, in MB; 0 when it is gone.
func highWater(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kb, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return kb >> 10
}
