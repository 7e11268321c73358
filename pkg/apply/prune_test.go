package apply_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// Between plan and deletion somebody changes the object.
func TestDeletionsCheckWhatIsThere(t *testing.T) {
	const ours, other = "team/web", "team/other"
	tests := map[string]struct {
		meanwhile func(*memory)
		calls     []string
		outcome   string
		state     map[string]string
		left      bool
	}{
		"an object that stayed as it was is deleted": {
			meanwhile: func(*memory) {},
			calls:     []string{"delete ConfigMap team/old", "get ConfigMap team/old"},
			outcome:   "pruned old",
		},
		"one whose state moved on is read, checked and deleted": {
			meanwhile: func(m *memory) { m.put(m.read(id("ConfigMap old"))) },
			calls: []string{"delete ConfigMap team/old", "get ConfigMap team/old", "delete ConfigMap team/old",
				"get ConfigMap team/old"},
			outcome: "pruned old",
		},
		"one that another Application took is let be": {
			meanwhile: func(m *memory) {
				m.put(marked(parse("ConfigMap old=1"), string(m.read(id("ConfigMap old")).GetUID()), other))
			},
			calls:   []string{"delete ConfigMap team/old", "get ConfigMap team/old"},
			outcome: "kept old",
			left:    true,
		},
		"one that was replaced under its name is let be": {
			meanwhile: func(m *memory) { m.put(marked(parse("ConfigMap old=1"), "new", ours)) },
			calls:     []string{"delete ConfigMap team/old", "get ConfigMap team/old"},
			outcome:   "kept old",
			left:      true,
		},
		"one that asked to be kept is kept, and stays owned": {
			meanwhile: func(m *memory) {
				u := m.read(id("ConfigMap old"))
				annotations := u.GetAnnotations()
				annotations["plumb.dev/prune"] = "disabled"
				u.SetAnnotations(annotations)
				m.put(u)
			},
			calls:   []string{"delete ConfigMap team/old", "get ConfigMap team/old"},
			outcome: "kept old",
			state:   map[string]string{"old": "settled"},
			left:    true,
		},
		"one that somebody deleted is forgotten": {
			meanwhile: func(m *memory) { m.remove(id("ConfigMap old")) },
			calls:     []string{"delete ConfigMap team/old", "get ConfigMap team/old"},
			outcome:   "pruned old",
		},
		"one that a finalizer holds stays owned until it is gone": {
			meanwhile: func(m *memory) {
				u := m.read(id("ConfigMap old"))
				u.SetFinalizers([]string{"example.com/hold"})
				m.put(u)
			},
			calls: []string{"delete ConfigMap team/old", "get ConfigMap team/old", "delete ConfigMap team/old",
				"get ConfigMap team/old"},
			outcome: "pruned old",
			state:   map[string]string{"old": "unsure"},
			left:    true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.sync("ConfigMap a=1", "ConfigMap old=1"); err != nil {
				t.Fatal(err)
			}
			in := w.input("ConfigMap a=1")
			p, err := plan.Decide(in)
			if err != nil {
				t.Fatal(err)
			}
			tt.meanwhile(w.cluster)
			w.cluster.calls = nil
			r, err := w.carryOut(p, in)
			state := map[string]string{"a": "settled"}
			for k, v := range tt.state {
				state[k] = v
			}
			w.check(r, err, "", []string{"unchanged a", tt.outcome}, state)
			if diff := cmp.Diff(tt.calls, w.cluster.calls); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if left := w.cluster.read(id("ConfigMap old")) != nil; left != tt.left {
				t.Errorf("left in the cluster: %v", left)
			}
		})
	}
}

func TestAnObjectThatNeverStopsChangingIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	if _, err := w.sync("ConfigMap a=1", "ConfigMap old=1"); err != nil {
		t.Fatal(err)
	}
	w.cluster.before = func(call string, id object.ID) error {
		if call == "delete" {
			w.cluster.put(w.cluster.read(id))
		}
		return nil
	}
	r, err := w.sync("ConfigMap a=1")
	w.check(r, err, "changed since it was read", []string{"unchanged a", "failed old"}, map[string]string{"a": "settled", "old": "settled"})
}

