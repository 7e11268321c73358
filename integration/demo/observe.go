package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// marks are places in what is observed; what an action leads to comes after them.
type marks struct{ changes, facts, messages int }

func (w *world) mark() marks {
	return marks{changes: w.kube.changes.Mark(), facts: w.plumb.facts.Mark(), messages: w.slack.Messages.Mark()}
}

// pushed is a commit that the Git server took.
type pushed struct {
	sha  string
	at   time.Time // when the server had taken it: just before the client's push returns
	from marks
}

// push commits files and pushes them with the git client.
func (w *world) push(ctx context.Context, message string, content map[string][]byte) (pushed, error) {
	return w.pushed(ctx, func() error {
		_, err := w.repo.Commit(ctx, message, content)
		return err
	})
}

// pushed pushes what commit makes.
func (w *world) pushed(ctx context.Context, commit func() error) (pushed, error) {
	if err := commit(); err != nil {
		return pushed{}, err
	}
	sha, err := w.repo.Git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return pushed{}, err
	}
	p, mark := pushed{from: w.mark()}, w.pushes.Mark()
	if err := w.repo.Push(ctx); err != nil {
		return p, err
	}
	told, err := w.pushes.Await(ctx, mark, func(a announced) bool { return a.After == sha })
	if err != nil {
		return p, fmt.Errorf("wait for the post-receive hook: %w", err)
	}
	p.sha, p.at = sha, told.at
	return p, told.err
}

// write commits and pushes one file.
func (w *world) write(ctx context.Context, message, file, content string) (pushed, error) {
	return w.push(ctx, message, map[string][]byte{file: []byte(content)})
}

// edit replaces a text in a file of the repository, commits and pushes it.
func (w *world) edit(ctx context.Context, message, file, old, text string) (pushed, error) {
	now, err := os.ReadFile(filepath.Join(w.repo.Work, file))
	if err != nil {
		return pushed{}, fmt.Errorf("edit %s: %w", file, err)
	}
	return w.write(ctx, message, file, strings.Replace(string(now), old, text, 1))
}

// awaitObject waits until a watch shows an object that matches.
func (w *world) awaitObject(ctx context.Context, mark int, resource schema.GroupVersionResource, namespace, name string, match func(change) bool) (change, error) {
	c, err := w.kube.changes.Await(ctx, mark, func(c change) bool { return c.is(resource, namespace, name) && match(c) })
	if err != nil {
		return c, fmt.Errorf("wait for %s %s/%s: %w", resource.Resource, namespace, name, err)
	}
	return c, nil
}

// wanted matches a Deployment whose spec wants n replicas.
func wanted(n int32) func(change) bool {
	return func(c change) bool {
		d := into[appsv1.Deployment](c.object)
		return !c.gone && d.Spec.Replicas != nil && *d.Spec.Replicas == n
	}
}

// running matches a Deployment of which exactly n replicas run as its spec says.
func running(n int32) func(change) bool {
	return func(c change) bool {
		d := into[appsv1.Deployment](c.object)
		s := d.Status
		return wanted(n)(c) && s.ObservedGeneration == d.Generation && s.Replicas == n && s.UpdatedReplicas == n && s.AvailableReplicas == n
	}
}

// readyAt matches an Application that is Ready at a revision.
func readyAt(sha string) func(change) bool {
	return func(c change) bool {
		a := into[v1alpha1.Application](c.object)
		return a.Status.Revision == sha && meta.IsStatusConditionTrue(a.Status.Conditions, v1alpha1.ConditionReady)
	}
}

// failedWith matches an Application that is not Ready for a reason.
func failedWith(reason string) func(change) bool {
	return func(c change) bool {
		ready := meta.FindStatusCondition(into[v1alpha1.Application](c.object).Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Status == metav1.ConditionFalse && ready.Reason == reason
	}
}

// awaitFinished waits for the end of an attempt at a revision.
func (w *world) awaitFinished(ctx context.Context, mark int, name, sha string) (fact[*eventsv1.SyncFinished], error) {
	f, err := awaitFact(ctx, w.plumb, mark, event.SyncFinished, func(m *eventsv1.SyncFinished) bool {
		return m.GetNamespace() == home && m.GetName() == name && m.GetRevision() == sha && m.GetResult() != "superseded"
	})
	if err != nil {
		return f, fmt.Errorf("wait for the fact sync.finished of %s: %w", name, err)
	}
	return f, nil
}

func short(sha string) string { return sha[:min(8, len(sha))] }
