package apply_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// world is one Application, what it owns, and its cluster.
type world struct {
	t       *testing.T
	app     *v1alpha1.Application
	cluster *memory
	owned   inventory.Inventory
	guard   func() error
	options apply.Options
	others  []string  // names of Applications that exist, beside other
	behind  []app.Key // as plan.Input.Behind
}

func newWorld(t *testing.T) *world {
	a := &v1alpha1.Application{}
	a.Namespace, a.Name = "team", "web"
	a.Spec.Sync.PruneLimit = "100%"
	return &world{t: t, app: a, cluster: newMemory(), guard: func() error { return nil }}
}

// sync makes one attempt at the given objects (see parse).
func (w *world) sync(objects ...string) (apply.Result, error) {
	w.t.Helper()
	in := w.input(objects...)
	p, err := plan.Decide(in)
	if err != nil {
		return apply.Result{}, err
	}
	return w.carryOut(p, in)
}

// confirmed is the plan after somebody confirmed its deletions.
func (w *world) confirmed(in plan.Input) (plan.Plan, error) {
	p, err := plan.Decide(in)
	if err != nil || p.Blocked == "" {
		return p, err
	}
	w.app.Annotations = map[string]string{v1alpha1.ConfirmPruneAnnotation: p.Digest}
	return plan.Decide(in)
}

func (w *world) carryOut(p plan.Plan, in plan.Input) (apply.Result, error) {
	w.owned = p.Claim(in.Inventory)
	result, err := apply.Run(context.Background(), p, w.cluster, w.guard, w.options)
	w.owned = result.Inventory(w.owned)
	return result, err
}

func (w *world) input(objects ...string) plan.Input {
	w.t.Helper()
	in := plan.Input{
		Application: w.app, Desired: w.set(objects...), Inventory: w.owned, Heal: true,
		Live: map[object.ID]*unstructured.Unstructured{}, Fields: cluster.FieldsHash,
		Exists: func(k app.Key) bool { return k.Name == "other" || slices.Contains(w.others, k.Name) }, Behind: w.behind,
	}
	w.look(in, false)
	return in
}

// look reads what the plan needs.
func (w *world) look(in plan.Input, fresh bool) {
	for _, ref := range plan.Needs(in, fresh) {
		in.Live[ref.ID] = w.cluster.read(ref.ID)
	}
}

func (w *world) set(texts ...string) object.Set {
	w.t.Helper()
	var objects []object.Object
	for _, text := range texts {
		u := parse(text)
		objects = append(objects, object.New(u, "src/"+u.GetName()+".yaml", 1))
	}
	set, err := object.NewSet(objects)
	if err != nil {
		w.t.Fatal(err)
	}
	set, err = plan.Prepare(set, w.app, func(gvk schema.GroupVersionKind) (bool, error) { return gvk.Kind != "Namespace", nil })
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

// words tells what became of each action.
func words(r apply.Result) []string {
	var out []string
	for _, o := range r.Outcomes {
		out = append(out, o.Word()+" "+o.Action.ID.Name)
	}
	return out
}

// state is the inventory: name and whether it is settled, without uid, or with.
func (w *world) state() map[string]string {
	out := map[string]string{}
	for _, e := range w.owned.Entries() {
		switch {
		case e.Settled() && e.Fields != "":
			out[e.ID.Name] = "settled"
		case e.UID != "":
			out[e.ID.Name] = "unsure"
		default:
			out[e.ID.Name] = "claimed"
		}
	}
	return out
}

func (w *world) check(r apply.Result, err error, wantError string, outcomes []string, state map[string]string) {
	w.t.Helper()
	switch {
	case wantError == "" && err != nil, wantError != "" && (err == nil || !strings.Contains(err.Error(), wantError)):
		w.t.Errorf("got error %v, want %q", err, wantError)
	}
	if diff := cmp.Diff(outcomes, words(r)); diff != "" {
		w.t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(state, w.state()); diff != "" {
		w.t.Errorf("inventory (-want +got):\n%s", diff)
	}
}

// parse reads "<kind> <name>=<value> <annotation>:<value>...".
func parse(text string) *unstructured.Unstructured {
	words := strings.Fields(text)
	kind := words[0]
	name, value, _ := strings.Cut(words[1], "=")
	version := map[string]string{"APIService": "apiregistration.k8s.io/v1", "Job": "batch/v1"}[kind]
	if version == "" {
		version = "v1"
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": version, "kind": kind, "metadata": map[string]any{"name": name}, "data": map[string]any{"value": value},
	}}
	if kind != "Namespace" {
		u.SetNamespace("team")
	}
	annotations := map[string]string{}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, ":")
		annotations["plumb.dev/"+key] = value
	}
	if len(annotations) > 0 {
		u.SetAnnotations(annotations)
	}
	return u
}

func id(text string) object.ID { return object.IDOf(parse(text)) }