func TestAnUnreadableObjectStaysOwned(t *testing.T) {
	w := newWorld(t)
	if _, err := w.sync("ConfigMap a=1", "ConfigMap old=1"); err != nil {
		t.Fatal(err)
	}
	in := w.input("ConfigMap a=1")
	p, err := plan.Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	w.cluster.before = refuse("get", "old", errors.New("connection reset"))
	r, err := w.carryOut(p, in)
	w.check(r, err, "", []string{"unchanged a", "pruned old"}, map[string]string{"a": "settled", "old": "unsure"})
}

// The uid is known only after the apply: the plan cannot see that both are one.
func TestOneObjectUnderTwoGroupsIsNotPruned(t *testing.T) {
	w := newWorld(t)
	if _, err := w.sync("ConfigMap a=1", "Thing old=1"); err != nil {
		t.Fatal(err)
	}
	in := w.input("ConfigMap a=1", "Other old=1")
	p, err := plan.Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	uid := string(w.cluster.read(id("Thing old")).GetUID())
	w.cluster.put(marked(parse("Other old=1"), uid, "team/web"))
	r, err := w.carryOut(p, in)
	w.check(r, err, "", []string{"unchanged a", "created old", "kept old"}, map[string]string{"a": "settled", "old": "settled"})
	if w.cluster.read(id("Thing old")) == nil {
		t.Error("the rendered object was deleted by its old name")
	}
}

func TestWhatGoesWaitsForWhatNeedsIt(t *testing.T) {
	w := newWorld(t)
	if _, err := w.sync("ConfigMap a=1", "Namespace n=1", "Thing x=1", "APIService z=1"); err != nil {
		t.Fatal(err)
	}
	in := w.input()
	w.look(in, true)
	w.cluster.calls = nil
	w.cluster.before = refuse("delete", "x", errors.New("no"))
	r, err := w.carryOut(plan.Teardown(in, "delete"), in)
	w.check(r, err, "no", []string{"pruned z", "failed x", "skipped a", "skipped n"}, map[string]string{"x": "settled", "a": "settled", "n": "settled"})
	w.cluster.before = nil
	in = w.input()
	w.look(in, true)
	r, err = w.carryOut(plan.Teardown(in, "delete"), in)
	w.check(r, err, "", []string{"pruned x", "pruned a", "pruned n"}, map[string]string{})
	if len(w.cluster.all()) != 0 {
		t.Errorf("left: %v", w.cluster.all())
	}
}

// An object vanishes or is replaced between plan and apply.
func TestReplacedObjectsAreDecidedAboutOnceMore(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(*memory)
		outcome   string
		err       string
		state     string
	}{
		"one that vanished is created":       {func(m *memory) { m.remove(id("ConfigMap a")) }, "created a", "", "settled"},
		"one of nobody's is adopted":         {func(m *memory) { m.put(marked(parse("ConfigMap a=0"), "new", "")) }, "adopted a", "", "settled"},
		"one of another Application is not":  {func(m *memory) { m.put(marked(parse("ConfigMap a=0"), "new", "team/other")) }, "failed a", "belongs to Application team/other", "unsure"},
		"one that changes all the time ends": {func(m *memory) { m.before = replaceAlways(m) }, "failed a", "replaced by another", "unsure"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.sync("ConfigMap a=1"); err != nil {
				t.Fatal(err)
			}
			in := w.input("ConfigMap a=2")
			p, err := plan.Decide(in)
			if err != nil {
				t.Fatal(err)
			}
			tt.meanwhile(w.cluster)
			r, err := w.carryOut(p, in)
			w.check(r, err, tt.err, []string{tt.outcome}, map[string]string{"a": tt.state})
			if e, _ := w.owned.Get(id("ConfigMap a")); tt.state == "settled" && e.UID != string(w.cluster.read(e.ID).GetUID()) {
				t.Errorf("recorded uid %s", e.UID)
			}
		})
	}
}

func replaceAlways(m *memory) func(string, object.ID) error {
	n := 0
	return func(call string, _ object.ID) error {
		if n++; call == "apply" {
			m.put(marked(parse("ConfigMap a=0"), string(rune('a'+n)), ""))
		}
		return nil
	}
}

func TestNothingToDoIsNoRequest(t *testing.T) {
	w := newWorld(t)
	r, err := apply.Run(t.Context(), plan.Plan{}, w.cluster, w.guard, apply.Options{})
	if err != nil || len(r.Outcomes) != 0 || len(w.cluster.calls) != 0 {
		t.Errorf("%v %v %q", r, err, w.cluster.calls)
	}
}
