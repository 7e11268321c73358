package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/plumb-gitops/plumb/integration/demo/screen"
)

// scenario is one thing that is shown.
type scenario struct {
	title, story string
	play         func(context.Context, *world) (outcome, error)
}

// outcome is the row of a scenario in the summary.
type outcome struct {
	took time.Duration
	note string
}

// limit is how long one step of a scenario may take before it failed.
const limit = 90 * time.Second

// play does all and returns the exit code.
func play(ctx context.Context, o options, s *screen.Screen) int {
	remove, err := prepareDir(&o)
	if err != nil {
		s.Failure(err)
		return 1
	}
	defer remove()
	s.Title("Plumb", "a demonstration; everything runs on this machine and listens on loopback only")
	s.Heading("Starting", "")
	began := time.Now()
	w, err := open(ctx, o, s)
	defer w.shut()
	if err != nil {
		s.Failure(err)
		return 1
	}
	failed := w.playAll(scenarios(), began)
	switch {
	case ctx.Err() != nil:
		return 1 // somebody ended it before it was through
	case !o.once && w.life.Err() == nil:
		failed = w.stay(ctx) || failed
	}
	if failed {
		return 1
	}
	return 0
}

// prepareDir makes the directory of all files. A temporary one is removed.
func prepareDir(o *options) (remove func(), err error) {
	if o.dir == "" {
		o.dir, err = os.MkdirTemp("", "plumb-demo-")
		if err != nil {
			return nil, fmt.Errorf("make a directory: %w", err)
		}
		return func() { _ = os.RemoveAll(o.dir) }, nil
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	inside, err := os.ReadDir(o.dir)
	if err == nil && len(inside) > 0 {
		err = fmt.Errorf("%s is not empty; name a new directory", o.dir)
	}
	return func() {}, err
}

// playAll plays the scenarios in order and sums them up. One that fails does not
// keep the next from being tried; a part that ends does.
func (w *world) playAll(all []scenario, began time.Time) (failed bool) {
	var rows []screen.Line
	for i, s := range all {
		title := strconv.Itoa(i+1) + "  " + s.title
		w.screen.Heading(title, s.story)
		out, err := s.play(w.life, w)
		rows = append(rows, screen.Line{Failed: err != nil, Text: title, Took: out.took, Note: out.note})
		failed = failed || err != nil
		switch {
		case w.life.Err() != nil:
			w.screen.Failure(context.Cause(w.life))
			failed = true
		case err != nil && i > 0:
			w.mend(w.life)
		}
		if w.life.Err() != nil || err != nil && i == 0 {
			break // the others play with what the first brings
		}
	}
	if w.life.Err() == nil {
		w.showApplications()
	}
	w.screen.Heading("Summary", "")
	for _, r := range rows {
		w.screen.Step(r)
	}
	w.screen.Step(screen.Line{Failed: failed, Text: "altogether", Took: time.Since(began)})
	return failed
}

// mend brings web back to what the next scenario begins with, where the one that
// failed left something else.
func (w *world) mend(ctx context.Context) {
	now, err := os.ReadFile(filepath.Join(w.repo.Work, deploymentFile))
	if err == nil && string(now) == deploymentOf(inGit) {
		return
	}
	_, _ = w.step(ctx, "web: back to what it was", func(ctx context.Context) (outcome, error) {
		p, err := w.write(ctx, "Begin anew", deploymentFile, deploymentOf(inGit))
		if err != nil {
			return outcome{}, err
		}
		c, err := w.awaitObject(ctx, p.from.changes, applications, home, "web", readyAt(p.sha))
		return outcome{took: c.at.Sub(p.at)}, err
	})
}

// showApplications prints what people see who ask Plumb.
func (w *world) showApplications() {
	w.screen.Heading("plumb get", "")
	cmd := exec.CommandContext(w.life, w.plumb.binary, "get")
	cmd.Env = append(os.Environ(), "PLUMB_SERVER="+w.plumb.api, "PLUMB_TOKEN_FILE="+w.plumb.token)
	out, err := cmd.CombinedOutput()
	w.screen.Text(string(out))
	if err != nil && w.life.Err() == nil {
		w.screen.Failure(fmt.Errorf("plumb get: %w", err))
	}
}

// shut ends all parts and tells what could not be cleaned up.
func (w *world) shut() {
	done := w.screen.Progress("ending and cleaning up")
	err := w.close()
	done()
	if err != nil {
		w.screen.Failure(err)
	}
}

// showMessages prints what Slack got since it was last called.
func (w *world) showMessages() {
	for _, m := range w.slack.Messages.Since(w.shown) {
		w.shown++
		if m.Refused != nil {
			w.screen.Box("Slack refuses a message", m.Refused.Error())
			continue
		}
		w.screen.Box("Slack, channel ops", m.Lines...)
	}
}

// step does one thing and prints how long it took: the time that do returns.
func (w *world) step(ctx context.Context, text string, do func(context.Context) (outcome, error)) (outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not seen within %s", limit))
	defer cancel()
	done := w.screen.Progress(text)
	out, err := do(ctx)
	done()
	if err != nil {
		out.took = 0 // what was waited for did not come
	}
	w.screen.Step(screen.Line{Failed: err != nil, Text: text, Took: out.took, Note: out.note})
	if err != nil && w.life.Err() == nil { // else it is told once, for all
		w.screen.Failure(err)
	}
	w.showMessages()
	return out, err
}
