package worker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/source"
)

func TestWants(t *testing.T) {
	blockedPrune := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: string(fault.PruneBlocked)}}
	cases := map[string]struct {
		generation, observed int64
		annotations          map[string]string
		status               v1alpha1.ApplicationStatus
		deleted              bool
		want                 want
		wanted               bool
	}{
		"one that is as its status says wants nothing": {generation: 2, observed: 2},
		"a new one is synced":                          {generation: 1, want: want{cause: "generation/1", reason: "spec"}, wanted: true},
		"a changed one, too":                           {generation: 3, observed: 2, want: want{cause: "generation/3", reason: "spec"}, wanted: true},
		"a deleted one is torn down": {
			generation: 3, observed: 3, deleted: true, want: want{cause: "deleted", reason: "spec"}, wanted: true,
		},
		"a person's request is answered": {
			generation: 2, observed: 2, annotations: map[string]string{v1alpha1.SyncAnnotation: "x"},
			want: want{cause: "sync/x", reason: "manual", id: "x"}, wanted: true,
		},
		"once": {
			generation: 2, observed: 2, annotations: map[string]string{v1alpha1.SyncAnnotation: "x"},
			status: v1alpha1.ApplicationStatus{Requested: "x"},
		},
		"a confirmation unblocks a prune": {
			generation: 2, observed: 2, annotations: map[string]string{v1alpha1.ConfirmPruneAnnotation: "d"},
			status: v1alpha1.ApplicationStatus{Conditions: blockedPrune}, want: want{cause: "confirm/d", reason: "manual"}, wanted: true,
		},
		"and is nothing where none is blocked": {
			generation: 2, observed: 2, annotations: map[string]string{v1alpha1.ConfirmPruneAnnotation: "d"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Status: c.status}
			a.Generation, a.Status.ObservedGeneration, a.Annotations = c.generation, c.observed, c.annotations
			if c.deleted {
				a.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
			}
			got, wanted := wants(a)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(want{})); diff != "" || wanted != c.wanted {
				t.Errorf("wanted %v (-want +got):\n%s", wanted, diff)
			}
		})
	}
}

func TestAbandoned(t *testing.T) {
	now := time.Unix(1000, 0)
	cases := map[string]struct {
		result v1alpha1.Result
		age    time.Duration
		retry  time.Duration // since then; 0: no time is told
		want   bool
	}{
		"an attempt that should have ended":       {result: v1alpha1.ResultRunning, age: time.Minute, want: true},
		"a superseded one that nothing followed":  {result: v1alpha1.ResultSuperseded, age: time.Minute, want: true},
		"one that began just now":                 {result: v1alpha1.ResultRunning, age: time.Second},
		"one that waits for health has a watcher": {result: v1alpha1.ResultWaiting, age: time.Hour},
		"one that succeeded":                      {result: v1alpha1.ResultSucceeded, age: time.Hour},
		"a failure is the scanner's to repeat":    {result: v1alpha1.ResultFailed, age: time.Hour, retry: time.Hour},
		"one with deletions that still wait":      {result: v1alpha1.ResultSucceeded, age: time.Hour, retry: time.Minute, want: true},
		"one whose deletions began to wait":       {result: v1alpha1.ResultSucceeded, age: time.Hour, retry: time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{LastAttempt: &v1alpha1.LastAttempt{
				Result: c.result, StartedAt: metav1.NewMicroTime(now.Add(-c.age)),
			}}}
			if c.retry != 0 {
				a.Status.LastAttempt.RetryAt = &metav1.Time{Time: now.Add(-c.retry)}
			}
			if got := abandoned(a, now); got != c.want {
				t.Errorf("abandoned = %v, want %v", got, c.want)
			}
		})
	}
}

