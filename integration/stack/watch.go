package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// TryAnnounce is Announce for a receiver that may refuse.
func (s *Stack) TryAnnounce(ctx context.Context, repo *gitserver.Repo, delivery, sha string) error {
	return gitserver.PostGitHub(ctx, s.hook, secret, delivery,
		gitserver.Push{Repo: repo.Name, URL: repo.URL(), Ref: "refs/heads/main", Before: strings.Repeat("0", 40), After: sha})
}

// AnnounceURL is Announce for any repository and ref, by its full name.
func (s *Stack) AnnounceURL(t testing.TB, url, delivery, ref, sha string) {
	t.Helper()
	must(t, gitserver.PostGitHub(t.Context(), s.hook, secret, delivery,
		gitserver.Push{Repo: "config", URL: url, Ref: ref, Before: strings.Repeat("0", 40), After: sha}))
}

// Forget deletes an Application without a worker, so that it bothers no other
// test. It is for cleanup: errors do not matter there.
func (s *Stack) Forget(key app.Key) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resource := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(key.Namespace)
	_, _ = resource.Patch(ctx, key.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	_ = resource.Delete(ctx, key.Name, metav1.DeleteOptions{})
}

// PushEvents are the pushes that the stream holds, oldest first.
func (s *Stack) PushEvents(t testing.TB) (pushes []event.Event) {
	t.Helper()
	must(t, s.Bus.Replay(t.Context(), bus.Query{Subjects: []string{"plumb.events.git.push.>"}}, func(e event.Event) error {
		pushes = append(pushes, e)
		return nil
	}))
	return pushes
}

// Routed waits for what the push of a commit meant for this stack's cluster.
func (s *Stack) Routed(t testing.TB, sha string) *eventsv1.GitRouted {
	t.Helper()
	var found *eventsv1.GitRouted
	s.Eventually(t, "the push of "+sha+" is routed", func() error {
		err := s.Bus.Replay(t.Context(), bus.Query{Subjects: []string{"plumb.events.git.routed.>"}}, func(e event.Event) error {
			if r, ok := e.Data.(*eventsv1.GitRouted); ok && r.GetTo() == sha {
				found = r
			}
			return nil
		})
		if err == nil && found == nil {
			err = fmt.Errorf("no such fact")
		}
		return err
	})
	return found
}

// Facts are the stored facts of a type about an Application, oldest first.
func (s *Stack) Facts(t testing.TB, key app.Key, kind event.Type) []event.Event {
	t.Helper()
	var facts []event.Event
	subjects := []string{bus.FactsOf(s.Cluster, key.Namespace, key.Name)}
	must(t, s.Bus.Replay(t.Context(), bus.Query{Subjects: subjects}, func(e event.Event) error {
		if e.Type == kind {
			facts = append(facts, e)
		}
		return nil
	}))
	return facts
}

// Settled waits until no request for an Application waits or is worked on.
func (s *Stack) Settled(t testing.TB, key app.Key) {
	t.Helper()
	quiet := 0
	s.Eventually(t, "no attempt is under way", func() error {
		held, err := s.Bus.Held(t.Context(), bus.SyncLease(s.Cluster, key.Namespace, key.Name))
		if err != nil {
			return err
		}
		if quiet++; held || Ready(s.Get(t, key)) != nil {
			quiet = 0
		}
		if quiet < 10 {
			return fmt.Errorf("quiet %d times in a row", quiet)
		}
		return nil
	})
}

// WatchAttempts watches the status of an Application until ctx ends, and then
// sends what was wrong in the order of its attempts.
func (s *Stack) WatchAttempts(t testing.TB, ctx context.Context, key app.Key) <-chan []string {
	t.Helper()
	w, err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(key.Namespace).
		Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + key.Name})
	must(t, err)
	out := make(chan []string, 1)
	go func() {
		var wrong []string
		var last v1alpha1.LastAttempt
		for e := range w.ResultChan() {
			now, ok := attemptOf(e.Object)
			if !ok {
				continue
			}
			if problem := order(last, now); problem != "" {
				wrong = append(wrong, problem)
			}
			last = now
		}
		out <- wrong
	}()
	return out
}

func attemptOf(o any) (v1alpha1.LastAttempt, bool) {
	raw, err := json.Marshal(o)
	a := &v1alpha1.Application{}
	if err != nil || json.Unmarshal(raw, a) != nil || a.Status.LastAttempt == nil {
		return v1alpha1.LastAttempt{}, false
	}
	return *a.Status.LastAttempt, true
}

// order says what is wrong with one status after another; empty when nothing is.
func order(last, now v1alpha1.LastAttempt) string {
	switch {
	case now.Number < last.Number:
		return fmt.Sprintf("attempt %d came after %d", now.Number, last.Number)
	case now.Number > last.Number && last.Result == v1alpha1.ResultRunning:
		return fmt.Sprintf("attempt %d began while %d was running", now.Number, last.Number)
	case now.Number == last.Number && now.Result == v1alpha1.ResultRunning && last.Result != v1alpha1.ResultRunning:
		return fmt.Sprintf("attempt %d runs again after it was %s", now.Number, last.Result)
	}
	return ""
}

// Condition is the condition of that type; the zero value when there is none.
func Condition(a *v1alpha1.Application, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(a.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}
