package apply_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// immutable refuses to change the object that has the uid, as the API server does.
func immutable(m *memory, target object.ID) func(string, object.ID) error {
	uid := m.read(target).GetUID()
	return func(call string, id object.ID) error {
		if live := m.read(id); call == "apply" && id == target && live != nil && live.GetUID() == uid {
			return fault.Refuse("", fault.Place{Object: id.Human(), Field: "spec.selector"}, "%w", cluster.ErrImmutable)
		}
		return nil
	}
}

func TestImmutableFields(t *testing.T) {
	tests := map[string]struct {
		before, after string
		meanwhile     func(*memory)
		outcome, err  string
		calls         []string
	}{
		"without permission the object stays": {
			before: "Thing x=1", after: "Thing x=2", outcome: "failed x", err: "Thing team/x: spec.selector: immutable fields cannot be changed",
			calls: []string{"apply Thing team/x"},
		},
		"with permission it is deleted, and made once it is gone": {
			before: "Thing x=1", after: "Thing x=2 replace:allowed", outcome: "replaced x",
			calls: []string{"apply Thing team/x", "get Thing team/x", "delete Thing team/x", "get Thing team/x", "apply Thing team/x"},
		},
		"a namespace is never": {
			before: "Namespace x=1", after: "Namespace x=2 replace:allowed", outcome: "failed x", err: "immutable",
			calls: []string{"apply Namespace x"},
		},
		"nor is a claim": {
			before: "PersistentVolumeClaim x=1", after: "PersistentVolumeClaim x=2 replace:allowed", outcome: "failed x", err: "immutable",
			calls: []string{"apply PersistentVolumeClaim team/x"},
		},
		"one that is not certainly ours is not deleted": {
			before: "Thing x=1", after: "Thing x=2 replace:allowed", outcome: "failed x", err: "immutable",
			meanwhile: func(m *memory) {
				u := m.read(id("Thing x"))
				u.SetAnnotations(nil)
				m.put(u)
			},
			calls: []string{"apply Thing team/x", "get Thing team/x"},
		},
		"what finalizers hold is made in another attempt": {
			before: "Thing x=1", after: "Thing x=2 replace:allowed", outcome: "failed x",
			err: "make Thing team/x anew: the old one is still there, held by the finalizers example.com/hold",
			meanwhile: func(m *memory) {
				u := m.read(id("Thing x"))
				u.SetFinalizers([]string{"example.com/hold"})
				m.put(u)
			},
			calls: []string{"apply Thing team/x", "get Thing team/x", "delete Thing team/x", "get Thing team/x", "get Thing team/x"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.sync(tt.before); err != nil {
				t.Fatal(err)
			}
			in := w.input(tt.after)
			p, err := plan.Decide(in)
			if err != nil {
				t.Fatal(err)
			}
			if tt.meanwhile != nil {
				tt.meanwhile(w.cluster)
			}
			w.cluster.calls, w.cluster.before = nil, immutable(w.cluster, id(tt.before))
			r, err := w.carryOut(p, in)
			state := map[string]string{"x": "unsure"}
			if tt.err == "" {
				state["x"] = "settled"
			}
			w.check(r, err, tt.err, []string{tt.outcome}, state)
			if diff := cmp.Diff(tt.calls, w.cluster.calls); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAReplacementCutShortIsFinished(t *testing.T) {
	for cut := 1; cut < 4; cut++ {
		w := newWorld(t)
		if _, err := w.sync("Thing x=1"); err != nil {
			t.Fatal(err)
		}
		refuses, requests := immutable(w.cluster, id("Thing x")), 0
		w.cluster.before = func(call string, id object.ID) error {
			if call != "get" {
				requests++
			}
			if requests == cut+1 {
				return errInjected
			}
			return refuses(call, id)
		}
		if _, err := w.sync("Thing x=2 replace:allowed"); err == nil && cut < 3 {
			t.Errorf("cut after %d requests: no error", cut)
		}
		w.cluster.before = refuses
		r, err := w.sync("Thing x=2 replace:allowed")
		if err != nil || plan.Diff(w.set("Thing x=2 replace:allowed").All()[0], w.cluster.read(id("Thing x"))) != nil {
			t.Errorf("cut after %d requests: %v, %v", cut, words(r), err)
		}
	}
}

// held is a world in which a finalizer holds a Thing of wave 5.
func held(t *testing.T) *world {
	w := newWorld(t)
	if _, err := w.sync("ConfigMap stays=1", "Thing x=1 wave:5", "ConfigMap operator=1"); err != nil {
		t.Fatal(err)
	}
	u := w.cluster.read(id("Thing x"))
	u.SetFinalizers([]string{"example.com/hold"})
	w.cluster.put(u)
	return w
}

func TestThePruneWaitsForFinalizersBetweenWaves(t *testing.T) {
	t.Run("and goes on when they are gone", func(t *testing.T) {
		w := held(t)
		w.options.Wait = func(_ context.Context, ids []object.ID, until plan.Await) error {
			if until == plan.Gone {
				w.cluster.remove(ids[0])
			}
			return nil
		}
		r, err := w.sync("ConfigMap stays=1")
		w.check(r, err, "", []string{"unchanged stays", "pruned x", "pruned operator"}, map[string]string{"stays": "settled"})
	})
	t.Run("and names what holds it when they are not", func(t *testing.T) {
		w := held(t)
		w.options.Wait = func(context.Context, []object.ID, plan.Await) error { return context.DeadlineExceeded }
		r, err := w.sync("ConfigMap stays=1")
		w.check(r, err, "wait for the deletion of Thing team/x, held by the finalizers example.com/hold: context deadline exceeded",
			[]string{"unchanged stays", "pruned x", "skipped operator"}, map[string]string{"stays": "settled", "x": "unsure", "operator": "settled"})
		if fault.ReasonOf(err) != fault.PruneBlocked || len(r.Held()) != 1 || r.Held()[0].String() != "Thing team/x (finalizers example.com/hold)" {
			t.Errorf("%s, held: %v", fault.ReasonOf(err), r.Held())
		}
		r, err = w.sync("ConfigMap stays=1")
		w.check(r, err, "held by the finalizers", []string{"unchanged stays", "kept x", "skipped operator"},
			map[string]string{"stays": "settled", "x": "unsure", "operator": "settled"})
		w.cluster.remove(id("Thing x"))
		r, err = w.sync("ConfigMap stays=1")
		w.check(r, err, "", []string{"unchanged stays", "pruned x", "pruned operator"}, map[string]string{"stays": "settled"})
	})
	t.Run("or leaves the rest to another run", func(t *testing.T) {
		w := held(t)
		in := w.input()
		w.look(in, true)
		r, err := w.carryOut(plan.Teardown(in, v1alpha1.DeletionDelete), in)
		w.check(r, err, "", []string{"pruned x", "skipped stays", "skipped operator"},
			map[string]string{"stays": "settled", "x": "unsure", "operator": "settled"})
	})
}

// An object of the last wave may go on being deleted after the attempt.
func TestNothingWaitsForTheLastFinalizer(t *testing.T) {
	w := held(t)
	w.options.Wait = func(context.Context, []object.ID, plan.Await) error { return errors.New("nothing is to be waited for") }
	r, err := w.sync("ConfigMap stays=1", "ConfigMap operator=1")
	w.check(r, err, "", []string{"unchanged operator", "unchanged stays", "pruned x"}, map[string]string{"stays": "settled", "x": "unsure", "operator": "settled"})
	if len(r.Held()) != 1 {
		t.Errorf("held: %v", r.Held())
	}
}

func TestWavesWaitForHealth(t *testing.T) {
	w := newWorld(t)
	var waits [][]object.ID
	w.options.Wait = func(_ context.Context, ids []object.ID, until plan.Await) error {
		waits = append(waits, ids)
		if until != plan.Healthy {
			t.Errorf("waits until %s", until)
		}
		return nil
	}
	if _, err := w.sync("Job slow=1", "ConfigMap quick=1", "ConfigMap up=1 wave:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sync("Job slow=1", "ConfigMap quick=1", "ConfigMap up=1 wave:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sync("Job slow=1", "ConfigMap quick=2", "ConfigMap up=2 wave:1"); err != nil {
		t.Fatal(err)
	}
	want := [][]object.ID{{id("Job slow")}, {id("Job slow")}} // the second was not read: nothing changed there
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	w.options.Wait = func(context.Context, []object.ID, plan.Await) error {
		return fault.Refuse(fault.HealthFailed, fault.Place{}, "Job team/slow: Degraded")
	}
	r, err := w.sync("Job slow=2", "ConfigMap quick=2", "ConfigMap up=3 wave:1")
	w.check(r, err, "Degraded", []string{"unchanged quick", "updated slow", "skipped up"}, map[string]string{"slow": "settled", "quick": "settled", "up": "unsure"})
}

func TestPoliciesOfObjects(t *testing.T) {
	w := newWorld(t)
	r, err := w.sync("ConfigMap once=1 apply:if-absent", "ConfigMap m=1 apply:merge", "ConfigMap left=1 apply:ignore")
	w.check(r, err, "", []string{"unchanged left", "created m", "created once"}, map[string]string{"m": "settled", "once": "unsure"})
	w.cluster.calls = nil
	r, err = w.sync("ConfigMap once=2 apply:if-absent", "ConfigMap m=1 apply:merge")
	w.check(r, err, "", []string{"unchanged m", "unchanged once"}, map[string]string{"m": "settled", "once": "unsure"})
	r, err = w.sync("ConfigMap once=2 apply:ignore", "ConfigMap m=1 apply:merge")
	w.check(r, err, "", []string{"unchanged m", "kept once"}, map[string]string{"m": "settled"})
	if len(w.cluster.calls) > 0 || w.cluster.read(id("ConfigMap once")) == nil {
		t.Errorf("requests %q", w.cluster.calls)
	}
	w.cluster.put(marked(parse("ConfigMap once=9"), "own", ""))
	w.cluster.calls = nil
	r, err = w.sync("ConfigMap once=2 apply:if-absent", "ConfigMap m=1")
	w.check(r, err, "", []string{"updated m", "unchanged once"}, map[string]string{"m": "settled"})
	if diff := cmp.Diff([]string{"apply ConfigMap team/m"}, w.cluster.calls); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// An object made once by a worker that ended is taken in without being written.
func TestAnObjectMadeOnceSurvivesACrash(t *testing.T) {
	w := newWorld(t)
	in := w.input("ConfigMap once=1 apply:if-absent")
	p, err := plan.Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apply.Run(t.Context(), p, w.cluster, w.guard, w.options); err != nil {
		t.Fatal(err)
	}
	w.owned = p.Claim(in.Inventory)
	w.cluster.calls = nil
	r, err := w.sync("ConfigMap once=1 apply:if-absent")
	w.check(r, err, "", []string{"unchanged once"}, map[string]string{"once": "unsure"})
	if e, _ := w.owned.Get(id("ConfigMap once")); !e.Settled() || len(w.cluster.calls) > 0 {
		t.Errorf("recorded as %+v after %q", e, w.cluster.calls)
	}
}
