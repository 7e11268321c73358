package worker

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/reconcile"
	"github.com/plumb-gitops/plumb/pkg/source"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// release is a repository whose tags Applications follow, and its router.
type release struct {
	*testing.T
	server       *gitserver.Server
	repo         *gitserver.Repo
	router       *router
	applications listed
	sequence     uint64
}

type listed []*v1alpha1.Application

func (l listed) All() []*v1alpha1.Application { return l }

func newRelease(t *testing.T, ranges map[string]string) *release {
	t.Helper()
	server, err := gitserver.New(t.TempDir(), gitserver.Options{})
	must(t, err)
	must(t, server.Start())
	t.Cleanup(func() { must(t, server.Stop()) })
	repo, err := server.Create(t.Context(), "config")
	must(t, err)
	store, err := git.Open(t.TempDir(), git.Options{Wait: func(context.Context, time.Duration) error { return nil }})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	log := slog.New(slog.DiscardHandler)
	nats, err := embedded.Start(t.TempDir(), embedded.Options{Log: log})
	must(t, err)
	t.Cleanup(nats.Stop)
	b, err := bus.Open(t.Context(), bus.Options{InProcess: nats, Cluster: "local", Log: log})
	must(t, err)
	t.Cleanup(b.Close)
	r := &release{T: t, server: server, repo: repo}
	for name, wanted := range ranges {
		a := &v1alpha1.Application{}
		a.Namespace, a.Name = "team-a", name
		a.Spec.Source = v1alpha1.Source{Repo: repo.URL(), Semver: wanted, Path: "."}
		if wanted == "" {
			a.Spec.Source.Ref = "main"
		}
		r.applications = append(r.applications, a)
	}
	r.router = &router{
		cluster: "local", catalog: r.applications, store: store, heads: reconcile.NewHeads(store, time.Now),
		sources:  source.Policy{Git: config.Git{InsecureHosts: []string{"127.0.0.1"}}},
		requests: &requests{bus: b, cluster: "local", now: time.Now},
	}
	return r
}

// tag pushes a commit of its own under a tag, and returns it.
func (r *release) tag(name string) string {
	r.Helper()
	sha, err := r.repo.Commit(r.Context(), name, map[string][]byte{"cm.yaml": []byte("tag: " + name + "\n")})
	must(r.T, err)
	_, err = r.repo.Git(r.Context(), "tag", "-f", "-a", "-m", "x", name)
	must(r.T, err)
	must(r.T, r.repo.Push(r.Context(), "+refs/tags/"+name))
	return sha
}

func (r *release) untag(name string) {
	r.Helper()
	must(r.T, r.repo.Push(r.Context(), ":refs/tags/"+name))
}

// route routes a push and brings every Application that it wakes up to date.
func (r *release) route(ref, after string) (woken []string, to string) {
	r.Helper()
	r.sequence++
	push := &eventsv1.GitPush{Repo: strings.TrimSuffix(strings.TrimPrefix(r.repo.URL(), "http://"), ".git"), Ref: ref, After: after}
	found, err := r.router.route(r.Context(), push, bus.Delivery{Event: event.Event{ID: ref + after, Sequence: r.sequence}, Deliveries: 1})
	must(r.T, err)
	for _, touched := range found.decision.Affected {
		woken = append(woken, touched.Key.Name)
		i := slices.IndexFunc(r.applications, func(a *v1alpha1.Application) bool { return a.Name == touched.Key.Name })
		r.sync(r.applications[i])
	}
	slices.Sort(woken)
	return woken, found.commit
}

// sync makes the status that of an attempt at what the Application leads to now.
func (r *release) sync(a *v1alpha1.Application) {
	r.Helper()
	q, err := r.router.sources.Query(r.Context(), a)
	must(r.T, err)
	last := &v1alpha1.LastAttempt{Number: 1, Result: v1alpha1.ResultFailed, StartedAt: metav1.NowMicro()}
	a.Status.LastAttempt = last
	commit, err := r.router.heads.At(r.Context(), q)
	if err != nil {
		return
	}
	tree, err := r.router.store.Tree(r.Context(), q.URL, commit.SHA)
	must(r.T, err)
	digest, err := tree.Digest(".", nil)
	must(r.T, err)
	last.Result, last.Revision = v1alpha1.ResultSucceeded, commit.SHA
	a.Status.Inputs = &v1alpha1.Inputs{Digest: digest}
}

