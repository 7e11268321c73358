package driftscanner

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/policy"
	"github.com/plumb-gitops/plumb/pkg/source"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// tick is how often it is looked whose turn it is.
const tick = time.Second

// provider is what a push that the scanner found names as its provider.
const provider = "sweep"

// refs sweeps the refs of all used repositories, and asks for another try of
// what failed, once in every Application's interval.
type refs struct {
	catalog   *catalog.Catalog
	sources   source.Policy
	store     *git.Store
	publisher *publisher
	objects   *objects
	sets      *turns
	interval  time.Duration // of Applications that name none
	now       func() time.Time
	metrics   *Metrics // may be nil
	log       *slog.Logger

	mu   sync.Mutex
	next map[app.Key]time.Time
	seen map[ref]head // newest commit known to be announced
}

type ref struct {
	repo         string // canonical name
	name, semver string // as the Application has them
}

// listing is a repository as a credential sees it. Each reading of a Secret makes a
// credential of its own, which only its key tells to be the same.
type listing struct {
	url        git.URL
	credential string
}

// head is what a ref or range led to.
type head struct{ name, sha string }

// Run sweeps until ctx ends.
func (r *refs) Run(ctx context.Context) error {
	for pause(ctx, tick) {
		due := r.due()
		for _, a := range due {
			r.objects.forget(a.Key())
			r.objects.mark(a.Key())
			r.retry(ctx, a)
		}
		if all := append(due, r.sets.due()...); len(all) > 0 {
			r.sweep(ctx, all)
		}
		r.metrics.swept(len(due))
	}
	return nil
}

// due are the Applications whose turn it is. The first turn of each comes at a
// random moment of its interval, so that they spread out.
func (r *refs) due() []*v1alpha1.Application {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	next := make(map[app.Key]time.Time, len(r.next))
	var due []*v1alpha1.Application
	for _, a := range r.catalog.All() {
		interval := r.interval
		if given := a.Spec.Sync.Interval; given != nil {
			interval = given.Duration
		}
		at, known := r.next[a.Key()]
		switch {
		case !known:
			at = now.Add(rand.N(interval))
		case !at.After(now):
			due = append(due, a)
			at = now.Add(interval*9/10 + rand.N(interval/5))
		}
		next[a.Key()] = at
	}
	r.next = next
	return due
}

// retry asks for another attempt after a failure: what was wrong may be over.
func (r *refs) retry(ctx context.Context, a *v1alpha1.Application) {
	last := a.Status.LastAttempt
	if policy.Suspended(a, r.now()) || last == nil || last.Result != v1alpha1.ResultFailed || a.Spec.Sync.Mode == v1alpha1.ModeManual {
		return
	}
	r.ask(ctx, a, event.ReasonRetry)
}

func (r *refs) ask(ctx context.Context, a *v1alpha1.Application, reason string) {
	if err := r.publisher.request(ctx, "sweep/"+r.publisher.newID(), a.Key(), reason); err != nil {
		r.log.WarnContext(ctx, "sync not requested", "application", a.Key().String(), "reason", reason, "error", err)
	}
}

// Announced notes a push that a webhook told of.
func (r *refs) Announced(e event.Event) error {
	push, ok := e.Data.(*eventsv1.GitRouted)
	if ok && push.GetTo() != "" {
		r.mu.Lock()
		defer r.mu.Unlock()
		for key := range r.seen {
			if key.repo == r.sources.Canonical(push.GetRepo()) && r.moves(key, push.GetRef()) {
				r.seen[key] = head{name: push.GetRef(), sha: push.GetTo()}
			}
		}
	}
	return nil
}

// moves says whether a push of a ref has changed what a key leads to. One of an
// older tag leaves a range where it is; mu is held.
func (r *refs) moves(key ref, pushed string) bool {
	if !source.Follows(key.name, key.semver, pushed) {
		return false
	}
	if seen := r.seen[key]; key.semver != "" && seen.name != pushed {
		newest, _, err := git.Newest(map[string]string{seen.name: "", pushed: ""}, key.semver)
		return err == nil && newest == pushed
	}
	return true
}

// sweep lists each repository once for all its refs. Whether what has none moved is
// for an attempt to see, which ends at once when it did not.
func (r *refs) sweep(ctx context.Context, due []*v1alpha1.Application) {
	lists := map[listing]map[string]string{}
	done := map[ref]bool{}
	for _, a := range due {
		if policy.Suspended(a, r.now()) {
			continue
		}
		for _, f := range source.Trees(a) {
			key := ref{repo: r.sources.RepoOf(f), name: f.Ref, semver: f.Semver}
			if f.Artifact() || done[key] {
				continue
			}
			err := r.look(ctx, a, f, key, lists)
			done[key] = err == nil // else another Application's credential may serve
			if err != nil && ctx.Err() == nil {
				r.log.WarnContext(ctx, "ref not swept", "repo", key.repo, "ref", key.name, "semver", key.semver, "error", err)
			}
		}
		if source.Silent(a) && a.Spec.Sync.Mode != v1alpha1.ModeManual {
			r.ask(ctx, a, event.ReasonPush)
		}
	}
}

func (r *refs) look(ctx context.Context, a *v1alpha1.Application, f source.Followed, key ref, lists map[listing]map[string]string) error {
	query, err := r.sources.QueryOf(ctx, a, f)
	if err != nil {
		return err
	}
	what := listing{query.URL, query.Credential.Key()}
	list, listed := lists[what]
	if !listed {
		if list, err = r.store.Refs(ctx, query.URL, query.Credential); err != nil {
			return err
		}
		lists[what] = list
	}
	name, sha, err := key.in(list)
	if err != nil || name == "" || r.known(key, sha) {
		return err
	}
	push := &eventsv1.GitPush{Repo: key.repo, Ref: name, After: sha, Provider: provider}
	if err := r.publisher.send(ctx, event.GitPush, "", "", push); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[key] = head{name, sha}
	return nil
}

// in finds what the ref, or the range, leads to in a list of refs.
func (f ref) in(list map[string]string) (name, sha string, err error) {
	if f.semver != "" {
		return git.Newest(list, f.semver)
	}
	return git.Resolve(list, f.name)
}

// known says whether the newest commit of a ref was announced. That some
// Application has been at it says nothing: it may have come upon it by a retry or
// a repair, and the others of the ref would never hear of it. So each ref is
// announced once after a start.
func (r *refs) known(key ref, sha string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[key].sha == sha
}
