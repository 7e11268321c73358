package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
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

// deciding is how many groups of Applications are looked at at a time.
const deciding = 64

// patience is how long a push waits for what Applications are made of besides one
// tree of Git: longer than a fetch waits for an announced commit. Those of which it is
// not known by then look for themselves.
const patience = 5 * time.Second

// routing is how many pushes are routed at a time. Their order does not matter: what one
// leads to is read from Git, after it.
const routing = 4

// pushes are what a router consumes.
func pushes(cluster string) bus.Consumer {
	c := bus.RouteConsumer(cluster)
	c.Concurrency = routing
	return c
}

// maxListed is how many affected Applications a git.routed fact names.
const maxListed = 500

// lister knows the Applications of the cluster.
type lister interface {
	All() []*v1alpha1.Application
}

// router turns pushes into sync requests for the Applications they touch.
type router struct {
	cluster  string
	catalog  lister
	sources  source.Policy
	store    *git.Store
	heads    *reconcile.Heads
	assemble assemble
	requests *requests
	patience time.Duration // 0: patience
}

// assemble fetches all that an Application is made of.
type assemble func(context.Context, *v1alpha1.Application, source.Freshness) (source.Assembly, error)

// followed are the Applications of one ref that one fetch can serve, or a single one
// that is made of more than a tree of Git.
type followed struct {
	query        git.Query
	unfit        error // why there is no query
	composed     bool
	main         bool   // the push is one of spec.source
	name         string // else the source that it is one of
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
	result, err := r.route(ctx, push, d)
	end(err)
	if err != nil {
		return err
	}
	return r.tell(ctx, push, d.Event, result)
}

func (r *router) route(ctx context.Context, push *eventsv1.GitPush, d bus.Delivery) (routed, error) {
	mark := r.heads.Saw(d.Event.Sequence)
	l := look{
		Freshness: source.Freshness{After: mark, Repo: push.GetRepo(), Want: push.GetAfter(), WantRef: push.GetRef()},
		again:     d.Deliveries > 1, until: time.Now().Add(cmp.Or(r.patience, patience)),
	}
	groups := r.groups(ctx, push)
	found, failed := make([]routed, len(groups)), make([]error, len(groups))
	var all errgroup.Group
	all.SetLimit(deciding)
	for i, group := range groups {
		all.Go(func() error {
			if found[i], failed[i] = r.decide(ctx, group, l); failed[i] == nil {
				failed[i] = r.request(ctx, found[i], group, push, d.Event)
			}
			return nil
		})
	}
	_ = all.Wait()
	return sum(push, found), errors.Join(failed...)
}

// look is how it is looked for what a push means.
type look struct {
	source.Freshness
	again bool      // the push was handed out before
	until time.Time // what is not known by then is for the attempts to find out
}

// sum adds up what the groups have found. The commit is that of the pushed ref, where
// one of them found it.
func sum(push *eventsv1.GitPush, found []routed) (all routed) {
	for _, one := range found {
		if one.commit != "" && (all.commit == "" || one.ref == push.GetRef()) {
			all.commit = one.commit
		}
		all.decision.Affected = append(all.decision.Affected, one.decision.Affected...)
		all.decision.Unaffected += one.decision.Unaffected
	}
	return all
}

// groups are the Applications that the push may concern, by what is fetched for them:
// first those that need nothing else than what was pushed.
func (r *router) groups(ctx context.Context, push *eventsv1.GitPush) []*followed {
	var groups, composed []*followed
	index := map[access]*followed{}
	for _, a := range r.catalog.All() {
		concerned := r.sources.Concerned(a, push.GetRepo(), push.GetRef())
		switch {
		case len(concerned) == 0:
			continue
		case !source.Plain(a):
			composed = append(composed, &followed{composed: true, main: concerned[0].Name == "", name: concerned[0].Name, applications: []*v1alpha1.Application{a}})
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
	return append(groups, composed...)
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

func (r *router) decide(ctx context.Context, group *followed, l look) (routed, error) {
	if group.composed {
		return r.compose(ctx, group, l)
	}
	commit, err := git.Commit{}, group.unfit
	if err == nil {
		group.query.After, group.query.Want, group.query.WantRef = l.After, l.Want, l.WantRef
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

// compose decides about an Application by all that it is made of. Other hosts than that
// of the push have a part in that: one that is slow or away must not keep the push, so
// that the Application is asked to look for itself, and tells what it finds.
func (r *router) compose(ctx context.Context, group *followed, l look) (routed, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, l.until, errPatience)
	defer cancel()
	made, err := r.assemble(ctx, group.applications[0], l.Freshness)
	class, _ := fault.ClassOf(err)
	switch late := errors.Is(context.Cause(ctx), errPatience); {
	case err != nil && (class == fault.Permanent || l.again || late):
		return routed{decision: allOf(group.applications, err)}, nil
	case err != nil:
		return routed{}, err
	}
	commit := route.Commit{SHA: made.Revision, Sources: made.Sources, Tree: made.Tree}
	found := routed{commit: made.Revision, decision: route.Decide(commit, group.applications)}
	if found.decision.Unaffected > 0 {
		r.heads.Unmoved(group.applications[0], route.Commit{SHA: made.Revision, Sources: made.Sources})
	}
	for _, other := range made.Sources {
		if !group.main && other.Name == group.name {
			found.commit = other.Revision
		}
	}
	return found, nil
}

var errPatience = errors.New("what the Application is made of is not known in time")

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
// tag that nobody chose, or that was deleted. A push of another source than the
// Application's own tells no commit of that.
func (r *router) request(ctx context.Context, found routed, group *followed, push *eventsv1.GitPush, cause event.Event) error {
	hint := cmp.Or(found.commit, push.GetAfter())
	if group.composed && !group.main {
		hint = ""
	}
	requests, ctx := errgroup.WithContext(ctx)
	requests.SetLimit(publishing)
	for _, t := range found.decision.Affected {
		requests.Go(func() error {
			return r.requests.publish(ctx, cause.ID, &eventsv1.SyncRequested{
				Cluster: r.cluster, Namespace: t.Key.Namespace, Name: t.Key.Name, Reason: event.ReasonPush,
				RevisionHint: hint, EventSequence: cause.Sequence,
			})
		})
	}
	return requests.Wait()
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
