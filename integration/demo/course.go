package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/integration/demo/screen"
	"github.com/plumb-gitops/plumb/pkg/event"
)

// course is where the time of one push went, by stage, in order.
type course []stage

type stage struct {
	name string
	took time.Duration
}

// course reads it from the facts of a push to web: the times at which they were
// told, and the stages of the attempt.
func (w *world) course(ctx context.Context, p pushed) (course, error) {
	f, err := w.awaitFinished(ctx, p.from.facts, "web", p.sha)
	if err != nil {
		return nil, err
	}
	var c course
	last := p.at
	for _, e := range w.plumb.facts.Since(p.from.facts) {
		name := ""
		switch event.Type(e.GetType()) {
		case event.GitPush:
			name = "webhook"
		case event.GitRouted:
			name = "route"
		case event.SyncStarted:
			name = "start"
		}
		if at := e.GetTime().AsTime(); name != "" && at.After(last) {
			c = append(c, stage{name, at.Sub(last)})
			last = at
		}
	}
	for _, s := range f.data.GetStages() {
		c = append(c, stage{s.GetName(), s.GetDuration().AsDuration()})
	}
	return c, nil
}

// describe tells the median of every stage, in the order in which they come.
func describe(courses []course) string {
	var order []string
	times := map[string][]time.Duration{}
	for _, c := range courses {
		for _, s := range c {
			if !slices.Contains(order, s.name) {
				order = append(order, s.name)
			}
			times[s.name] = append(times[s.name], s.took)
		}
	}
	parts := make([]string, len(order))
	for i, name := range order {
		parts[i] = fmt.Sprintf("%s %s", name, screen.Duration(screen.Median(times[name])))
	}
	return cmp.Or(strings.Join(parts, ", "), "not told")
}
