package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// deployed is an Application that is live, and its repository.
func deployed(t *testing.T, s *stack.Stack, name string) (*v1alpha1.Application, *gitserver.Repo) {
	t.Helper()
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, name+"/"+ns, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "one")})
	a := stack.Application(ns, name, repo, "app")
	s.Create(t, a)
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Live(t, a.Key(), head(t, s, a.Key()))
	return a, repo
}

func TestNATSStoppedAndRestarted(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	a, repo := deployed(t, s, "nats")
	s.NATS.Stop()
	sha := s.PushSilently(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "two")})
	if err := s.TryAnnounce(t.Context(), repo, "delivery-1", sha); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("with NATS away the receiver answers %v, want 503", err)
	}
	if err := s.NATS.Restart(); err != nil {
		t.Fatal(err)
	}
	s.Eventually(t, "the redelivery is accepted", func() error { return s.TryAnnounce(t.Context(), repo, "delivery-1", sha) })
	s.Live(t, a.Key(), sha)
}

func TestAllStreamsDeletedInTheMiddleOfARollout(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	const many = 20
	files, changed := map[string]string{}, map[string]string{}
	for i := range many {
		name := fmt.Sprintf("app%02d", i)
		files[name+"/cm.yaml"] = stack.ConfigMap(name, "one")
		changed[name+"/cm.yaml"] = stack.ConfigMap(name, "two")
	}
	repo := s.Repo(t, "many/"+ns, files)
	var keys []app.Key
	for i := range many {
		a := stack.Application(ns, fmt.Sprintf("app%02d", i), repo, fmt.Sprintf("app%02d", i))
		s.Create(t, a)
		t.Cleanup(func() { s.Forget(a.Key()) })
		keys = append(keys, a.Key())
	}
	old := map[app.Key]*v1alpha1.Application{}
	for _, key := range keys {
		old[key] = s.Live(t, key, head(t, s, key))
	}
	revision := s.Push(t, repo, changed)
	s.Data(t, ns, "app00", map[string]string{"value": "two"})
	deleteStreams(t, s)
	for _, key := range keys {
		neverPruned(t, s, old[key], s.Live(t, key, revision))
		if owned := s.Owned(t, key, ns); len(owned) != 1 || owned[key.Name]["value"] != "two" {
			t.Errorf("%s owns %v", key, owned)
		}
	}
}

func deleteStreams(t *testing.T, s *stack.Stack) {
	t.Helper()
	nc, err := nats.Connect(s.NATS.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if names.Err() != nil {
		t.Fatal(names.Err())
	}
}

func TestAPIServerRestarted(t *testing.T) {
	s := stack.With(t, kubetest.Own(t))
	s.Work(t)
	a, repo := deployed(t, s, "kube")
	s.Kube.Stop(t)
	sha := s.Push(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "two")})
	s.Kube.Restart(t)
	s.Live(t, a.Key(), sha)
	next := s.Push(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "three")})
	s.Live(t, a.Key(), next)
}

func TestGitServerAwayThenBack(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	a, repo := deployed(t, s, "git")
	sha := s.PushSilently(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "two")})
	if err := s.Git.Stop(); err != nil {
		t.Fatal(err)
	}
	s.Announce(t, repo, "delivery-1", sha)
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"now"}}}`)
	s.Failed(t, a.Key(), "FetchFailed")
	if err := s.Git.Start(); err != nil {
		t.Fatal(err)
	}
	s.Live(t, a.Key(), sha)
}

func TestTheSameDeliveryAHundredTimes(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	a, repo := deployed(t, s, "again")
	before := s.Get(t, a.Key()).Status.LastAttempt.Number
	sha := s.PushSilently(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "two")})
	for range 100 {
		s.Announce(t, repo, "the-same", sha)
	}
	got := s.Live(t, a.Key(), sha)
	if got.Status.LastAttempt.Number != before+1 {
		t.Errorf("attempts went from %d to %d; want one more", before, got.Status.LastAttempt.Number)
	}
	if n := len(s.PushEvents(t)); n != 1 {
		t.Errorf("the stream holds %d pushes, want 1", n)
	}
}

func TestPushesABAEndOnA(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Work(t)
	a, repo := deployed(t, s, "aba")
	var last string
	for range 5 {
		s.Push(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "b"), "app/extra.yaml": stack.ConfigMap("extra", "b")})
		last = s.Push(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "one"), "app/extra.yaml": ""})
	}
	s.Settled(t, a.Key())
	s.Data(t, a.Namespace, "web", map[string]string{"value": "one"})
	s.Eventually(t, "what B added is gone", func() error {
		if owned := s.Owned(t, a.Key(), a.Namespace); len(owned) != 1 {
			return fmt.Errorf("%v is owned, at %s", owned, last)
		}
		return nil
	})
}

func TestABranchForcePushedBackwards(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	a, repo := deployed(t, s, "back")
	first := head(t, s, a.Key())
	second := s.Push(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "two")})
	s.Live(t, a.Key(), second)
	if _, err := repo.Git(t.Context(), "reset", "--hard", first); err != nil {
		t.Fatal(err)
	}
	if err := repo.Push(t.Context(), "+main"); err != nil {
		t.Fatal(err)
	}
	s.Announce(t, repo, "forced", first)
	s.Live(t, a.Key(), first)
	s.Data(t, a.Namespace, "web", map[string]string{"value": "one"})
}

// TestTwoWorkersNeverOverlap watches the status while pushes keep coming: each
// attempt ends, as one result or another, before the next begins.
func TestTwoWorkersNeverOverlap(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Work(t)
	a, repo := deployed(t, s, "overlap")
	ctx, cancel := context.WithCancel(t.Context())
	overlaps := s.WatchAttempts(t, ctx, a.Key())
	var last string
	for i := range 40 {
		last = s.Push(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", fmt.Sprint(i))})
	}
	s.Live(t, a.Key(), last)
	cancel()
	for _, o := range <-overlaps {
		t.Error(o)
	}
}
