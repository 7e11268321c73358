package apply_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// pair is two Applications in one cluster: web has the object m, api is to get it.
type pair struct {
	web, api *world
	uid      string
}

func newPair(t *testing.T) pair {
	p := pair{web: newWorld(t), api: newWorld(t)}
	p.api.app.Name, p.api.cluster = "api", p.web.cluster
	p.web.options.Parallel, p.api.options.Parallel = 1, 1
	p.web.others, p.api.others = []string{"api"}, []string{"web"}
	if _, err := p.web.sync("ConfigMap a=1", "ConfigMap m=1"); err != nil {
		t.Fatal(err)
	}
	p.uid = string(p.web.cluster.read(id("ConfigMap m")).GetUID())
	return p
}

// moved checks that the very object belongs to api, and to nobody else.
func (p pair) moved(t *testing.T) {
	t.Helper()
	live := p.web.cluster.read(id("ConfigMap m"))
	if live == nil || string(live.GetUID()) != p.uid {
		t.Fatalf("was deleted: %v", live)
	}
	want := map[string]string{v1alpha1.OwnerAnnotation: "team/api"}
	if diff := cmp.Diff(want, live.GetAnnotations()); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if hash := v1alpha1.OwnerHash(app.Key{Namespace: "team", Name: "api"}); live.GetLabels()[v1alpha1.OwnerLabel] != hash {
		t.Errorf("labels %v", live.GetLabels())
	}
	if _, is := p.web.owned.Get(id("ConfigMap m")); is {
		t.Error("its former owner still has it")
	}
	if e, _ := p.api.owned.Get(id("ConfigMap m")); !e.Settled() || e.UID != p.uid {
		t.Errorf("its new owner has %+v", e)
	}
}

