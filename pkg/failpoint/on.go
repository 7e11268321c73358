//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const holdPoll = 10 * time.Millisecond

type spec struct {
	point  Point
	action string
	count  int64
}

var (
	hits   atomic.Int64
	wanted = sync.OnceValue(func() spec {
		s, err := parse(os.Getenv("PLUMB_FAILPOINT"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		return s
	})
)

// Hit marks a place and does what PLUMB_FAILPOINT says about it.
func Hit(p Point) error {
	s := wanted()
	if s.point != p || hits.Add(1) != s.count {
		return nil
	}
	fmt.Fprintf(os.Stderr, "failpoint %s: %s\n", p, s.action)
	if file := os.Getenv("PLUMB_FAILPOINT_REACHED"); file != "" {
		if err := os.WriteFile(file, []byte(p), 0o600); err != nil {
			return fmt.Errorf("mark failpoint %s as reached: %w", p, err)
		}
	}
	return s.act()
}

func (s spec) act() error {
	switch s.action {
	case "kill":
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return fmt.Errorf("failpoint %s: kill: %w", s.point, err)
		}
		select {}
	case "hold":
		for !exists(os.Getenv("PLUMB_FAILPOINT_RELEASE")) {
			time.Sleep(holdPoll)
		}
		return nil
	}
	return fmt.Errorf("failpoint %s", s.point)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func parse(text string) (spec, error) {
	if text == "" {
		return spec{}, nil
	}
	name, rest, _ := strings.Cut(text, "=")
	action, count, counted := strings.Cut(rest, ":")
	s := spec{point: Point(name), action: action, count: 1}
	if counted {
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || n < 1 {
			return spec{}, fmt.Errorf("parse PLUMB_FAILPOINT=%q: count %q: want a number from 1", text, count)
		}
		s.count = n
	}
	if !slices.Contains(All(), s.point) {
		return spec{}, fmt.Errorf("parse PLUMB_FAILPOINT=%q: no point %q; known: %q", text, name, All())
	}
	if !slices.Contains([]string{"kill", "hold", "error"}, action) {
		return spec{}, fmt.Errorf("parse PLUMB_FAILPOINT=%q: action %q: want kill, hold or error", text, action)
	}
	return s, nil
}
