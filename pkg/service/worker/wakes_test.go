package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

var noon = time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC)

// known is a catalog of a test.
type known map[app.Key]*v1alpha1.Application

func (k known) All() (all []*v1alpha1.Application) {
	for _, a := range k {
		all = append(all, a)
	}
	return all
}

func (k known) Get(key app.Key) (*v1alpha1.Application, bool) {
	a, found := k[key]
	return a, found
}

// put adds an Application that depends on others and whose Ready condition is so.
func (k known) put(name string, ready metav1.ConditionStatus, on ...string) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Namespace, a.Name, a.Generation = "team-a", name, 1
	a.UID = "u-" + a.UID
	a.Status.ObservedGeneration = 1
	a.Status.LastAttempt = &v1alpha1.LastAttempt{Number: 1}
	a.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: ready, Reason: "Any", ObservedGeneration: 1}}
	for _, name := range on {
		a.Spec.DependsOn = append(a.Spec.DependsOn, v1alpha1.Dependency{Name: name})
	}
	k[a.Key()] = a
	return a
}

func awaits(a *v1alpha1.Application, reason string, until time.Time) *v1alpha1.Application {
	a.Status.Waiting = &v1alpha1.Waiting{Reason: reason, Revision: "r", Since: metav1.NewTime(noon)}
	if !until.IsZero() {
		a.Status.Waiting.Until = &metav1.Time{Time: until}
	}
	return a
}

// watched are wakes whose requests are listed as <name> <reason>.
func watched(k known, now *time.Time) (w *wakes, asked *[]string) {
	asked = &[]string{}
	w = &wakes{
		catalog: k, cluster: "local", now: func() time.Time { return *now }, log: slog.New(slog.DiscardHandler),
		changed: make(chan struct{}, 1), asked: map[app.Key]string{},
		publish: func(_ context.Context, cause string, r *eventsv1.SyncRequested) error {
			*asked = append(*asked, r.GetName()+" "+r.GetReason())
			return nil
		},
	}
	return w, asked
}

func TestWakes(t *testing.T) {
	later := noon.Add(time.Minute)
	cases := map[string]struct {
		set  func(known)
		now  time.Time
		want []string
		in   time.Duration
	}{
		"what does not wait is left alone": {set: func(k known) { k.put("web", metav1.ConditionUnknown) }, in: time.Hour},
		"a closed window is waited for":    {set: func(k known) { awaits(k.put("web", "Unknown"), "WindowClosed", later) }, in: time.Minute},
		"when it opens it is asked":        {set: func(k known) { awaits(k.put("web", "Unknown"), "WindowClosed", later) }, now: later, want: []string{"web retry"}, in: time.Hour},
		"in mode manual as the person did": {set: func(k known) {
			awaits(k.put("web", "Unknown"), "WindowClosed", later).Spec.Sync.Mode = v1alpha1.ModeManual
		}, now: later, want: []string{"web manual"}, in: time.Hour},
		"a suspension without an end is for ever": {set: func(k known) { awaits(k.put("web", "False"), "Suspended", time.Time{}).Spec.Suspend = true }, in: time.Hour},
		"one with an end is over then": {set: func(k known) {
			a := awaits(k.put("web", "False"), "Suspended", later)
			a.Spec.Suspend, a.Spec.Suspension = true, &v1alpha1.Suspension{Until: &metav1.Time{Time: later}}
		}, now: later, want: []string{"web spec"}, in: time.Hour},
		"while a dependency is on its way nobody is woken": {set: func(k known) {
			k.put("db", metav1.ConditionUnknown)
			awaits(k.put("web", "Unknown", "db"), "DependencyNotReady", time.Time{})
		}, in: time.Hour},
		"when it is ready who waits for it is": {set: func(k known) {
			k.put("db", metav1.ConditionTrue)
			awaits(k.put("web", "Unknown", "db"), "DependencyNotReady", time.Time{})
			awaits(k.put("other", "Unknown", "queue"), "WindowClosed", noon.Add(time.Hour))
		}, want: []string{"web dependency"}, in: time.Hour},
		"with another on its way it is not": {set: func(k known) {
			k.put("db", metav1.ConditionTrue)
			k.put("queue", metav1.ConditionUnknown)
			awaits(k.put("web", "Unknown", "queue", "db"), "DependencyNotReady", time.Time{})
		}, in: time.Hour},
		"a failed dependency is told": {set: func(k known) {
			k.put("db", metav1.ConditionFalse)
			awaits(k.put("web", "Unknown", "db"), "DependencyNotReady", time.Time{})
		}, want: []string{"web dependency"}, in: time.Hour},
		"checks are the request's own to repeat": {set: func(k known) { awaits(k.put("web", "Unknown"), "ChecksPending", time.Time{}) }, now: later, in: checksLost - time.Minute},
		"unless it was lost with its stream":     {set: func(k known) { awaits(k.put("web", "Unknown"), "ChecksPending", time.Time{}) }, now: noon.Add(checksLost), want: []string{"web retry"}, in: checksLost},
		"what is being deleted waits for nothing": {set: func(k known) {
			awaits(k.put("web", "Unknown"), "WindowClosed", later).DeletionTimestamp = &metav1.Time{Time: noon}
		}, now: later, in: time.Hour},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k, now := known{}, noon
			if !c.now.IsZero() {
				now = c.now
			}
			c.set(k)
			w, asked := watched(k, &now)
			if in := w.look(t.Context()); in != c.in {
				t.Errorf("it looks again in %s, want %s", in, c.in)
			}
			if diff := cmp.Diff(c.want, *asked, cmp.Transformer("empty", func(s []string) []string { return slices.Concat([]string{}, s) })); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			w.look(t.Context())
			if len(*asked) != len(c.want) {
				t.Errorf("another look asks again: %v", *asked)
			}
		})
	}
}