func TestAnObjectMovesWithoutBeingDeleted(t *testing.T) {
	t.Run("when the new owner comes first", func(t *testing.T) {
		p := newPair(t)
		r, err := p.api.sync("ConfigMap m=2", "ConfigMap b=1")
		p.api.check(r, err, "src/m.yaml:1: ConfigMap team/m: belongs to Application team/web", []string{"skipped b", "failed m"},
			map[string]string{"m": "claimed", "b": "claimed"})
		if class, _ := fault.ClassOf(err); class != fault.Transient || fault.ReasonOf(err) != fault.OwnershipConflict || len(r.Contested()) != 1 || r.Contested()[0].To.Name != "web" {
			t.Errorf("%s, %s, contested %v", class, fault.ReasonOf(err), r.Contested())
		}
		r, err = p.web.sync("ConfigMap a=1", "ConfigMap m=1")
		p.web.check(r, err, "", []string{"unchanged a", "unchanged m"}, map[string]string{"a": "settled", "m": "settled"})

		r, err = p.web.sync("ConfigMap a=1")
		p.web.check(r, err, "", []string{"unchanged a", "released m"}, map[string]string{"a": "settled"})
		if len(r.Released()) != 1 || r.Released()[0].To.Name != "api" {
			t.Errorf("released %v", r.Released())
		}
		r, err = p.api.sync("ConfigMap m=2", "ConfigMap b=1")
		p.api.check(r, err, "", []string{"created b", "updated m"}, map[string]string{"m": "settled", "b": "settled"})
		p.moved(t)
	})
	t.Run("when the old owner comes first", func(t *testing.T) {
		p := newPair(t)
		p.web.behind = []app.Key{{Namespace: "team", Name: "api"}}
		r, err := p.web.sync("ConfigMap a=1")
		p.web.check(r, err, "", []string{"unchanged a", "kept m"}, map[string]string{"a": "settled", "m": "settled"})
		if _, err = p.api.sync("ConfigMap m=2"); fault.ReasonOf(err) != fault.OwnershipConflict {
			t.Fatal(err)
		}
		p.web.behind = nil
		r, err = p.web.sync("ConfigMap a=1")
		p.web.check(r, err, "", []string{"unchanged a", "released m"}, map[string]string{"a": "settled"})
		if _, err = p.api.sync("ConfigMap m=2"); err != nil {
			t.Fatal(err)
		}
		p.moved(t)
	})
	t.Run("when the claim comes between plan and prune", func(t *testing.T) {
		p := newPair(t)
		in := p.web.input("ConfigMap a=1")
		decided, err := plan.Decide(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.api.sync("ConfigMap m=2"); fault.ReasonOf(err) != fault.OwnershipConflict {
			t.Fatal(err)
		}
		r, err := p.web.carryOut(decided, in)
		p.web.check(r, err, "", []string{"unchanged a", "released m"}, map[string]string{"a": "settled"})
		if _, err = p.api.sync("ConfigMap m=2"); err != nil {
			t.Fatal(err)
		}
		p.moved(t)
	})
	t.Run("when the old owner goes as a whole", func(t *testing.T) {
		p := newPair(t)
		if _, err := p.api.sync("ConfigMap m=2"); fault.ReasonOf(err) != fault.OwnershipConflict {
			t.Fatal(err)
		}
		in := p.web.input()
		p.web.look(in, true)
		r, err := p.web.carryOut(plan.Teardown(in, v1alpha1.DeletionDelete), in)
		p.web.check(r, err, "", []string{"released m", "pruned a"}, map[string]string{})
		p.web.others, p.api.others = nil, nil
		if _, err = p.api.sync("ConfigMap m=2"); err != nil {
			t.Fatal(err)
		}
		p.moved(t)
	})
}

func TestAClaimThatIsGivenUp(t *testing.T) {
	p := newPair(t)
	if _, err := p.api.sync("ConfigMap m=2", "ConfigMap b=1"); fault.ReasonOf(err) != fault.OwnershipConflict {
		t.Fatal(err)
	}
	r, err := p.api.sync("ConfigMap b=1")
	p.api.check(r, err, "", []string{"created b", "released m"}, map[string]string{"b": "settled"})
	if live := p.web.cluster.read(id("ConfigMap m")); live.GetAnnotations()[plan.ClaimAnnotation] != "" || live.GetAnnotations()[v1alpha1.OwnerAnnotation] != "team/web" {
		t.Errorf("annotations %v", live.GetAnnotations())
	}
	r, err = p.web.sync("ConfigMap a=1")
	p.web.check(r, err, "", []string{"unchanged a", "pruned m"}, map[string]string{"a": "settled"})
}

// What was made over is the claimant's, also when it wants it no more by then.
func TestWhatWasMadeOverIsNotLeaked(t *testing.T) {
	p := newPair(t)
	if _, err := p.api.sync("ConfigMap m=2", "ConfigMap b=1"); fault.ReasonOf(err) != fault.OwnershipConflict {
		t.Fatal(err)
	}
	if _, err := p.web.sync("ConfigMap a=1"); err != nil {
		t.Fatal(err)
	}
	r, err := p.api.sync("ConfigMap b=1")
	p.api.check(r, err, "", []string{"created b", "pruned m"}, map[string]string{"b": "settled"})
}

func TestAClaimThatCannotBeWritten(t *testing.T) {
	p := newPair(t)
	p.api.cluster.before = refuse("patch", "m", fault.Refuse("", fault.Place{}, "patch ConfigMap team/m: forbidden"))
	r, err := p.api.sync("ConfigMap m=2")
	p.api.check(r, err, "forbidden", []string{"failed m"}, map[string]string{"m": "claimed"})
	if fault.ReasonOf(err) != fault.OwnershipConflict {
		t.Errorf("reason %s", fault.ReasonOf(err))
	}
	calls := len(p.api.cluster.calls)
	p.api.guard = func() error { return errors.New("lease lost") }
	if _, err := p.api.sync("ConfigMap m=2"); err == nil || len(p.api.cluster.calls) != calls {
		t.Errorf("without a lease: %v, %q", err, p.api.cluster.calls[calls:])
	}
}

// Objects move at random between two Applications, whose attempts are cut short at
// random, and which begin in any order: no object is deleted that one of the two
// renders, and all settles. Each waits with its deletions until the other applied
// what it renders by now.
func TestObjectsThatMoveToAndFro(t *testing.T) {
	for seed := range uint64(200) {
		p, r := newPair(t), newRandom(seed)
		for range 8 {
			p.shuffle(t, seed, r)
		}
	}
}

func (p pair) shuffle(t *testing.T, seed uint64, r *rand.Rand) {
	t.Helper()
	both := []*world{p.web, p.api}
	renders := map[*world][]string{p.web: {"ConfigMap a=1"}, p.api: {"ConfigMap b=1"}}
	home := map[object.ID]*world{}
	for _, name := range []string{"ConfigMap m", "ConfigMap n", "Thing o"} {
		w := both[r.IntN(2)]
		renders[w] = append(renders[w], name+"=1")
		home[id(name)] = w
	}
	odds := 8
	p.web.cluster.before = func(call string, id object.ID) error {
		if call == "delete" && home[id] != nil {
			t.Errorf("seed %d: %s is rendered, and would be deleted", seed, id)
		}
		if odds > 0 && r.IntN(odds) == 0 {
			return errInjected
		}
		return nil
	}
	applied := map[*world]bool{}
	attempt := func(i int) {
		w, other := both[i%2], both[(i+1)%2]
		w.behind = nil
		if !applied[other] {
			w.behind = []app.Key{other.app.Key()}
		}
		_, err := w.sync(renders[w]...)
		applied[w] = err == nil
	}
	for range 4 {
		attempt(r.IntN(2))
	}
	odds = 0
	for i := range 6 {
		attempt(i)
	}
	for id, w := range home {
		e, _ := w.owned.Get(id)
		if live := w.cluster.read(id); live == nil || e.UID != string(live.GetUID()) || live.GetAnnotations()[v1alpha1.OwnerAnnotation] != w.app.Key().String() {
			t.Errorf("seed %d: %s: %v, recorded as %+v", seed, id, live, e)
		}
	}
	if n := p.web.owned.Len() + p.api.owned.Len(); !applied[p.web] || !applied[p.api] || n != 5 || len(p.web.cluster.all()) != 5 {
		t.Errorf("seed %d: %d owned, %d there", seed, n, len(p.web.cluster.all()))
	}
}