func TestOutrun(t *testing.T) {
	fetched := time.Unix(1000, 0)
	cases := map[string]struct {
		revision string
		after    time.Duration // of the attempt's start, since the fetch
		fetched  time.Duration // of its own fetch; 0: unknown
		want     bool
	}{
		"an attempt at an older commit":               {revision: "a", after: -time.Second, want: true},
		"one that began within the skew of clocks":    {revision: "a", after: time.Second, want: true},
		"one that began later saw a newer one itself": {revision: "a", after: 3 * time.Second},
		"one that began later with an older fetch":    {revision: "a", after: time.Minute, fetched: -time.Minute, want: true},
		"one whose fetch began later":                 {revision: "a", after: time.Minute, fetched: time.Minute},
		"one at this commit":                          {revision: "b", after: -time.Second},
		"one that failed before it had any":           {after: -time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			last := &v1alpha1.LastAttempt{Revision: c.revision, StartedAt: metav1.NewMicroTime(fetched.Add(c.after))}
			if c.fetched != 0 {
				m := metav1.NewMicroTime(fetched.Add(c.fetched))
				last.FetchedAt = &m
			}
			if got := outrun(last, last.Revision, git.Commit{SHA: "b", Began: fetched}); got != c.want {
				t.Errorf("outrun = %v, want %v", got, c.want)
			}
		})
	}
}

// Of two sources, one may move without a change for the Application. Its status keeps
// the older revision then, and must not be a reason to ask for it again and again.
func TestASourceThatMovedWithoutAChangeIsLookedAtOnce(t *testing.T) {
	r := newRelease(t, map[string]string{"web": ""})
	values, err := r.server.Create(t.Context(), "values")
	must(t, err)
	first, err := values.CommitAndPush(t.Context(), "one", map[string][]byte{"v": []byte("1")})
	must(t, err)
	sha := r.tag("v1.0.0")
	must(t, r.repo.Push(t.Context()))
	a := r.applications[0]
	a.Spec.Sources = []v1alpha1.NamedSource{{Name: "values", Repo: values.URL(), Ref: "main"}}
	c := &changes{sources: r.router.sources, store: r.router.store, heads: r.router.heads}
	fetch := func() string {
		commit := ""
		for _, f := range source.Trees(a) {
			q, err := c.sources.QueryOf(t.Context(), a, f)
			must(t, err)
			got, err := c.heads.At(t.Context(), q)
			must(t, err)
			commit = got.SHA
		}
		return commit
	}
	fetch()
	a.Status.LastAttempt = &v1alpha1.LastAttempt{Number: 1, Result: v1alpha1.ResultSucceeded, Revision: sha, StartedAt: metav1.NowMicro()}
	a.Status.Inputs = &v1alpha1.Inputs{Digest: "d", Sources: []v1alpha1.SourceRevision{{Name: "values", Revision: first}}}
	check := func(when string, want bool) {
		t.Helper()
		if got, wanted := c.behind(t.Context(), a); wanted != want {
			t.Errorf("%s a sync is wanted: %v (%+v), want %v", when, wanted, got, want)
		}
	}
	check("as the last attempt left it", false)
	second, err := values.CommitAndPush(t.Context(), "two", map[string][]byte{"v": []byte("2")})
	must(t, err)
	if fetch() != second {
		t.Fatal("the second commit was not fetched")
	}
	check("after a commit of the values", true)
	c.heads.Unmoved(a, route.Commit{SHA: sha, Sources: []v1alpha1.SourceRevision{{Name: "values", Revision: second}}})
	check("once it was found to be no change", false)
	a.Status.LastAttempt.Number++
	check("after an attempt at older values", true)
	a.Status.LastAttempt.Result = v1alpha1.ResultRunning
	a.Status.LastAttempt.Inputs = &v1alpha1.Inputs{Sources: []v1alpha1.SourceRevision{{Name: "values", Revision: second}}}
	check("while an attempt at them is under way", false)
	a.Status.LastAttempt.Inputs.Sources[0].Revision = first
	check("while an attempt at older values is under way", true)
	a.Status.LastAttempt.Result, a.Status.LastAttempt.Inputs = v1alpha1.ResultSucceeded, nil
	c.heads.Unmoved(a, route.Commit{SHA: sha, Sources: []v1alpha1.SourceRevision{{Name: "values", Revision: first}}})
	check("once an older one was found to be no change", true)
}
