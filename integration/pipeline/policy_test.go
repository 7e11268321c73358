package pipeline

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// closed is a window that denies now and for at least eleven hours.
func closed() v1alpha1.Window {
	hour := time.Now().UTC().Add(-time.Hour).Hour()
	return v1alpha1.Window{Kind: "deny", Schedule: fmt.Sprintf("0 %d * * *", hour), Duration: metav1.Duration{Duration: 13 * time.Hour}}
}

// held waits until a revision is held back for a reason.
func held(t *testing.T, s *stack.Stack, key app.Key, reason, revision string) *v1alpha1.Application {
	t.Helper()
	return s.Await(t, key, "held back: "+reason, func(a *v1alpha1.Application) error {
		w := a.Status.Waiting
		ready := stack.Condition(a, "Ready")
		if w == nil || w.Reason != reason || w.Revision != revision || ready.Reason != reason || ready.Status == metav1.ConditionTrue {
			return fmt.Errorf("waiting %+v, ready %+v", w, ready)
		}
		return nil
	})
}

// absent fails when a ConfigMap is there.
func absent(t *testing.T, s *stack.Stack, ns, name string) {
	t.Helper()
	_, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("ConfigMap %s/%s: %v", ns, name, err)
	}
}

// data is the one key of a ConfigMap now.
func data(t *testing.T, s *stack.Stack, ns, name string) string {
	t.Helper()
	u, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	values, _ := u.Object["data"].(map[string]any)
	return fmt.Sprint(values["value"])
}

