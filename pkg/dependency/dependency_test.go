package dependency_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/dependency"
)

func key(name string) app.Key { return app.Key{Namespace: "team-a", Name: name} }

func TestOf(t *testing.T) {
	a := &v1alpha1.Application{}
	a.Namespace = "team-a"
	a.Spec.DependsOn = []v1alpha1.Dependency{{Name: "db"}, {Name: "db", Namespace: "team-b"}, {Name: "db", Namespace: "team-a"}}
	want := []app.Key{key("db"), {Namespace: "team-b", Name: "db"}}
	if diff := cmp.Diff(want, dependency.Of(a)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCycle(t *testing.T) {
	cases := map[string]struct {
		edges string // "a>b b>c"
		start string
		want  string
	}{
		"none":                         {edges: "a>b b>c a>c", start: "a"},
		"no dependency at all":         {start: "a"},
		"with itself":                  {edges: "a>a", start: "a", want: "team-a/a -> team-a/a"},
		"of two":                       {edges: "a>b b>a", start: "a", want: "team-a/a -> team-a/b -> team-a/a"},
		"as the other of them sees it": {edges: "a>b b>a", start: "b", want: "team-a/b -> team-a/a -> team-a/b"},
		"the shortest of several":      {edges: "a>b b>c c>d d>a b>a", start: "a", want: "team-a/a -> team-a/b -> team-a/a"},
		"of three behind what is none": {edges: "a>x a>b x>y b>c c>a", start: "a", want: "team-a/a -> team-a/b -> team-a/c -> team-a/a"},
		"one that it only leads to is not its own": {edges: "a>b b>c c>b", start: "a"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			edges := map[app.Key][]app.Key{}
			for _, e := range strings.Fields(c.edges) {
				from, to, _ := strings.Cut(e, ">")
				edges[key(from)] = append(edges[key(from)], key(to))
			}
			got := dependency.Path(dependency.Cycle(key(c.start), func(k app.Key) []app.Key { return edges[k] }))
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// ready is an Application that is ready at generation 2.
func ready() *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.UID, a.Generation = "u", 2
	a.Status.ObservedGeneration, a.Status.Revision = 2, "0123456789"
	a.Status.Inputs = &v1alpha1.Inputs{Digest: "d"}
	a.Status.LastAttempt = &v1alpha1.LastAttempt{Number: 7}
	a.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Succeeded", ObservedGeneration: 2}}
	return a
}

func TestUnready(t *testing.T) {
	cases := map[string]struct {
		change  func(*v1alpha1.Application)
		missing bool
		want    string
		settled bool
	}{
		"one that is ready":        {settled: true},
		"one that does not exist":  {missing: true, want: "it does not exist", settled: true},
		"one that is going":        {change: func(a *v1alpha1.Application) { a.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, want: "it is being deleted", settled: true},
		"one never seen":           {change: func(a *v1alpha1.Application) { a.Status = v1alpha1.ApplicationStatus{} }, want: "its newest spec has not been synced yet"},
		"ready at an old spec":     {change: func(a *v1alpha1.Application) { a.Generation = 3 }, want: "its newest spec has not been synced yet"},
		"whose condition is older": {change: func(a *v1alpha1.Application) { a.Status.Conditions[0].ObservedGeneration = 1 }, want: "its newest spec has not been synced yet"},
		"one that failed": {change: func(a *v1alpha1.Application) {
			a.Status.Conditions[0].Status, a.Status.Conditions[0].Reason = "False", "HealthFailed"
		}, want: "it failed: HealthFailed", settled: true},
		"one that waits for health": {change: func(a *v1alpha1.Application) {
			a.Status.Conditions[0].Status, a.Status.Conditions[0].Reason = "Unknown", "Progressing"
		}, want: "it is not ready yet: Progressing"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := ready()
			if c.change != nil {
				c.change(a)
			}
			if c.missing {
				a = nil
			}
			if got := dependency.Unready(a); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if _, settled := dependency.Standing(a); settled != c.settled {
				t.Errorf("settled %v, want %v", settled, c.settled)
			}
		})
	}
}

func TestBehind(t *testing.T) {
	if why := dependency.Behind(ready(), "d", "abcdef0123"); why != "" {
		t.Errorf("what was applied does not count: %s", why)
	}
	if got, want := dependency.Behind(ready(), "e", "abcdef0123"), "it is ready at 01234567, and abcdef01 changes it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	none := ready()
	none.Status.Inputs = nil
	if dependency.Behind(none, "", "abcdef0123") == "" {
		t.Error("one that applied nothing counts")
	}
}

func TestStandingMovesWithWhatDecides(t *testing.T) {
	before, _ := dependency.Standing(ready())
	for name, change := range map[string]func(*v1alpha1.Application){
		"another attempt":       func(a *v1alpha1.Application) { a.Status.LastAttempt.Number++ },
		"other inputs":          func(a *v1alpha1.Application) { a.Status.Inputs.Digest = "e" },
		"another of the name":   func(a *v1alpha1.Application) { a.UID = "v" },
		"a failure":             func(a *v1alpha1.Application) { a.Status.Conditions[0].Status = "False" },
		"the end of a deletion": func(a *v1alpha1.Application) { a.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} },
	} {
		a := ready()
		change(a)
		if after, _ := dependency.Standing(a); after == before {
			t.Errorf("%s changes nothing", name)
		}
	}
	a := ready()
	a.Annotations = map[string]string{"x": "y"}
	if after, _ := dependency.Standing(a); after != before {
		t.Error("an annotation changes it")
	}
}
