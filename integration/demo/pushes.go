package main

import (
	"context"
	"fmt"
	"time"

	"github.com/plumb-gitops/plumb/integration/demo/screen"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// rounds is how many pushes are measured, and goal what their median must keep.
const (
	rounds = 11
	goal   = time.Second
)

func replicas(ctx context.Context, w *world) (outcome, error) {
	var live, ready []time.Duration
	var courses []course
	for i := range rounds {
		from, to := 2+i%2, 3-i%2
		_, err := w.step(ctx, fmt.Sprintf("web: replicas %d → %d", from, to), func(ctx context.Context) (outcome, error) {
			m, err := w.scale(ctx, to)
			if err != nil {
				return outcome{}, err
			}
			live, ready, courses = append(live, m.live), append(ready, m.ready), append(courses, m.course)
			return outcome{took: m.live, note: "live; ready after " + screen.Duration(m.ready) + "; " + short(m.sha)}, nil
		})
		if err != nil {
			return outcome{}, err
		}
	}
	w.screen.Remark("Where the time goes, medians: " + describe(courses))
	return w.judge(live, ready)
}

// judge holds the median of push to live to the goal.
func (w *world) judge(live, ready []time.Duration) (outcome, error) {
	median := screen.Median(live)
	out := outcome{took: median, note: fmt.Sprintf("median of %d, live; ready %s", len(live), screen.Duration(screen.Median(ready)))}
	line := screen.Line{Text: fmt.Sprintf("median of %d pushes, push to live", len(live)), Took: median, Note: "must be under " + screen.Duration(goal)}
	if median >= goal {
		line.Failed = true
		w.screen.Step(line)
		return out, fmt.Errorf("the median is not under %s", goal)
	}
	w.screen.Step(line)
	w.screen.Step(screen.Line{Text: fmt.Sprintf("median of %d pushes, push to ready", len(ready)), Took: screen.Median(ready)})
	return out, nil
}

// measured is what one push came to.
type measured struct {
	sha         string
	live, ready time.Duration
	course      course
}

func (w *world) scale(ctx context.Context, replicas int) (m measured, err error) {
	p, err := w.write(ctx, fmt.Sprintf("Run %d replicas of web", replicas), deploymentFile, deploymentOf(replicas))
	if err != nil {
		return m, err
	}
	n := int32(replicas)
	live, err := w.awaitObject(ctx, p.from.changes, deployments, target("web"), "web", wanted(n))
	if err != nil {
		return m, err
	}
	run, err := w.awaitObject(ctx, p.from.changes, deployments, target("web"), "web", running(n))
	if err != nil {
		return m, err
	}
	told, err := w.awaitObject(ctx, p.from.changes, applications, home, "web", readyAt(p.sha))
	if err != nil {
		return m, err
	}
	ready := run.at
	if told.at.After(ready) {
		ready = told.at
	}
	m = measured{sha: p.sha, live: live.at.Sub(p.at), ready: ready.Sub(p.at)}
	m.course, err = w.course(ctx, p)
	return m, err
}

func sharedBase(ctx context.Context, w *world) (outcome, error) {
	return w.step(ctx, "shop: CURRENCY in apps/shop/base", func(ctx context.Context) (outcome, error) {
		const file = "apps/shop/base/deployment.yaml"
		p, err := w.edit(ctx, "Sell in Swiss francs", file, "value: EUR", "value: CHF")
		if err != nil {
			return outcome{}, err
		}
		c, err := w.awaitObject(ctx, p.from.changes, deployments, target("shop"), "shop", func(c change) bool {
			return environment(c)["CURRENCY"] == "CHF"
		})
		if err != nil {
			return outcome{}, err
		}
		r, err := w.routed(ctx, p)
		if err != nil {
			return outcome{}, err
		}
		out := outcome{took: c.at.Sub(p.at), note: fmt.Sprintf("live; %d Application touched, %d not", len(r.GetAffected()), r.GetUnaffected())}
		if len(r.GetAffected()) != 1 || r.GetUnaffected() != 2 {
			return out, fmt.Errorf("the push touched %d Applications and left %d alone, want 1 and 2", len(r.GetAffected()), r.GetUnaffected())
		}
		_, err = w.awaitObject(ctx, p.from.changes, applications, home, "shop", readyAt(p.sha))
		return out, err
	})
}

// routed waits for what a push was found to touch.
func (w *world) routed(ctx context.Context, p pushed) (*eventsv1.GitRouted, error) {
	f, err := awaitFact(ctx, w.plumb, p.from.facts, event.GitRouted, func(m *eventsv1.GitRouted) bool { return m.GetTo() == p.sha })
	if err != nil {
		return nil, fmt.Errorf("wait for the fact git.routed: %w", err)
	}
	return f.data, nil
}
