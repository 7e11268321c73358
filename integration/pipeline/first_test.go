package pipeline

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
)

// A first sync may write no status before its objects: what it creates stands in an
// annotation. What a worker that is killed amid one leaves is found all the same
// (docs/decisions/021-first-claims.md).
func TestAWorkerKilledAmidAFirstSync(t *testing.T) {
	both := map[string]map[string]string{"one": {"value": "new"}, "two": {"value": "new"}}
	cases := map[string]struct {
		point     failpoint.Point
		action    string
		meanwhile map[string]string // pushed before another worker starts
		want      map[string]map[string]string
	}{
		"before it claimed anything":         {point: failpoint.StatusFirst, action: "kill", want: both},
		"when one of two objects is written": {point: failpoint.ApplyObject, action: "kill:2", want: both},
		"when all is written but the status": {point: failpoint.StatusLast, action: "kill", want: both},
		"and what it created leaves Git": {
			point: failpoint.StatusLast, action: "kill", meanwhile: map[string]string{"app/two.yaml": ""},
			want: map[string]map[string]string{"one": {"value": "new"}},
		},
		"and what it had not created yet leaves Git": {
			point: failpoint.ApplyObject, action: "kill:2", meanwhile: map[string]string{"app/two.yaml": ""},
			want: map[string]map[string]string{"one": {"value": "new"}},
		},
	}
	s := stack.New(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "first/"+ns, pair("new"))
			a := stack.Application(ns, "app", repo, "app")
			t.Cleanup(func() { s.Forget(a.Key()) })

			victim := s.Start(t, stack.Options{Failpoint: c.point, Action: c.action})
			s.Create(t, a)
			s.AwaitEnd(t, victim)
			if !victim.Reached() {
				t.Fatal("the worker ended elsewhere than at the failpoint")
			}
			if got := s.Get(t, a.Key()); got.Status.LastAttempt != nil {
				t.Fatalf("the attempt wrote a status first: %+v", got.Status.LastAttempt)
			}
			revision := headOf(t, repo)
			if c.meanwhile != nil {
				revision = s.Push(t, repo, c.meanwhile)
			}
			heir := s.Start(t, stack.Options{})
			defer heir.Kill()
			s.Live(t, a.Key(), revision)
			if diff := cmp.Diff(c.want, s.Owned(t, a.Key(), ns)); diff != "" {
				t.Errorf("owned (-want +got):\n%s", diff)
			}
		})
	}
}

// What a first sync created goes with the Application, although no status tells of it.
func TestAnApplicationDeletedAmidItsFirstSync(t *testing.T) {
	s := stack.New(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "gone/"+ns, pair("new"))
	a := stack.Application(ns, "app", repo, "app")
	victim := s.Start(t, stack.Options{Failpoint: failpoint.StatusLast, Action: "kill"})
	s.Create(t, a)
	s.AwaitEnd(t, victim)
	if got := s.Owned(t, a.Key(), ns); len(got) != 2 {
		t.Fatalf("created: %v", got)
	}
	if err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).Delete(t.Context(), "app", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	heir := s.Start(t, stack.Options{})
	defer heir.Kill()
	s.Eventually(t, "the Application and its objects are gone", func() error {
		if diff := cmp.Diff(map[string]map[string]string{}, s.Owned(t, a.Key(), ns)); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// A newer commit takes over from a first sync that has written no status yet: what only
// the older one had does not stay.
func TestAFirstSyncOvertaken(t *testing.T) {
	s := stack.New(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "ahead/"+ns, pair("new"))
	a := stack.Application(ns, "app", repo, "app")
	slow := s.Start(t, stack.Options{Failpoint: failpoint.StatusLast, Action: "hold"})
	defer slow.Kill()
	s.Create(t, a)
	s.AwaitReached(t, slow)
	revision := s.Push(t, repo, map[string]string{"app/two.yaml": ""})
	s.Routed(t, revision)
	slow.Release(t)
	s.Live(t, a.Key(), revision)
	if diff := cmp.Diff(map[string]map[string]string{"one": {"value": "new"}}, s.Owned(t, a.Key(), ns)); diff != "" {
		t.Errorf("owned (-want +got):\n%s", diff)
	}
}

// A copy of an Application brings the claim of the original, which is none of its own; one
// that cannot be read is told, and deletes nothing.
func TestAClaimThatCameWithTheApplication(t *testing.T) {
	s := stack.New(t)
	worker := s.Start(t, stack.Options{})
	defer worker.Kill()
	claimed := func(value string) (app.Key, string) {
		ns := s.Kube.Namespace(t)
		repo := s.Repo(t, "copied/"+ns, pair("new"))
		a := stack.Application(ns, "app", repo, "app")
		a.Annotations = map[string]string{v1alpha1.FirstClaimAnnotation: value}
		s.Create(t, a)
		return a.Key(), headOf(t, repo)
	}
	copied, revision := claimed(`{"uid":"7f0c","objects":[{"id":"/ConfigMap/kube-system/theirs","version":"v1"}]}`)
	if entries := s.Live(t, copied, revision).Status.Inventory.Entries; len(entries) != 2 {
		t.Errorf("it owns %v", entries)
	}
	broken, _ := claimed("{")
	a := s.Failed(t, broken, "PruneBlocked")
	if ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady); !strings.Contains(ready.Message, "plumb.dev/first-claim") || !strings.Contains(ready.Message, "remove it") {
		t.Errorf("the message is %q", ready.Message)
	}
}
