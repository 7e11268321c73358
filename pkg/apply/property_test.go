package apply_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

var errInjected = errors.New("injected")

// Attempts at random renders are cut short at random places: a request that
// fails, one that is carried out and whose answer is lost, a worker that dies
// before the last status write. Somebody edits and deletes meanwhile. At every
// moment everything that Plumb created and that is there is owned; nothing that is
// rendered is deleted by Plumb; and the first undisturbed attempt converges.
func TestCutShortAttemptsConverge(t *testing.T) {
	for seed := range uint64(400) {
		r := newRandom(seed)
		w := newWorld(t)
		w.options.Parallel = 1
		var render []string
		for range 8 {
			render = pick(r)
			meddle(r, w.cluster)
			if err := w.disturbed(r, render); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		in := w.input(render...)
		w.look(in, true)
		p, err := w.confirmed(in)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if _, err := w.carryOut(p, in); err != nil {
			t.Fatalf("seed %d: undisturbed attempt: %v", seed, err)
		}
		if err := w.converged(render); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

func pick(r *rand.Rand) []string {
	render := []string{fmt.Sprintf("ConfigMap base=%d", r.IntN(3))}
	for _, name := range []string{"Namespace n", "ConfigMap a", "ConfigMap b", "Thing c", "APIService d"} {
		if r.IntN(2) == 0 {
			wave := []string{"", "", " wave:-1", " wave:4"}[r.IntN(4)]
			render = append(render, fmt.Sprintf("%s=%d%s", name, r.IntN(3), wave))
		}
	}
	return render
}

// meddle is somebody with kubectl.
func meddle(r *rand.Rand, m *memory) {
	for id := range m.all() {
		switch r.IntN(12) {
		case 0:
			m.remove(id)
		case 1:
			m.put(m.read(id)) // its state moves on
		}
	}
}

// disturbed is one attempt that may be cut short, and the laws after each of its requests.
func (w *world) disturbed(r *rand.Rand, render []string) error {
	fail, lose, die := r.IntN(8), r.IntN(8), r.IntN(3) == 0
	in := w.input(render...)
	p, err := w.confirmed(in)
	if err != nil {
		return err
	}
	claimed := p.Claim(in.Inventory)
	rendered := map[object.ID]bool{}
	for _, o := range in.Desired.All() {
		rendered[o.ID()] = true
	}
	var broken error
	requests := 0
	w.cluster.before = func(call string, id object.ID) error {
		for uid, made := range w.cluster.made {
			live := w.cluster.read(made)
			if _, owned := claimed.Get(made); live != nil && live.GetUID() == uid && !owned {
				broken = fmt.Errorf("%s was created and is forgotten", made)
			}
		}
		if call == "delete" && rendered[id] {
			broken = fmt.Errorf("%s is rendered and would be deleted", id)
		}
		requests++
		switch requests {
		case fail:
			return errInjected
		case lose:
			w.anyway(call, id, in.Desired)
			return errInjected
		}
		return nil
	}
	defer func() { w.cluster.before = nil }()
	_, err = w.carryOut(p, in)
	if err != nil && !errors.Is(err, errInjected) && !strings.Contains(err.Error(), errInjected.Error()) {
		return err
	}
	if die {
		w.owned = claimed // the last status write did not happen
	}
	return broken
}

// anyway carries a request out whose answer is lost.
func (w *world) anyway(call string, id object.ID, desired object.Set) {
	before := w.cluster.before
	w.cluster.before = nil
	defer func() { w.cluster.before = before }()
	switch o, _ := desired.Get(id); call {
	case "apply":
		_, _ = w.cluster.Apply(w.t.Context(), o, optionsFor(w, id))
	case "delete":
		w.cluster.remove(id)
	}
}

func (w *world) converged(render []string) error {
	set := w.set(render...)
	for _, o := range set.All() {
		live := w.cluster.read(o.ID())
		if live == nil {
			return fmt.Errorf("%s is missing", o.ID())
		}
		if diff := plan.Diff(o, live); len(diff) > 0 {
			return fmt.Errorf("%s differs: %v", o.ID(), diff)
		}
		if e, _ := w.owned.Get(o.ID()); !e.Settled() || e.UID != string(live.GetUID()) {
			return fmt.Errorf("%s is recorded as %+v", o.ID(), e)
		}
	}
	for id, live := range w.cluster.all() {
		if _, is := set.Get(id); !is && live.GetAnnotations()[v1alpha1.OwnerAnnotation] == "team/web" {
			return fmt.Errorf("%s is left over", id)
		}
	}
	if w.owned.Len() != set.Len() {
		return fmt.Errorf("%d objects are owned, %d are rendered", w.owned.Len(), set.Len())
	}
	return nil
}

// optionsFor are the preconditions that the plan would have sent.
func optionsFor(w *world, id object.ID) (o cluster.ApplyOptions) {
	if live := w.cluster.read(id); live != nil {
		o.UID = live.GetUID()
	}
	return o
}
