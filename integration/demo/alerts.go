package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/plumb-gitops/plumb/integration/demo/screen"
	"github.com/plumb-gitops/plumb/integration/demo/slack"
)

// trouble is one incident, from the push that causes it.
type trouble struct {
	reason string // of the Ready condition
	from   marks  // before everything
	alert  outcome
}

func brokenCommit(ctx context.Context, w *world) (outcome, error) {
	good, t := deploymentOf(inGit), trouble{reason: "RenderFailed", from: w.mark()}
	err := w.raise(ctx, &t, "web: a commit whose YAML cannot be read", func(ctx context.Context) (pushed, error) {
		return w.write(ctx, "Break the Deployment", deploymentFile, strings.Replace(good, "template:", "template: {", 1))
	})
	if err != nil {
		return outcome{}, err
	}
	if err := w.repeat(ctx, t, strings.Replace(good, "template:", "template: [", 1)); err != nil {
		return outcome{}, err
	}
	if err := w.untouched(t); err != nil {
		return outcome{}, err
	}
	return w.recover(ctx, t, "web: the fix", func(ctx context.Context) (pushed, error) {
		return w.write(ctx, "Mend the Deployment", deploymentFile, good)
	})
}

func crash(ctx context.Context, w *world) (outcome, error) {
	t := trouble{reason: "HealthFailed", from: w.mark()}
	release := strings.NewReplacer("pause:3.10", "pause:crash", "  selector:", "  progressDeadlineSeconds: 5\n  selector:").
		Replace(deploymentOf(inGit))
	err := w.raise(ctx, &t, "web: image registry.k8s.io/pause:crash", func(ctx context.Context) (pushed, error) {
		return w.write(ctx, "Release a new version", deploymentFile, release)
	})
	if err != nil {
		return outcome{}, err
	}
	return w.recover(ctx, t, "web: git revert", func(ctx context.Context) (pushed, error) {
		return w.pushed(ctx, func() error {
			_, err := w.repo.Git(ctx, "revert", "--no-edit", "HEAD")
			return err
		})
	})
}

// raise pushes something bad and waits for the alert.
func (w *world) raise(ctx context.Context, t *trouble, text string, push func(context.Context) (pushed, error)) (err error) {
	t.alert, err = w.step(ctx, text, func(ctx context.Context) (outcome, error) {
		p, err := push(ctx)
		if err != nil {
			return outcome{}, err
		}
		if _, err := w.awaitObject(ctx, p.from.changes, applications, home, "web", failedWith(t.reason)); err != nil {
			return outcome{}, err
		}
		m, err := w.awaitMessage(ctx, p.from.messages, t.reason)
		return outcome{took: m.At.Sub(p.at), note: "until Slack has the alert; " + short(p.sha)}, err
	})
	return err
}

// repeat pushes what is broken as well, and waits until Plumb has found that out.
func (w *world) repeat(ctx context.Context, t trouble, content string) error {
	_, err := w.step(ctx, "web: another broken commit, no second message", func(ctx context.Context) (outcome, error) {
		p, err := w.write(ctx, "Break it differently", deploymentFile, content)
		if err != nil {
			return outcome{}, err
		}
		f, err := w.awaitFinished(ctx, p.from.facts, "web", p.sha)
		if err != nil {
			return outcome{}, err
		}
		return outcome{note: "attempt " + f.data.GetResult() + "; " + short(p.sha)}, w.exactly(t.from, 1)
	})
	return err
}

// untouched says that nothing was written to the Deployment meanwhile.
func (w *world) untouched(t trouble) error {
	var failed error
	for _, c := range w.kube.changes.Since(t.from.changes) {
		if c.is(deployments, target("web"), "web") && (c.gone || !running(inGit)(c)) {
			failed = errors.New("the Deployment was changed by a commit that cannot be rendered")
		}
	}
	w.screen.Step(screen.Line{Failed: failed != nil, Text: fmt.Sprintf("web: all %d replicas run as before", inGit)})
	return failed
}

// recover pushes what is good again, waits for the message that says so, and
// sums up.
func (w *world) recover(ctx context.Context, t trouble, text string, push func(context.Context) (pushed, error)) (outcome, error) {
	mended, err := w.step(ctx, text, func(ctx context.Context) (outcome, error) {
		p, err := push(ctx)
		if err != nil {
			return outcome{}, err
		}
		if _, err := w.awaitObject(ctx, p.from.changes, applications, home, "web", readyAt(p.sha)); err != nil {
			return outcome{}, err
		}
		m, err := w.awaitMessage(ctx, p.from.messages, "recovered")
		return outcome{took: m.At.Sub(p.at), note: "until Slack has the recovery; " + short(p.sha)}, err
	})
	if err != nil {
		return outcome{}, err
	}
	_, err = w.step(ctx, "exactly one alert and one recovery", func(context.Context) (outcome, error) {
		return outcome{}, w.exactly(t.from, 2)
	})
	return outcome{took: t.alert.took, note: "until the alert; recovery told " + screen.Duration(mended.took) + " after the fix"}, err
}

// awaitMessage waits for a message to Slack whose head ends so.
func (w *world) awaitMessage(ctx context.Context, mark int, end string) (slack.Message, error) {
	m, err := w.slack.Messages.Await(ctx, mark, func(m slack.Message) bool {
		return m.Refused == nil && m.Head == fmt.Sprintf("%s/web on %s: %s", home, clusterName, end)
	})
	if err != nil {
		return m, fmt.Errorf("wait for a message to Slack about %s: %w", end, err)
	}
	return m, nil
}

// exactly counts the messages that Slack got, refused ones too.
func (w *world) exactly(from marks, n int) error {
	got := w.slack.Messages.Since(from.messages)
	if len(got) == n {
		return nil
	}
	heads := make([]string, len(got))
	for i, m := range got {
		heads[i] = m.Head
	}
	return fmt.Errorf("Slack got %d messages, want %d: %s", len(got), n, strings.Join(heads, "; "))
}
