package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

const (
	rounds      = 100
	defaultSeed = 20260
	sweep       = 3 * time.Second
	killWithin  = 900 * time.Millisecond // of a push; about as long as a sync takes
)

// TestAHundredRoundsOfRandomEdits edits a tree of 60 objects in three Applications at
// random, kills workers at random, and breaks and drifts things. Whenever all is
// settled, the cluster is what the oracle reads in the files, and what is not Plumb's
// is as it was. PLUMB_SEED repeats a run: its edits, and about its kills.
func TestAHundredRoundsOfRandomEdits(t *testing.T) {
	seed := uint64(defaultSeed)
	if given := os.Getenv("PLUMB_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("PLUMB_SEED=%d", seed)
	w := newRounds(t, rand.New(rand.NewPCG(seed, 0)))
	w.push("begin", true)
	w.settle()
	w.check()
	for n := 1; n <= rounds && !t.Failed(); n++ {
		w.begin(n)
		w.round()
	}
	t.Logf("%d workers killed, %d of them amid an attempt; %v", w.kills, w.hits, w.counts)
	if w.hits < 5 && !t.Failed() {
		t.Errorf("%d workers were killed amid an attempt; that shows too little", w.hits)
	}
}

// rounder is the state of the test between rounds.
type rounder struct {
	*stack.Stack
	t      *testing.T
	r      *rand.Rand
	forest *forest
	repo   *gitserver.Repo
	keys   map[string]app.Key
	worker *stack.Process

	pushed  map[string]string // files of the last commit
	head    string
	good    map[string]wants // what each Application was last applied with
	kept    wants            // what left the files and stays, by its annotation
	foreign map[string]string
	last    live // what was in the cluster at the last check
	wanted  wants

	number  int
	story   []string          // of this round
	break_  *breakage         // of this round
	mended  bool              // what broke is mended since
	excused map[string]bool   // ids that may be other objects than before
	claims  map[string]string // ids that somebody claims in vain
	drifted bool              // the cluster comes to what is wanted only after the status did
	cut     string            // Application of which too much is deleted
	blocked map[string]string // the question of each Application that was answered last
	kills   int
	hits    int
	counts  map[string]int
}

func newRounds(t *testing.T, r *rand.Rand) *rounder {
	s := stack.Swift(t)
	w := &rounder{Stack: s, t: t, r: r, keys: map[string]app.Key{}, good: map[string]wants{}, kept: wants{}, counts: map[string]int{}, wanted: wants{}}
	names := []string{s.Kube.Namespace(t), s.Kube.Namespace(t)}
	f := &forest{r: r, homes: map[string]string{}, names: names}
	w.forest, w.repo = f, s.Repo(t, "rounds/"+names[0], map[string]string{"README.md": "# rounds\n"})
	for i, name := range []string{"alpha", "beta", "gamma"} {
		f.apps, f.homes[name] = append(f.apps, name), names[i%2]
		w.keys[name] = app.Key{Namespace: names[0], Name: name}
	}
	w.foreign = plantForeign(t, s, names, w.keys["alpha"])
	t.Cleanup(w.sweepUp)
	for len(f.items) < 58 {
		f.add(f.apps[len(f.items)%3])
	}
	f.hook("gamma", hookKind, `plumb.dev/hook: pre-sync`)
	f.hook("gamma", kinds[0], `plumb.dev/hook: post-sync, plumb.dev/hook-delete: "before,succeeded"`)
	w.pushed = map[string]string{}
	w.begin(0)
	w.commit()
	w.worker = s.Start(t, stack.Options{})
	s.Scan(t, sweep)
	for name, key := range w.keys {
		a := stack.Application(key.Namespace, key.Name, w.repo, name)
		a.Spec.Source.Directory = &v1alpha1.DirectorySource{Recurse: true}
		a.Spec.Destination.Namespace = f.homes[name]
		a.Spec.Sync.Retry = &v1alpha1.RetryPolicy{Limit: new(int32(100)), Base: &metav1.Duration{Duration: time.Second}, Max: &metav1.Duration{Duration: 2 * time.Second}}
		a.Spec.Sync.Timeout = &metav1.Duration{Duration: time.Minute}
		s.Create(t, a)
		t.Cleanup(func() { s.Forget(key) })
	}
	return w
}

// sweepUp deletes what does not go with the namespaces.
func (w *rounder) sweepUp() {
	for _, u := range w.last {
		if u.GetKind() == "ClusterRole" {
			_ = w.Objects.Resource(w.gvr("rbac.authorization.k8s.io/ClusterRole/")).Delete(context.Background(), u.GetName(), metav1.DeleteOptions{})
		}
	}
}

func (w *rounder) begin(n int) {
	w.number, w.story = n, nil
	w.excused, w.blocked, w.drifted, w.cut = map[string]bool{}, map[string]string{}, false, ""
	for id := range w.claims {
		w.excused[id] = true // the claim is taken back, or honoured
	}
	w.claims = map[string]string{}
}

func (w *rounder) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

// failf tells the round, without which a difference says little.
func (w *rounder) failf(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("round %d, at %.8s: %s\n%s\nlogs: %s", w.number, w.head, fmt.Sprintf(format, args...), strings.Join(w.story, "\n"), w.Logs())
}

// round is one round of one of several kinds.
func (w *rounder) round() {
	began := time.Now()
	w.break_ = nil
	kill := w.r.IntN(3) == 0
	name := ""
	switch choice := w.r.IntN(100); {
	case w.mended: // just after something broke
		name = "mend"
		w.mended = false
		w.plain(limits{})
	case len(w.forest.items) < 50:
		name = "regrow"
		w.tell("%s", w.forest.regrow())
		w.push(name, true)
	case choice < 18:
		name = "break"
		w.broken()
	case choice < 28:
		name = "twice"
		w.twice()
	case choice < 40:
		name = "hand"
		w.hand()
	case choice < 48:
		name = "silent"
		w.silent()
	case choice < 53:
		name, kill = "impostor", false
		w.impostor()
	case choice < 57:
		name = "cut"
		w.cut = pick(w.r, w.forest.apps)
		w.tell("%s", w.forest.cut(w.cut))
		w.push(name, true)
	default:
		name = "plain"
		w.plain(limits{})
	}
	if kill {
		w.kill()
	}
	w.settle()
	w.check()
	w.counts[name]++
	w.t.Logf("round %d, %s in %s: %s", w.number, name, time.Since(began).Round(time.Millisecond), strings.Join(w.story, "; "))
}

// check compares the cluster with what is wanted, and with what it was.
func (w *rounder) check() {
	w.t.Helper()
	all := w.expect()
	var there live
	var wrong []string
	for tries := 0; ; tries++ {
		there = look(w.t, w.Stack, w.forest.names)
		w.pins(all, there)
		wrong = compare(all, there, w.keys, w.foreign, w.claims)
		if len(wrong) == 0 || !w.drifted || tries > 500 {
			break
		}
		w.pause(100)
	}
	wrong = append(wrong, there.touched(w.foreign)...)
	wrong = append(wrong, w.moved(all, there)...)
	wrong = append(wrong, w.inventories(all, there)...)
	if len(wrong) > 0 {
		w.failf("%s", strings.Join(wrong, "\n"))
	}
	w.last, w.wanted = there, all
}

// moved names what was deleted and made anew, or written without need.
func (w *rounder) moved(all wants, there live) (wrong []string) {
	for id, now := range all {
		old, was := w.wanted[id]
		before, after := w.last[id], there[id]
		switch {
		case !was || before == nil || after == nil || now.hook() || w.excused[id]:
		case before.GetUID() != after.GetUID():
			wrong = append(wrong, fmt.Sprintf("%s of %s, now of %s, was deleted and made anew", id, old.app, now.app))
		case w.still(id) && old.app == now.app && cmp.Equal(old.any, now.any) && w.claims[id] == "" && before.GetResourceVersion() != after.GetResourceVersion():
			wrong = append(wrong, id+" was written without need")
		}
	}
	return wrong
}

// inventories compares what each Application says that it owns with what it does.
func (w *rounder) inventories(all wants, there live) (wrong []string) {
	for _, name := range w.forest.apps {
		want, got := map[string]string{}, map[string]string{}
		for _, e := range w.Get(w.t, w.keys[name]).Status.Inventory.Entries {
			claimed := w.break_ != nil && w.break_.app == name && all[e.ID].app != name // by an attempt that failed
			going := strings.Contains(e.ID, "PersistentVolumeClaim") && there[e.ID] == nil
			if !claimed && !going { // what a finalizer held stays until an attempt sees that it is gone
				got[e.ID] = e.UID
			}
		}
		for id, o := range all {
			if u := there[id]; o.app == name && u != nil {
				want[id] = string(u.GetUID())
			} else if o.app == name && o.free {
				delete(got, id)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			wrong = append(wrong, fmt.Sprintf("inventory of %s (-cluster +status):\n%s", name, diff))
		}
	}
	return wrong
}
