package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/policy"
	"github.com/plumb-gitops/plumb/pkg/reconcile"
	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/source"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// publishRetry is how long after NATS refused a request it is tried again.
const publishRetry = time.Second

// skew is how far the clocks of two workers may be apart.
const skew = 2 * time.Second

// want is a sync request that the state of an Application calls for. Every
// worker sees the same state, so the cause makes their requests one.
type want struct {
	cause  string
	reason string
	hint   string
	id     string // of a person's request
}

// changes asks for the syncs that new, changed and deleted Applications call for.
type changes struct {
	catalog interface {
		Get(app.Key) (*v1alpha1.Application, bool)
	}
	sources  source.Policy
	store    *git.Store
	heads    *reconcile.Heads
	requests *requests
	log      *slog.Logger

	mu      sync.Mutex
	pending map[app.Key]bool
	wake    chan struct{}
}

// Observe notes that an Application may call for a sync. It never blocks.
func (c *changes) Observe(_, now *v1alpha1.Application) {
	if now == nil {
		return
	}
	c.mu.Lock()
	c.pending[now.Key()] = true
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run publishes requests until ctx ends. What NATS does not take stays pending.
func (c *changes) Run(ctx context.Context) error {
	retry := time.NewTicker(publishRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-retry.C:
		}
		c.drain(ctx)
	}
}

func (c *changes) drain(ctx context.Context) {
	for _, key := range c.take() {
		a, found := c.catalog.Get(key)
		if !found {
			continue
		}
		if err := c.ask(ctx, a, ""); err != nil {
			c.log.DebugContext(ctx, "request not published; trying again", "application", key.String(), "error", err)
			c.mu.Lock()
			c.pending[key] = true
			c.mu.Unlock()
		}
	}
}

func (c *changes) take() []app.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []app.Key
	for key := range c.pending {
		keys = append(keys, key)
	}
	clear(c.pending)
	return keys
}

// ask publishes what the Application calls for; nonce tells a repetition from
// the first request.
func (c *changes) ask(ctx context.Context, a *v1alpha1.Application, nonce string) error {
	w, wanted := c.want(ctx, a)
	if !wanted {
		return nil
	}
	return c.requests.publish(ctx, fmt.Sprintf("%s/%s%s", a.UID, w.cause, nonce), &eventsv1.SyncRequested{
		Cluster: c.requests.cluster, Namespace: a.Namespace, Name: a.Name,
		Reason: w.reason, RevisionHint: w.hint, RequestId: w.id,
	})
}

// want is what an Application calls for, by its own state or by a newer commit.
func (c *changes) want(ctx context.Context, a *v1alpha1.Application) (want, bool) {
	if w, wanted := wants(a); wanted {
		return w, true
	}
	return c.behind(ctx, a)
}

// wants is what the Application's own state calls for.
func wants(a *v1alpha1.Application) (want, bool) {
	sync := a.Annotations[v1alpha1.SyncAnnotation]
	confirm := a.Annotations[v1alpha1.ConfirmPruneAnnotation]
	switch {
	case !a.DeletionTimestamp.IsZero():
		return want{cause: "deleted", reason: event.ReasonSpec}, true
	case sync != "" && sync != a.Status.Requested:
		return want{cause: "sync/" + sync, reason: event.ReasonManual, id: sync}, true
	case confirm != "" && confirm != a.Status.Confirmed && blocked(a):
		return want{cause: "confirm/" + confirm, reason: event.ReasonManual}, true
	case a.Status.ObservedGeneration != a.Generation:
		return want{cause: fmt.Sprintf("generation/%d", a.Generation), reason: event.ReasonSpec}, true
	}
	return want{}, false
}

func blocked(a *v1alpha1.Application) bool {
	ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == string(fault.PruneBlocked)
}

// behind is for a push that came while an attempt at an older commit was under
// way: by the status of then it touched nothing (docs/decisions/001). An attempt
// that began after this process fetched has seen a commit at least as new.
func (c *changes) behind(ctx context.Context, a *v1alpha1.Application) (want, bool) {
	last := a.Status.LastAttempt
	if last == nil || policy.Suspended(a, time.Now()) || a.Spec.Sync.Mode == v1alpha1.ModeManual {
		return want{}, false
	}
	for _, f := range source.Trees(a) {
		if commit, newer := c.newer(ctx, a, f); newer && !held(a, f, commit) {
			w := want{cause: fmt.Sprintf("behind/%d/%s", last.Number, commit.SHA), reason: event.ReasonPush}
			if f.Name == "" {
				w.hint = commit.SHA
			}
			return w, true
		}
	}
	return want{}, false
}

// held says whether a commit is known to wait already, for what wakes it. Which
// commits of further sources do is not told: whatever wakes it fetches them anew.
func held(a *v1alpha1.Application, f source.Followed, commit git.Commit) bool {
	w := a.Status.Waiting
	return w != nil && (f.Name != "" || w.Revision == commit.SHA)
}

// newer returns the newest commit of one of the Application's trees that came too
// late for its last attempt. Whether it touches the Application is told here where the
// tree is all that it is made of, else by who has put it together with the others.
func (c *changes) newer(ctx context.Context, a *v1alpha1.Application, f source.Followed) (git.Commit, bool) {
	u, err := c.sources.URLOf(a, f)
	if err != nil || f.Artifact() {
		return git.Commit{}, false
	}
	commit, known := c.heads.Newest(u, f.Ref, f.Semver)
	if !known || !outrun(a.Status.LastAttempt, revisionOf(a, f), commit) {
		return git.Commit{}, false
	}
	if !source.Plain(a) {
		return commit, c.heads.Moves(a, f.Name, commit.SHA)
	}
	tree, err := c.store.Tree(ctx, u, commit.SHA)
	if err != nil || route.Why(route.Commit{SHA: commit.SHA, Tree: tree}, a) == "" {
		return git.Commit{}, false
	}
	return commit, true
}

// revisionOf is the commit of a tree that the last attempt was at.
func revisionOf(a *v1alpha1.Application, f source.Followed) string {
	last := a.Status.LastAttempt
	if f.Name == "" {
		return last.Revision
	}
	inputs := route.Read(a)
	if inputs == nil {
		return ""
	}
	for _, s := range inputs.Sources {
		if s.Name == f.Name {
			return s.Revision
		}
	}
	return ""
}

// outrun says whether a commit may have come too late for an attempt: its own
// fetch began earlier, give or take the clocks. One that failed before it had a
// commit knew none, and is repeated by its own request.
func outrun(last *v1alpha1.LastAttempt, revision string, commit git.Commit) bool {
	looked := last.StartedAt
	if last.FetchedAt != nil {
		looked = *last.FetchedAt
	}
	return revision != "" && revision != commit.SHA && !looked.After(commit.Began.Add(skew))
}
