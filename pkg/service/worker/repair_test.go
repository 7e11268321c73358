package worker

import (
	"context"
	"log/slog"
	"testing"
	"time"

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

// fetched are changes that know the newest commit of an Application's ref.
func fetched(t *testing.T) (*changes, *v1alpha1.Application) {
	t.Helper()
	server, err := gitserver.New(t.TempDir(), gitserver.Options{})
	must(t, err)
	must(t, server.Start())
	t.Cleanup(func() { must(t, server.Stop()) })
	repo, err := server.Create(t.Context(), "config")
	must(t, err)
	_, err = repo.CommitAndPush(t.Context(), "First", map[string][]byte{"app/cm.yaml": []byte("a: b\n")})
	must(t, err)
	store, err := git.Open(t.TempDir(), git.Options{})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	c := &changes{
		sources: source.Policy{Git: config.Git{InsecureHosts: []string{"127.0.0.1"}}}, store: store,
		heads: reconcile.NewHeads(store, time.Now), log: slog.New(slog.DiscardHandler),
	}
	a := &v1alpha1.Application{}
	a.Namespace, a.Name, a.UID = "team-a", "web", "u"
	a.Spec.Source.Repo, a.Spec.Source.Ref, a.Spec.Source.Path = repo.URL(), "main", "app"
	u, err := c.sources.URLOf(a, source.Main(a))
	must(t, err)
	_, err = c.heads.At(t.Context(), git.Query{URL: u, Ref: "main"})
	must(t, err)
	return c, a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func succeeded(age time.Duration) v1alpha1.ApplicationStatus {
	return v1alpha1.ApplicationStatus{
		Inputs: &v1alpha1.Inputs{Digest: "of before"},
		LastAttempt: &v1alpha1.LastAttempt{
			Number: 3, Revision: "before", Result: v1alpha1.ResultSucceeded, StartedAt: metav1.NewMicroTime(time.Now().Add(-age)),
		},
	}
}

// The request for a push may be lost with its stream after the push was routed.
func TestRepairAsksForWhatIsBehind(t *testing.T) {
	c, a := fetched(t)
	a.Status = succeeded(time.Hour)
	log := slog.New(slog.DiscardHandler)
	server, err := embedded.Start(t.TempDir(), embedded.Options{Log: log})
	must(t, err)
	t.Cleanup(server.Stop)
	b, err := bus.Open(t.Context(), bus.Options{InProcess: server, Cluster: "local", Log: log})
	must(t, err)
	t.Cleanup(b.Close)
	c.requests = &requests{bus: b, cluster: "local", now: time.Now}
	r := &repair{cluster: "local", bus: b, changes: c, requests: c.requests, now: time.Now, log: log}
	must(t, r.ask(t.Context(), a))

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	asked := ""
	must(t, b.Work(ctx, "local", 1, func(_ context.Context, task *bus.Task) error {
		asked = task.Event.Data.(*eventsv1.SyncRequested).GetReason()
		cancel()
		return nil
	}))
	if asked != event.ReasonPush {
		t.Errorf("asked for %q, want a push", asked)
	}
}

func TestBehindAsksNothingInVain(t *testing.T) {
	cases := map[string]struct {
		change func(*v1alpha1.Application)
		wanted bool
	}{
		"one that was applied before the newest commit": {wanted: true},
		"a suspended one":  {change: func(a *v1alpha1.Application) { a.Spec.Suspend = true }},
		"a manual one":     {change: func(a *v1alpha1.Application) { a.Spec.Sync.Mode = v1alpha1.ModeManual }},
		"one never synced": {change: func(a *v1alpha1.Application) { a.Status.LastAttempt = nil }},
		"one that was tried after that commit was fetched": {change: func(a *v1alpha1.Application) { a.Status = succeeded(-time.Minute) }},
	}
	c, base := fetched(t)
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			a := base.DeepCopy()
			a.Status = succeeded(time.Hour)
			if test.change != nil {
				test.change(a)
			}
			if _, wanted := c.want(t.Context(), a); wanted != test.wanted {
				t.Errorf("wanted = %v, want %v", wanted, test.wanted)
			}
		})
	}
}
