package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/reconcile"
	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/source"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// publishing is how many sync requests are under way to NATS at a time.
const publishing = 64

// maxListed is how many affected Applications a git.routed fact names.
const maxListed = 500

// router turns pushes into sync requests for the Applications they touch.
type router struct {
	cluster  string
	catalog  *catalog.Catalog
	sources  source.Policy
	store    *git.Store
	heads    *reconcile.Heads
	requests *requests
}

// followed are the Applications of one ref that one fetch can serve.
type followed struct {
	query        git.Query
	unfit        error // why there is no query
	applications []*v1alpha1.Application
}

// routed is what a push means, summed over the groups.
type routed struct {
	commit   string
	ref      string // that led to the commit
	decision route.Decision
}

// Handle routes one push. Requests that were published before an error are
// published again when the push comes back, under the same ids.
func (r *router) Handle(ctx context.Context, d bus.Delivery) error {
	push, ok := d.Event.Data.(*eventsv1.GitPush)
	if !ok {
		return fault.Refuse("", fault.Place{}, "route %s: not a push", d.Event.Describe())
	}
	ctx = telemetry.Continue(ctx, d.Event.Trace)
	ctx, end := telemetry.Start(ctx, "route", slog.String("repo", push.GetRepo()), slog.String("ref", push.GetRef()))
	result, err := r.route(ctx, push, d.Event)
	end(err)
	if err != nil {
		return err
	}
	return r.tell(ctx, push, d.Event, result)
}

func (r *router) route(ctx context.Context, push *eventsv1.GitPush, cause event.Event) (routed, error) {
	mark := r.heads.Saw(cause.Sequence)
	var sum routed
	var failed error
	for _, group := range r.groups(ctx, push) {
		group.query.After, group.query.Want, group.query.WantRef = mark, push.GetAfter(), push.GetRef()
		one, err := r.decide(ctx, group)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if err := r.request(ctx, one, push, cause); err != nil {
			failed = errors.Join(failed, err)
		}
		if sum.commit == "" || one.ref == push.GetRef() {
			sum.commit = one.commit
		}
		sum.decision.Affected = append(sum.decision.Affected, one.decision.Affected...)
		sum.decision.Unaffected += one.decision.Unaffected
	}
	return sum, failed
}

// groups are the Applications that the push may concern, by what is fetched for them.
func (r *router) groups(ctx context.Context, push *eventsv1.GitPush) []*followed {
	var groups []*followed
	index := map[access]*followed{}
	for _, a := range r.catalog.All() {
		if r.sources.Repo(a) != r.sources.Canonical(push.GetRepo()) || !follows(a, push) {
			continue
		}
		group, known := index[accessOf(a)]
		if !known {
			query, err := r.sources.Query(ctx, a)
			group = &followed{query: query, unfit: err}
			index[accessOf(a)] = group
			groups = append(groups, group)
		}
		group.applications = append(group.applications, a)
	}
	return groups
}

func follows(a *v1alpha1.Application, push *eventsv1.GitPush) bool {
	return source.Follows(a.Spec.Source.Ref, a.Spec.Source.Semver, push.GetRef())
}

// access is all that decides what is fetched and with which credential: equal
// ones share a fetch, and their credential is read once.
type access struct {
	repo, ref, semver, namespace, secret string
}

func accessOf(a *v1alpha1.Application) access {
	key := access{repo: a.Spec.Source.Repo, ref: a.Spec.Source.Ref, semver: a.Spec.Source.Semver, namespace: a.Namespace}
	if a.Spec.Source.SecretRef != nil {
		key.secret = a.Spec.Source.SecretRef.Name
	}
	return key
}

func (r *router) decide(ctx context.Context, group *followed) (routed, error) {
	commit, err := git.Commit{}, group.unfit
	if err == nil {
		commit, err = r.heads.At(ctx, group.query)
	}
	if class, _ := fault.ClassOf(err); err != nil && class == fault.Permanent {
		return routed{decision: allOf(group.applications, err)}, nil
	}
	if err != nil {
		return routed{}, err
	}
	tree, err := r.store.Tree(ctx, group.query.URL, commit.SHA)
	if err != nil {
		return routed{}, err
	}
	return routed{
		commit:   commit.SHA,
		ref:      commit.Ref,
		decision: route.Decide(route.Commit{SHA: commit.SHA, Tree: tree}, group.applications),
	}, nil
}

// allOf touches every Application, so that each tells in its status what keeps
// its source from being read.
func allOf(applications []*v1alpha1.Application, err error) route.Decision {
	var d route.Decision
	for _, a := range applications {
		d.Affected = append(d.Affected, route.Touched{Key: a.Key(), Why: err.Error()})
	}
	return d
}

// request asks for the commit that was found here: what the push names may be a
// tag that nobody chose, or that was deleted.
func (r *router) request(ctx context.Context, found routed, push *eventsv1.GitPush, cause event.Event) error {
	hint := cmp.Or(found.commit, push.GetAfter())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(publishing)
	for _, t := range found.decision.Affected {
		group.Go(func() error {
			return r.requests.publish(ctx, cause.ID, &eventsv1.SyncRequested{
				Cluster: r.cluster, Namespace: t.Key.Namespace, Name: t.Key.Name, Reason: event.ReasonPush,
				RevisionHint: hint, EventSequence: cause.Sequence,
			})
		})
	}
	return group.Wait()
}

// tell publishes what the push meant here, once per push and cluster.
func (r *router) tell(ctx context.Context, push *eventsv1.GitPush, cause event.Event, result routed) error {
	fact := &eventsv1.GitRouted{
		Repo: push.GetRepo(), Ref: push.GetRef(), From: push.GetBefore(), To: result.commit,
		Cluster: r.cluster, Unaffected: int32(result.decision.Unaffected),
	}
	for _, t := range result.decision.Affected {
		if len(fact.Affected) == maxListed {
			fact.Omitted = int32(len(result.decision.Affected) - maxListed)
			break
		}
		fact.Affected = append(fact.Affected, &eventsv1.AffectedApplication{Namespace: t.Key.Namespace, Name: t.Key.Name, Why: t.Why})
	}
	id := fmt.Sprintf("%s/routed/%s", cause.ID, r.cluster)
	return r.requests.send(ctx, event.GitRouted, id, cause.ID, fact)
}