// Each step of a dependency asks once; a circle that is broken far away does, too.
func TestWakesAskOncePerChange(t *testing.T) {
	k, now := known{}, noon
	db := k.put("db", metav1.ConditionUnknown)
	awaits(k.put("web", "Unknown", "db"), "DependencyNotReady", time.Time{})
	awaits(k.put("a", "False", "b"), "DependencyNotReady", time.Time{})
	awaits(k.put("b", "True", "c"), "", time.Time{}).Status.Waiting = nil
	c := k.put("c", "True", "a")
	w, asked := watched(k, &now)
	step := func(what string, want ...string) {
		t.Helper()
		*asked = nil
		for range 3 {
			w.look(t.Context())
		}
		if diff := cmp.Diff(want, *asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	step("the circle is told", "a dependency")
	db.Status.Conditions[0].Status = metav1.ConditionTrue
	step("db is ready", "web dependency")
	db.Status.LastAttempt.Number++
	step("another attempt of it", "web dependency")
	db.Labels = map[string]string{"x": "y"}
	step("a change that decides nothing")
	c.Spec.DependsOn = nil
	step("the circle is broken", "a dependency")
	w.asked = map[app.Key]string{} // a start
	*asked = nil
	w.look(t.Context())
	slices.Sort(*asked)
	if diff := cmp.Diff([]string{"a dependency", "web dependency"}, *asked); diff != "" {
		t.Errorf("after a start (-want +got):\n%s", diff)
	}
}

// Every worker that sees the same asks under the same cause.
func TestTheCauseOfAWakeIsThatOfAllWorkers(t *testing.T) {
	causes := map[string]bool{}
	for range 3 {
		k, now := known{}, noon.Add(time.Hour)
		k.put("db", metav1.ConditionTrue)
		awaits(k.put("web", "Unknown", "db"), "DependencyNotReady", time.Time{})
		w, _ := watched(k, &now)
		w.publish = func(_ context.Context, cause string, _ *eventsv1.SyncRequested) error {
			causes[cause] = true
			return nil
		}
		w.look(t.Context())
	}
	if len(causes) != 1 {
		t.Errorf("causes: %v", causes)
	}
}

func TestAWakeThatNATSDidNotTakeIsRepeated(t *testing.T) {
	k, now := known{}, noon
	awaits(k.put("web", "Unknown"), "WindowClosed", noon)
	w, asked := watched(k, &now)
	take := w.publish
	w.publish = func(context.Context, string, *eventsv1.SyncRequested) error { return errors.New("NATS is away") }
	if in := w.look(t.Context()); in != lookAgain {
		t.Errorf("it looks again in %s", in)
	}
	w.publish = take
	w.look(t.Context())
	if strings.Join(*asked, ",") != "web retry" {
		t.Errorf("asked %v", *asked)
	}
}

// Repair repeats what may have been lost with a stream, and nothing that waits
// rightly.
func TestOverdue(t *testing.T) {
	cases := map[string]struct {
		set  func(known) *v1alpha1.Application
		want bool
	}{
		"a window that opened long ago": {set: func(k known) *v1alpha1.Application {
			return awaits(k.put("web", "Unknown"), "WindowClosed", noon.Add(-repairEvery))
		}, want: true},
		"one that opened just now": {set: func(k known) *v1alpha1.Application {
			return awaits(k.put("web", "Unknown"), "WindowClosed", noon.Add(-time.Second))
		}},
		"a dependency that is ready": {set: func(k known) *v1alpha1.Application {
			k.put("db", metav1.ConditionTrue)
			return awaits(k.put("web", "Unknown", "db"), "DependencyNotReady", time.Time{})
		}, want: true},
		"one that failed": {set: func(k known) *v1alpha1.Application {
			k.put("db", metav1.ConditionFalse)
			return awaits(k.put("web", "Unknown", "db"), "DependencyNotReady", time.Time{})
		}},
		"checks": {set: func(k known) *v1alpha1.Application {
			return awaits(k.put("web", "Unknown"), "ChecksPending", time.Time{})
		}},
		"nothing at all": {set: func(k known) *v1alpha1.Application { return k.put("web", "True") }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k, now := known{}, noon
			a := c.set(k)
			w, _ := watched(k, &now)
			if _, late := w.overdue(a, now); late != c.want {
				t.Errorf("overdue = %v, want %v", late, c.want)
			}
		})
	}
}

// What waits at the newest commit is not behind: its wait is over when it is. A newer
// commit it has to hear of.
func TestWhatWaitsIsNotBehind(t *testing.T) {
	c, a := fetched(t)
	a.Status = succeeded(time.Hour)
	newest, wanted := c.want(t.Context(), a)
	if !wanted || newest.hint == "" {
		t.Fatalf("wants %+v", newest)
	}
	for revision, want := range map[string]bool{newest.hint: false, "an older one": true} {
		a.Status.Waiting = &v1alpha1.Waiting{Reason: "WindowClosed", Revision: revision}
		if _, wanted := c.want(t.Context(), a); wanted != want {
			t.Errorf("with %s waiting it wants: %v", revision, wanted)
		}
	}
}