// In a closed window nothing is written: no push, no heal, no person's sync. All of it
// is told, a deletion is none of it, and when the window opens it happens.
func TestAClosedWindowHoldsAllWrites(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Scan(t, time.Minute)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "windows/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one"), "app/b.yaml": stack.ConfigMap("b", "one"), "app/c.yaml": stack.ConfigMap("c", "one")})
	a := stack.Application(ns, "web", repo, "app")
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	first := s.Live(t, a.Key(), headOf(t, repo))

	window, _ := json.Marshal([]v1alpha1.Window{closed()})
	s.Patch(t, a.Key(), `{"spec":{"sync":{"windows":`+string(window)+`}}}`)
	s.Await(t, a.Key(), "Ready while nothing has to be written", func(a *v1alpha1.Application) error {
		if a.Status.Waiting != nil {
			return fmt.Errorf("waiting %+v", a.Status.Waiting)
		}
		return stack.Ready(a)
	})

	second := s.Push(t, repo, map[string]string{"app/a.yaml": stack.ConfigMap("a", "two"), "app/b.yaml": ""})
	waiting := held(t, s, a.Key(), "WindowClosed", second)
	if until := waiting.Status.Waiting.Until; until == nil || until.Before(&metav1.Time{Time: time.Now().Add(10 * time.Hour)}) {
		t.Errorf("until %v", until)
	}
	if m := waiting.Status.Waiting.Message; !strings.Contains(m, "deny window") || !strings.Contains(m, "until 20") {
		t.Errorf("message %q", m)
	}
	if waiting.Status.Revision != first.Status.Revision || waiting.Status.LastAttempt.Number != first.Status.LastAttempt.Number+1 {
		t.Errorf("revision %s, attempt %d: an attempt was made", waiting.Status.Revision, waiting.Status.LastAttempt.Number)
	}

	// Drift is told and not healed.
	s.PatchObject(t, stack.ConfigMaps, ns, "c", `{"data":{"value":"drifted"}}`)
	s.Await(t, a.Key(), "drifted", func(a *v1alpha1.Application) error {
		if c := stack.Condition(a, "Drifted"); c.Status != metav1.ConditionTrue || c.Reason != "WindowClosed" {
			return fmt.Errorf("drifted: %+v", c)
		}
		return nil
	})
	s.Eventually(t, "drift is told as found, not as healed", func() error {
		found, healed := s.Facts(t, a.Key(), event.DriftFound), s.Facts(t, a.Key(), event.DriftHealed)
		if len(found) == 0 || len(healed) != 0 {
			return fmt.Errorf("facts: %v, %v", found, healed)
		}
		return nil
	})

	// A person waits, too.
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"please"}}}`)
	s.Await(t, a.Key(), "the request is answered", func(a *v1alpha1.Application) error {
		if a.Status.Requested != "please" || a.Status.Waiting == nil {
			return fmt.Errorf("requested %q", a.Status.Requested)
		}
		return nil
	})
	if a, b, c := data(t, s, ns, "a"), data(t, s, ns, "b"), data(t, s, ns, "c"); a != "one" || b != "one" || c != "drifted" {
		t.Fatalf("in the closed window a became %q, b %q and c %q", a, b, c)
	}

	// The schedule now ends.
	s.Patch(t, a.Key(), `{"spec":{"sync":{"windows":null}}}`)
	open := s.Live(t, a.Key(), second)
	if open.Status.Waiting != nil || stack.Condition(open, "Drifted").Status != metav1.ConditionFalse {
		t.Errorf("status %+v", open.Status)
	}
	s.Data(t, ns, "a", map[string]string{"value": "two"})
	s.Data(t, ns, "c", map[string]string{"value": "one"})
	absent(t, s, ns, "b")

	// Deletion is not held.
	s.Patch(t, a.Key(), `{"spec":{"sync":{"windows":`+string(window)+`}}}`)
	deleteApplication(t, s, a.Key())
	s.Eventually(t, "the Application is gone", func() error {
		if s.Get(t, a.Key()) != nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	absent(t, s, ns, "a")
}

func deleteApplication(t *testing.T, s *stack.Stack, key app.Key) {
	t.Helper()
	if err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(key.Namespace).Delete(t.Context(), key.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A person's request writes in a closed window only when it says so, and only itself.
func TestAWindowIsOverriddenOnce(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "override/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one")})
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Sync.Windows = []v1alpha1.Window{closed()}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	first := headOf(t, repo)
	held(t, s, a.Key(), "WindowClosed", first)
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"x","plumb.dev/override-windows":"y"}}}`)
	s.Await(t, a.Key(), "a wrong override is none", func(a *v1alpha1.Application) error {
		if a.Status.Requested != "x" {
			return fmt.Errorf("requested %q", a.Status.Requested)
		}
		return nil
	})
	absent(t, s, ns, "a")
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"z","plumb.dev/override-windows":"z"}}}`)
	s.Live(t, a.Key(), first)
	s.Eventually(t, "an Event tells who", func() error {
		return eventOf(t, s, ns, "WindowOverridden", "as request z asks")
	})
	second := s.Push(t, repo, map[string]string{"app/a.yaml": stack.ConfigMap("a", "two")})
	held(t, s, a.Key(), "WindowClosed", second)
	if got := data(t, s, ns, "a"); got != "one" {
		t.Errorf("the override was used again: %q", got)
	}
	// As plumb sync --override-windows asks.
	ask := &eventsv1.AskSync{Namespace: ns, Name: "web", RequestedBy: "ann", OverrideWindows: true}
	answer := &eventsv1.AnswerSync{}
	if err := s.Bus.Ask(t.Context(), s.Cluster, "sync", ask, answer); err != nil || answer.GetError() != "" {
		t.Fatalf("answer %v, error %v", answer, err)
	}
	s.Live(t, a.Key(), second)
	s.Eventually(t, "an Event tells who", func() error {
		return eventOf(t, s, ns, "WindowOverrideAsked", "ann asks for a sync although a window may be closed, request "+answer.GetRequestId())
	})
}

// eventOf is nil when there is a Kubernetes Event with a reason and a text.
func eventOf(t *testing.T, s *stack.Stack, ns, reason, text string) error {
	t.Helper()
	list, err := s.Objects.Resource(eventsOfKube).Namespace(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, e := range list.Items {
		if e.Object["reason"] == reason && strings.Contains(fmt.Sprint(e.Object["note"]), text) {
			return nil
		}
	}
	return fmt.Errorf("no such Event among %d", len(list.Items))
}

// A window opens by the clock, also for a worker that started while it was closed.
func TestAWindowThatOpensWakesWhatWaits(t *testing.T) {
	s := stack.New(t)
	stop := s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "opens/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one")})
	a := stack.Application(ns, "web", repo, "app")
	// The shortest duration ends some seconds after the next full minute begins: the
	// window began with this one.
	now := time.Now().UTC()
	if now.Second() > 40 { // it would be over before it was seen
		s.Eventually(t, "the next minute begins", func() error {
			if now = time.Now().UTC(); now.Second() > 40 {
				return fmt.Errorf("it is %s", now)
			}
			return nil
		})
	}
	left := time.Duration(now.Second()+15) * time.Second
	a.Spec.Sync.Windows = []v1alpha1.Window{{Kind: "deny", Schedule: fmt.Sprintf("%d %d * * *", now.Minute(), now.Hour()), Duration: metav1.Duration{Duration: left}}}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	first := headOf(t, repo)
	waiting := held(t, s, a.Key(), "WindowClosed", first)
	stop()
	s.Work(t)
	got := s.Live(t, a.Key(), first)
	if opened := waiting.Status.Waiting.Until; got.Status.LastAttempt.StartedAt.Time.Before(opened.Time) {
		t.Errorf("it began at %s, before %s", got.Status.LastAttempt.StartedAt, opened)
	}
}

// A suspension ends by itself, and says who made it and why.
func TestASuspensionEndsByItself(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "suspended/"+ns, map[string]string{"app/a.yaml": stack.ConfigMap("a", "one")})
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Suspend = true
	until := metav1.NewTime(time.Now().Add(8 * time.Second).Truncate(time.Second))
	a.Spec.Suspension = &v1alpha1.Suspension{By: "ann", Reason: "a migration", Until: &until}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	got := held(t, s, a.Key(), "Suspended", "")
	if m := stack.Condition(got, "Suspended").Message; !strings.Contains(m, "by ann until ") || !strings.Contains(m, "a migration") {
		t.Errorf("message %q", m)
	}
	live := s.Live(t, a.Key(), headOf(t, repo))
	if live.Status.LastAttempt.StartedAt.Time.Before(until.Time) || live.Status.Waiting != nil || stack.Condition(live, "Suspended").Status != metav1.ConditionFalse {
		t.Errorf("status %+v", live.Status)
	}
	// As plumb suspend and plumb resume ask; for good, and a deletion goes through.
	suspend := &eventsv1.AskSuspend{Namespace: ns, Name: "web", Suspend: true, By: "bob", Reason: "a look"}
	if answer := askSuspend(t, s, suspend); answer.GetError() != "" {
		t.Fatal(answer)
	}
	if m := held(t, s, a.Key(), "Suspended", "").Status.Waiting.Message; !strings.Contains(m, "by bob until spec.suspend is false: a look") {
		t.Errorf("message %q", m)
	}
	if answer := askSuspend(t, s, &eventsv1.AskSuspend{Namespace: ns, Name: "web"}); answer.GetError() != "" {
		t.Fatal(answer)
	}
	if resumed := s.Live(t, a.Key(), headOf(t, repo)); resumed.Spec.Suspension != nil {
		t.Errorf("suspension %+v", resumed.Spec.Suspension)
	}
	over := &eventsv1.AskSuspend{Namespace: ns, Name: "web", Suspend: true, Until: timestamppb.New(time.Now().Add(-time.Hour))}
	if answer := askSuspend(t, s, over); answer.GetErrorCode() != "Invalid" {
		t.Errorf("an end that is over: %v", answer)
	}
	if answer := askSuspend(t, s, &eventsv1.AskSuspend{Namespace: ns, Name: "none", Suspend: true}); answer.GetErrorCode() != "NotFound" {
		t.Errorf("one that is not there: %v", answer)
	}
	askSuspend(t, s, suspend)
	held(t, s, a.Key(), "Suspended", "")
	deleteApplication(t, s, a.Key())
	s.Eventually(t, "the Application is gone", func() error {
		if s.Get(t, a.Key()) != nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	absent(t, s, ns, "a")
}

func askSuspend(t *testing.T, s *stack.Stack, ask *eventsv1.AskSuspend) *eventsv1.AnswerSuspend {
	t.Helper()
	answer := &eventsv1.AnswerSuspend{}
	if err := s.Bus.Ask(t.Context(), s.Cluster, "suspend", ask, answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

var eventsOfKube = schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}

// headOf is the newest commit of main.
func headOf(t *testing.T, repo *gitserver.Repo) string {
	t.Helper()
	out, err := repo.Server(t.Context(), "", "rev-parse", "refs/heads/main")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
