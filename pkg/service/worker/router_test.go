package worker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/source"
	"github.com/plumb-gitops/plumb/pkg/tree"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Nobody announces again a push that was routed, so none may be dropped here.
func TestAPushIsNotDroppedForASourceThatCannotBeReached(t *testing.T) {
	web := &v1alpha1.Application{}
	web.Namespace, web.Name = "team-a", "web"
	cases := map[string]struct {
		unfit error
		want  []route.Touched
		again bool
	}{
		"one that is refused is told so by an attempt": {
			unfit: fault.Refuse(fault.SourceRefused, fault.Place{}, "no"),
			want:  []route.Touched{{Key: app.Key{Namespace: "team-a", Name: "web"}, Why: "no"}},
		},
		"a credential that cannot be read now brings the push back": {
			unfit: fault.Retry(fault.SourceRefused, "the API server is away"), again: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := (&router{}).decide(t.Context(), &followed{unfit: c.unfit, applications: []*v1alpha1.Application{web}}, look{})
			if (err != nil) != c.again {
				t.Errorf("error %v, want one: %v", err, c.again)
			}
			if diff := cmp.Diff(c.want, got.decision.Affected); diff != "" {
				t.Errorf("affected (-want +got):\n%s", diff)
			}
		})
	}
}

// pushed routes a push of main for "plain", which is made of the pushed repository
// alone, and "made", which has a second source that assemble reads. It returns whom a
// request reached, in order, and the outcome.
func pushed(t *testing.T, deliveries uint64, assemble assemble) (asked []string, found routed, err error) {
	t.Helper()
	r := newRelease(t, map[string]string{"plain": "", "made": ""})
	r.tag("v1.0.0")
	must(t, r.repo.Push(t.Context()))
	for _, a := range r.applications {
		if a.Name == "made" {
			a.Spec.Sources = []v1alpha1.NamedSource{{Name: "values", Repo: "https://elsewhere.example.com/values"}}
		}
	}
	r.router.assemble, r.router.patience = assemble, 300*time.Millisecond
	sha, err := r.repo.Git(t.Context(), "rev-parse", "HEAD")
	must(t, err)
	push := &eventsv1.GitPush{Repo: r.router.sources.RepoOf(source.Main(r.applications[0])), Ref: "refs/heads/main", After: sha}
	found, err = r.router.route(t.Context(), push, bus.Delivery{Event: event.Event{ID: "push", Sequence: 1}, Deliveries: deliveries})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, r.router.requests.bus.Work(ctx, "local", 1, func(_ context.Context, task *bus.Task) error {
		if asked = append(asked, task.Event.Data.(*eventsv1.SyncRequested).GetName()); len(asked) == len(found.decision.Affected) {
			cancel()
		}
		return nil
	}))
	slices.Sort(asked)
	return asked, found, err
}

// One Application's second source must not keep a push from the others, nor be a
// reason to forget the Application.
func TestASecondSourceThatIsAwayHoldsUpNobody(t *testing.T) {
	away := func(context.Context, *v1alpha1.Application, source.Freshness) (source.Assembly, error) {
		return source.Assembly{}, fault.Retry(fault.FetchFailed, "connection refused")
	}
	hangs := func(ctx context.Context, _ *v1alpha1.Application, _ source.Freshness) (source.Assembly, error) {
		<-ctx.Done()
		return source.Assembly{}, fault.Retry(fault.FetchFailed, "fetch: %w", context.Cause(ctx))
	}
	found := func(context.Context, *v1alpha1.Application, source.Freshness) (source.Assembly, error) {
		return source.Assembly{Revision: "a", Tree: &tree.Memory{}}, nil
	}
	for name, c := range map[string]struct {
		assemble   assemble
		deliveries uint64
		asked      []string
		again      bool
	}{
		"one that is there is looked at":                                   {found, 1, []string{"made", "plain"}, false},
		"one that is away brings the push back, once the others are asked": {away, 1, []string{"plain"}, true},
		"when it stays away, the Application tells so":                     {away, 2, []string{"made", "plain"}, false},
		"one that hangs is the Application's own to wait for":              {hangs, 1, []string{"made", "plain"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			asked, found, err := pushed(t, c.deliveries, c.assemble)
			if (err != nil) != c.again {
				t.Errorf("error %v, want the push back: %v", err, c.again)
			}
			if diff := cmp.Diff(c.asked, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if found.commit == "" {
				t.Error("the fact about the push names no commit")
			}
		})
	}
}

// An announced commit is waited for in the tree that it is one of, whichever that is.
func TestAnAnnouncedCommitIsOneOfThePushedRepository(t *testing.T) {
	var got source.Freshness
	_, _, err := pushed(t, 1, func(_ context.Context, _ *v1alpha1.Application, fresh source.Freshness) (source.Assembly, error) {
		got = fresh
		return source.Assembly{}, errors.New("enough")
	})
	if err == nil || got.Repo == "" || got.Want == "" || got.WantRef != "refs/heads/main" {
		t.Errorf("freshness %+v (%v)", got, err)
	}
}