func marked(u *unstructured.Unstructured, uid, owner string) *unstructured.Unstructured {
	u.SetUID(types.UID(uid))
	u.SetAnnotations(map[string]string{v1alpha1.OwnerAnnotation: owner})
	return u
}

// refuse fails one call on one object.
func refuse(call, name string, err error) func(string, object.ID) error {
	return func(c string, id object.ID) error {
		if c == call && id.Name == name {
			return err
		}
		return nil
	}
}

func TestStages(t *testing.T) {
	w := newWorld(t)
	var waited []object.ID
	w.options.Wait = func(_ context.Context, ids []object.ID, _ plan.Await) error {
		waited = ids
		return nil
	}
	var told []string
	w.options.Progress = func(o apply.Outcome) { told = append(told, o.Word()+" "+o.Action.ID.Name) }
	r, err := w.sync("ConfigMap a=1", "Namespace n=1", "APIService z=1")
	w.check(r, err, "", []string{"created n", "created a", "created z"}, map[string]string{"n": "settled", "a": "settled", "z": "settled"})
	if diff := cmp.Diff([]string{"apply Namespace n", "apply ConfigMap team/a", "apply APIService team/z"}, w.cluster.calls); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]object.ID{id("Namespace n")}, waited); diff != "" {
		t.Errorf("waited for (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"created n", "created a", "created z"}, told); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	var stages []string
	for _, s := range r.Stages {
		stages = append(stages, s.Name)
	}
	if diff := cmp.Diff([]string{"foundation", "objects", "gates"}, stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	w.cluster.calls, waited = nil, nil
	r, err = w.sync("ConfigMap a=1", "Namespace n=1", "APIService z=1")
	w.check(r, err, "", []string{"unchanged n", "unchanged a", "unchanged z"}, map[string]string{"n": "settled", "a": "settled", "z": "settled"})
	if len(w.cluster.calls) != 0 || len(waited) != 0 {
		t.Errorf("an unchanged render cost %q, waits %v", w.cluster.calls, waited)
	}
}

func TestFailures(t *testing.T) {
	broken := fault.Refuse("", fault.Place{}, "apply ConfigMap team/b: field is immutable")
	tests := map[string]struct {
		before   func(string, object.ID) error
		wait     error
		sync     []string
		err      string
		class    fault.Class
		outcomes []string
		state    map[string]string
	}{
		"one that fails does not stop its stage, but what comes after": {
			before:   refuse("apply", "b", broken),
			sync:     []string{"ConfigMap a=2", "ConfigMap b=2", "ConfigMap c=2", "APIService z=2"},
			err:      "src/b.yaml:1: apply ConfigMap team/b: field is immutable",
			class:    fault.Permanent,
			outcomes: []string{"updated a", "failed b", "updated c", "skipped z", "skipped old"},
			state:    map[string]string{"a": "settled", "b": "unsure", "c": "settled", "z": "claimed", "old": "settled"},
		},
		"a new one that fails stays claimed": {
			before:   refuse("apply", "new", broken),
			sync:     []string{"ConfigMap a=1", "ConfigMap b=1", "ConfigMap c=1", "ConfigMap new=1"},
			err:      "field is immutable",
			class:    fault.Permanent,
			outcomes: []string{"unchanged a", "unchanged b", "unchanged c", "failed new", "skipped old"},
			state:    map[string]string{"a": "settled", "b": "settled", "c": "settled", "new": "claimed", "old": "settled"},
		},
		"one failure worth trying again makes the whole worth it": {
			before: func(call string, id object.ID) error {
				return errors.Join(refuse("apply", "b", broken)(call, id), refuse("apply", "c", errors.New("connection reset"))(call, id))
			},
			sync:     []string{"ConfigMap a=2", "ConfigMap b=2", "ConfigMap c=2"},
			err:      "2 of 3 objects failed: src/b.yaml:1: apply ConfigMap team/b: field is immutable; src/c.yaml:1: connection reset",
			class:    fault.Transient,
			outcomes: []string{"updated a", "failed b", "failed c", "skipped old"},
			state:    map[string]string{"a": "settled", "b": "unsure", "c": "unsure", "old": "settled"},
		},
		"a foundation that does not become usable stops the rest": {
			wait:     fault.Retry(fault.HealthTimeout, "Namespace n: Progressing"),
			sync:     []string{"Namespace n=1", "ConfigMap a=1", "ConfigMap b=1", "ConfigMap c=1"},
			err:      "Namespace n: Progressing",
			class:    fault.Transient,
			outcomes: []string{"created n", "skipped a", "skipped b", "skipped c", "skipped old"},
			state:    map[string]string{"n": "settled", "a": "settled", "b": "settled", "c": "settled", "old": "settled"},
		},
		"a deletion that fails keeps its entry": {
			before:   refuse("delete", "old", broken),
			sync:     []string{"ConfigMap a=1", "ConfigMap b=1", "ConfigMap c=1"},
			err:      "field is immutable",
			class:    fault.Permanent,
			outcomes: []string{"unchanged a", "unchanged b", "unchanged c", "failed old"},
			state:    map[string]string{"a": "settled", "b": "settled", "c": "settled", "old": "settled"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.sync("ConfigMap a=1", "ConfigMap b=1", "ConfigMap c=1", "ConfigMap old=1"); err != nil {
				t.Fatal(err)
			}
			w.cluster.before = tt.before
			w.options.Wait = func(context.Context, []object.ID, plan.Await) error { return tt.wait }
			r, err := w.sync(tt.sync...)
			w.check(r, err, tt.err, tt.outcomes, tt.state)
			if class, _ := fault.ClassOf(err); class != tt.class {
				t.Errorf("is %s, want %s", class, tt.class)
			}
			w.cluster.before, w.options.Wait = nil, nil
			if _, err := w.sync(tt.sync...); err != nil {
				t.Errorf("the next attempt: %v", err)
			}
			for _, e := range w.owned.Entries() {
				if !e.Settled() || w.cluster.read(e.ID) == nil {
					t.Errorf("after the next attempt: %+v", e)
				}
			}
			if w.owned.Len() != len(tt.sync) || len(w.cluster.all()) != len(tt.sync) {
				t.Errorf("after the next attempt: %d owned, %d there", w.owned.Len(), len(w.cluster.all()))
			}
		})
	}
}

func TestTheLongestWaitIsHonoured(t *testing.T) {
	w := newWorld(t)
	w.cluster.before = func(_ string, id object.ID) error {
		return fault.After("", map[string]time.Duration{"a": 3, "b": 9, "c": 1}[id.Name], "too many requests")
	}
	_, err := w.sync("ConfigMap a=1", "ConfigMap b=1", "ConfigMap c=1", "ConfigMap d=1", "ConfigMap e=1")
	class, wait := fault.ClassOf(err)
	if class != fault.RetryAfter || wait != 9 || !strings.HasSuffix(err.Error(), "; and 2 more") || fault.ReasonOf(err) != fault.ApplyFailed {
		t.Errorf("%s after %d, %s: %v", class, wait, fault.ReasonOf(err), err)
	}
}

func TestTheGuardStopsEveryNewWrite(t *testing.T) {
	lost := errors.New("lease lost")
	for writes := range 5 {
		t.Run(fmt.Sprintf("after %d writes", writes), func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.sync("ConfigMap x=1", "ConfigMap y=1"); err != nil {
				t.Fatal(err)
			}
			w.cluster.writes, w.options.Parallel = 0, 1
			w.guard = func() error {
				if w.cluster.writes >= writes {
					return lost
				}
				return nil
			}
			r, err := w.sync("ConfigMap a=1", "ConfigMap b=1", "APIService c=1")
			if !errors.Is(err, lost) || w.cluster.writes != writes {
				t.Errorf("%d writes, %v", w.cluster.writes, err)
			}
			skipped := slices.DeleteFunc(words(r), func(s string) bool { return !strings.HasPrefix(s, "skipped") })
			if len(skipped) != 5-writes || len(r.Outcomes) != 5 {
				t.Errorf("outcomes %q", words(r))
			}
			w.guard = func() error { return nil }
			r, err = w.sync("ConfigMap a=1", "ConfigMap b=1", "APIService c=1")
			if err != nil || len(w.cluster.all()) != 3 || w.owned.Len() != 3 {
				t.Errorf("the next attempt: %v, %q, %v", err, words(r), w.state())
			}
		})
	}
}

func TestAGuardThatRefusesOnceRefusesForGood(t *testing.T) {
	w := newWorld(t)
	asked := 0
	w.guard = func() error {
		asked++
		if asked == 1 {
			return errors.New("clock went backwards")
		}
		return nil
	}
	_, err := w.sync("ConfigMap a=1", "ConfigMap b=1")
	if err == nil || w.cluster.writes != 0 {
		t.Errorf("%d writes, %v", w.cluster.writes, err)
	}
}

func TestABlockedPlanWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.app.Spec.Sync.PruneLimit = "0"
	if _, err := w.sync("ConfigMap a=1", "ConfigMap b=1"); err != nil {
		t.Fatal(err)
	}
	w.cluster.writes = 0
	r, err := w.sync("ConfigMap a=2")
	w.check(r, err, "would delete 1 of 2 objects", []string{"skipped a", "skipped b"}, map[string]string{"a": "unsure", "b": "settled"})
	if w.cluster.writes != 0 || fault.ReasonOf(err) != fault.PruneBlocked {
		t.Errorf("%d writes, %s", w.cluster.writes, fault.ReasonOf(err))
	}
}

func TestACancelledRunBeginsNothing(t *testing.T) {
	w := newWorld(t)
	p, err := plan.Decide(w.input("ConfigMap a=1"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := apply.Run(ctx, p, w.cluster, w.guard, apply.Options{}); !errors.Is(err, context.Canceled) || len(w.cluster.calls) != 0 {
		t.Errorf("%v, %q", err, w.cluster.calls)
	}
}
