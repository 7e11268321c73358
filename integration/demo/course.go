package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/integration/demo/screen"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// course is where the time of one push went, by stage, in order.
type course []stage

type stage struct {
	name string
	took time.Duration
}

// course reads it from the facts of a push to web.
func (w *world) course(ctx context.Context, p pushed) (course, error) {
	f, err := w.awaitFinished(ctx, p.from.facts, "web", p.sha)
	if err != nil {
		return nil, err
	}
	told := map[event.Type]time.Time{}
	for _, e := range w.plumb.facts.Since(p.from.facts) {
		told[event.Type(e.GetType())] = e.GetTime().AsTime()
	}
	return courseOf(p.at, told, f.data.GetStages()), nil
}

// courseOf puts together what the facts say: when the push was taken, when it
// was told, routed and begun, and the stages of the attempt. Between the plan
// and the fact that an attempt began lies its first status write.
func courseOf(at time.Time, told map[event.Type]time.Time, stages []*eventsv1.Stage) course {
	c := course{
		{"webhook", told[event.GitPush].Sub(at)},
		{"route", told[event.GitRouted].Sub(told[event.GitPush])},
	}
	claim := told[event.SyncStarted].Sub(told[event.GitRouted])
	for _, s := range stages {
		if s.GetName() == "apply" {
			c = append(c, stage{"claim", max(claim, 0)})
			claim = 0
		}
		took := s.GetDuration().AsDuration()
		claim -= took
		c = append(c, stage{s.GetName(), took})
	}
	return c
}

// describe tells the median of every stage, in the order in which they come;
// what takes less than a tenth of a millisecond is left out.
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
	var parts []string
	for _, name := range order {
		if median := screen.Median(times[name]); median >= 100*time.Microsecond {
			parts = append(parts, name+" "+screen.Duration(median))
		}
	}
	return cmp.Or(strings.Join(parts, " → "), "not told")
}