func TestAPushOfATagWakesThoseWhoseChoiceItChanges(t *testing.T) {
	r := newRelease(t, map[string]string{"patch": "~1.0", "minor": "1.x", "next": "2.x", "early": ">=1.0.0-0 <2", "branch": ""})
	first := r.tag("v1.0.0")
	r.tag("v2.0.0")
	must(t, r.repo.Push(t.Context()))
	for _, a := range r.applications {
		r.sync(a)
	}
	none := strings.Repeat("0", 40)
	shas := map[string]string{"v1.0.0": first}
	steps := []struct {
		name, push, delete string
		woken              []string
		to                 string // the tag whose commit routing found; empty: not looked at
	}{
		{name: "a minor release", push: "v1.1.0", woken: []string{"early", "minor"}, to: "v1.1.0"},
		{name: "a patch of an older line", push: "v1.0.1", woken: []string{"patch"}, to: "v1.0.1"},
		{name: "a pre-release", push: "v1.2.0-rc.1", woken: []string{"early"}, to: "v1.2.0-rc.1"},
		{name: "a tag that is no version", push: "docs"},
		{name: "a version that is in no range", push: "v3.0.0"},
		{name: "one that is older than what is chosen", push: "v1.0.0-rc.1"},
		{name: "a deletion leads to the next best", delete: "v1.2.0-rc.1", woken: []string{"early"}, to: "v1.1.0"},
		{name: "one of a tag that nobody chose", delete: "v1.0.0"},
		{name: "one that leaves nothing wakes all, to be told so", delete: "v2.0.0", woken: []string{"next"}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			after := none
			if step.push != "" {
				shas[step.push] = r.tag(step.push)
				object, err := r.repo.Git(t.Context(), "rev-parse", "refs/tags/"+step.push)
				must(t, err)
				after = object
			} else {
				r.untag(step.delete)
			}
			woken, to := r.route("refs/tags/"+step.push+step.delete, after)
			if diff := cmp.Diff(step.woken, woken); diff != "" {
				t.Errorf("woken (-want +got):\n%s", diff)
			}
			if step.to != "" && to != shas[step.to] {
				t.Errorf("routed to %s, want that of %s", to, step.to)
			}
		})
	}
}

func TestAPushOfATagInNoRangeFetchesNothing(t *testing.T) {
	r := newRelease(t, map[string]string{"minor": "1.x"})
	r.tag("v1.0.0")
	lists := r.server.Lists()
	for _, ref := range []string{"refs/tags/docs", "refs/tags/v2.0.0", "refs/tags/v1.9", "refs/heads/v1.1.0"} {
		r.route(ref, strings.Repeat("5", 40))
	}
	if n := r.server.Lists() - lists; n != 0 {
		t.Errorf("refs were listed %d times", n)
	}
	r.route("refs/tags/v1.0.1", strings.Repeat("5", 40)) // may be there behind a replica
	if r.server.Lists() == lists {
		t.Error("a push in the range led to no look")
	}
}

// What the push names is the tag, or nothing: an attempt that waited for that would
// wait in vain.
func TestARequestNamesTheCommitThatRoutingFound(t *testing.T) {
	r := newRelease(t, map[string]string{"minor": "1.x"})
	first := r.tag("v1.0.0")
	r.tag("v1.1.0")
	r.sync(r.applications[0])
	r.untag("v1.1.0")
	r.route("refs/tags/v1.1.0", strings.Repeat("0", 40))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	hint := ""
	must(t, r.router.requests.bus.Work(ctx, "local", 1, func(_ context.Context, task *bus.Task) error {
		hint = task.Event.Data.(*eventsv1.SyncRequested).GetRevisionHint()
		cancel()
		return nil
	}))
	if hint != first {
		t.Errorf("the request names %q, want %s", hint, first)
	}
}
