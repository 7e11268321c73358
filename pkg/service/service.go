// Package service runs a program: its parts together, the admin listener with
// health, readiness and metrics, signals and a shutdown that ends in time.
//
// It imports config and telemetry and knows no service. A part that ends before
// it was asked to ends the program; nothing starts before the configuration is
// whole.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// ShutdownLimit is how long parts may take to end after they were asked to.
// Kubernetes kills after 30 s.
const ShutdownLimit = 20 * time.Second

// Part is something that runs until its context ends.
type Part struct {
	Name string
	Run  func(ctx context.Context) error
}

// Run runs parts until ctx ends or one of them does, then ends all. It returns
// the error of the part that ended first by itself, and names the parts that
// have not ended within the limit.
func Run(ctx context.Context, log *slog.Logger, limit time.Duration, parts ...Part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan ending, len(parts))
	for _, p := range parts {
		go func() { ended <- ending{p.Name, p.Run(ctx)} }()
	}
	w := waiter{log: log, running: names(parts)}
	if len(parts) > 0 {
		w.first(ctx, ended)
	}
	cancel()
	return errors.Join(w.err, w.rest(ended, limit))
}

type ending struct {
	name string
	err  error
}

func names(parts []Part) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p.Name
	}
	return out
}

// waiter sees the parts end.
type waiter struct {
	log     *slog.Logger
	running []string
	err     error
}

// first waits for the end of the context or of a part, which is an error.
func (w *waiter) first(ctx context.Context, ended <-chan ending) {
	select {
	case <-ctx.Done():
	case e := <-ended:
		w.remove(e.name)
		if ctx.Err() != nil {
			return
		}
		w.err = fmt.Errorf("run %s: ended by itself", e.name)
		if e.err != nil {
			w.err = fmt.Errorf("run %s: %w", e.name, e.err)
		}
	}
}

// rest waits for the other parts, within the limit.
func (w *waiter) rest(ended <-chan ending, limit time.Duration) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	for len(w.running) > 0 {
		select {
		case e := <-ended:
			w.remove(e.name)
			if e.err != nil && !errors.Is(e.err, context.Canceled) {
				w.log.Warn("a part ended with an error", "part", e.name, "error", e.err)
			}
		case <-late.C:
			return fmt.Errorf("shut down: %s still running after %s", strings.Join(w.running, ", "), limit)
		}
	}
	return nil
}

func (w *waiter) remove(name string) {
	if i := slices.Index(w.running, name); i >= 0 {
		w.running = slices.Delete(w.running, i, i+1)
	}
}
