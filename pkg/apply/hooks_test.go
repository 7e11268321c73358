package apply_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// hooked is a world whose Jobs come to their end when they are waited for.
type hooked struct {
	*world
	number int64
	fails  map[string]bool // names of Jobs that fail
	waits  []string
}

func newHooked(t *testing.T) *hooked {
	h := &hooked{world: newWorld(t), number: 1, fails: map[string]bool{}}
	h.options.Parallel = 1
	h.options.Wait = func(_ context.Context, ids []object.ID, until plan.Await) error {
		for _, id := range ids {
			h.waits = append(h.waits, until.String()+" "+id.Name)
			if until == plan.Finished {
				h.end(id)
			}
		}
		return nil
	}
	return h
}

func (h *hooked) end(id object.ID) {
	u := h.cluster.read(id)
	condition := "Complete"
	if h.fails[id.Name] {
		condition = "Failed"
	}
	u.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": condition, "status": "True", "message": "as told"}}}
	h.cluster.put(u)
}

// attempt is one attempt of the run h.number, with the hooks for a failure.
func (h *hooked) attempt(objects ...string) (apply.Result, error) {
	h.t.Helper()
	in := h.input(objects...)
	in.RunHooks, in.Run = true, h.number
	h.look(in, false)
	p, err := plan.Decide(in)
	if err != nil {
		return apply.Result{}, err
	}
	h.owned = p.Claim(in.Inventory)
	ctx := context.Background()
	done, err := apply.Run(ctx, p, h.cluster, h.guard, h.options)
	h.owned = done.Inventory(h.owned)
	if err != nil && h.guard() == nil {
		failed, late := apply.RunFail(ctx, p, h.cluster, h.guard, h.options)
		h.owned = failed.Inventory(h.owned)
		done.Outcomes = append(done.Outcomes, failed.Outcomes...)
		if late != nil {
			err = fmt.Errorf("%w; %w", err, late)
		}
	}
	if h.guard() == nil {
		if late := apply.Tidy(ctx, p, done, h.cluster, h.guard, h.options); late != nil {
			h.t.Error(late)
		}
	}
	return done, err
}

// wrote are the requests that changed something.
func (h *hooked) wrote() string {
	var calls []string
	for _, c := range h.cluster.calls {
		if verb, rest, _ := strings.Cut(c, " "); verb != "get" {
			calls = append(calls, verb+" "+rest[strings.LastIndex(rest, "/")+1:])
		}
	}
	h.cluster.calls = nil
	return strings.Join(calls, ", ")
}

func (h *hooked) check(want string, r apply.Result, err error, outcomes, wantError string) {
	h.t.Helper()
	if (err == nil) != (wantError == "") || err != nil && !strings.Contains(err.Error(), wantError) {
		h.t.Errorf("got error %v, want %q", err, wantError)
	}
	if diff := cmp.Diff(want, h.wrote()); diff != "" {
		h.t.Errorf("writes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(outcomes, strings.Join(words(r), ", ")); diff != "" {
		h.t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestHooksStandAroundTheSync(t *testing.T) {
	h := newHooked(t)
	_, err := h.attempt("ConfigMap old=1")
	if err != nil {
		t.Fatal(err)
	}
	h.wrote()
	h.number++
	render := []string{"Job late=1 hook:post-sync", "Job second=1 hook:pre-sync wave:1", "Job first=1 hook:pre-sync", "ConfigMap a=1", "ConfigMap up=1 wave:2", "Job f=1 hook:sync-fail"}
	r, err := h.attempt(render...)
	h.check("apply first, apply second, apply a, apply up, delete old, apply late", r, err,
		"ran first, ran second, created a, created up, pruned old, ran late", "")
	if diff := cmp.Diff([]string{"finished first", "finished second", "finished late"}, h.waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	var stages []string
	for _, s := range r.Stages {
		stages = append(stages, s.Name)
	}
	if diff := cmp.Diff([]string{"pre-sync", "pre-sync wave 1", "objects", "wave 2", "prune", "post-sync"}, stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	want := map[string]string{"first": "unsure", "second": "unsure", "late": "unsure", "a": "settled", "up": "settled", "f": "claimed"}
	if diff := cmp.Diff(want, h.state()); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	h.number++
	r, err = h.attempt(render...)
	h.check("delete first, apply first, delete second, apply second, delete late, apply late", r, err,
		"ran first, ran second, unchanged a, unchanged up, ran late", "")
	if r, err := h.sync(render...); err != nil || h.wrote() != "" {
		t.Errorf("hooks that do not run: %v, %v", words(r), err)
	}
	h.number++
	r, err = h.attempt("ConfigMap a=1")
	h.check("delete up, delete second, delete late, delete first", r, err,
		"unchanged a, pruned up, pruned second, pruned late, pruned first, pruned f", "")
}

func TestAFailedHookEndsTheAttempt(t *testing.T) {
	tests := map[string]struct {
		fails, writes, outcomes, err string
	}{
		"before the sync nothing is written": {
			fails: "m", err: "src/m.yaml:1: pre-sync hook Job team/m failed: failed: as told",
			writes: "apply m, apply f", outcomes: "failed m, skipped a, skipped late, ran f",
		},
		"after the sync all stays": {
			fails: "late", err: "post-sync hook Job team/late failed",
			writes: "apply m, apply a, apply late, apply f", outcomes: "ran m, created a, failed late, ran f",
		},
		"one for failures only adds to it": {
			fails: "m f", err: "sync-fail hook Job team/f failed",
			writes: "apply m, apply f", outcomes: "failed m, skipped a, skipped late, failed f",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHooked(t)
			for _, name := range strings.Fields(tt.fails) {
				h.fails[name] = true
			}
			render := []string{"Job m=1 hook:pre-sync", "ConfigMap a=1", "Job late=1 hook:post-sync", "Job f=1 hook:sync-fail"}
			r, err := h.attempt(render...)
			h.check(tt.writes, r, err, tt.outcomes, tt.err)
			if class, _ := fault.ClassOf(err); class != fault.Permanent || fault.ReasonOf(err) != fault.HealthFailed {
				t.Errorf("is %s, %s", class, fault.ReasonOf(err))
			}
			r, err = h.attempt(render...)
			if err == nil || h.wrote() != "" {
				t.Errorf("the same run once more: %v, %v", words(r), err)
			}
			clear(h.fails)
			h.number++
			if r, err := h.attempt(render...); err != nil {
				t.Errorf("the next run: %v, %v", words(r), err)
			}
		})
	}
}

func TestSpentHooksAreTidiedUp(t *testing.T) {
	tests := map[string]struct {
		policy string
		fails  bool
		left   bool
	}{
		"by default they stay until they run again": {policy: "", left: true},
		"before":                        {policy: " hook-delete:before", left: true},
		"succeeded, and it did":         {policy: " hook-delete:succeeded"},
		"succeeded, and it failed":      {policy: " hook-delete:succeeded", fails: true, left: true},
		"failed, and it did":            {policy: " hook-delete:failed", fails: true},
		"failed, and it succeeded":      {policy: " hook-delete:failed", left: true},
		"whatever became of it":         {policy: " hook-delete:succeeded,failed", fails: true},
		"whatever became of it, indeed": {policy: " hook-delete:succeeded,failed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHooked(t)
			h.fails["m"] = tt.fails
			if _, err := h.attempt("Job m=1 hook:pre-sync"+tt.policy, "ConfigMap a=1"); (err != nil) != tt.fails {
				t.Fatal(err)
			}
			if left := h.cluster.read(id("Job m")) != nil; left != tt.left {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A worker ends after each of its writes; another takes the attempt up, in the same
// run of hooks, from the first status write. No hook is made twice.
func TestHooksRunOnceWhateverEndsTheWorker(t *testing.T) {
	render := []string{"Job m=1 hook:pre-sync", "Job both=1 hook:pre-sync,post-sync wave:1", "ConfigMap a=1", "Job late=1 hook:post-sync hook-delete:succeeded", "ConfigMap up=1 wave:1"}
	for _, earlier := range []bool{false, true} {
		for cut := range 12 {
			t.Run(fmt.Sprintf("earlier run %v, after %d writes", earlier, cut), func(t *testing.T) {
				h := newHooked(t)
				if earlier {
					if _, err := h.attempt(render...); err != nil {
						t.Fatal(err)
					}
					h.number++
				}
				h.cluster.made, h.cluster.writes, h.options.Parallel = map[types.UID]object.ID{}, 0, 1
				h.guard = func() error {
					if h.cluster.writes >= cut {
						return errInjected
					}
					return nil
				}
				in := h.input(render...)
				in.RunHooks, in.Run = true, h.number
				h.look(in, false)
				p, err := plan.Decide(in)
				if err != nil {
					t.Fatal(err)
				}
				claimed := p.Claim(in.Inventory)
				_, _ = apply.Run(t.Context(), p, h.cluster, h.guard, h.options)
				h.owned = claimed // the last status write did not happen

				h.guard = func() error { return nil }
				if _, err := h.attempt(render...); err != nil {
					t.Fatal(err)
				}
				made := map[string]int{}
				for _, id := range h.cluster.made {
					made[id.Name]++
				}
				want := map[string]int{"m": 1, "late": 1, "both": 2, "a": 1, "up": 1}
				if earlier {
					want = map[string]int{"m": 1, "late": 1, "both": 2}
				}
				if cut == 6 {
					want["both"] = 3 // it was absent between its phases, and nothing tells of the first
				}
				if diff := cmp.Diff(want, made); diff != "" {
					t.Errorf("made (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// The hook of the end runs before anything is deleted, and goes with the rest.
func TestTheHookOfTheEnd(t *testing.T) {
	h := newHooked(t)
	render := []string{"Job end=1 hook:pre-delete", "ConfigMap a=1"}
	if r, err := h.attempt(render...); err != nil || h.wrote() != "apply a" {
		t.Fatalf("%v, %v", words(r), err)
	}
	end := func() (apply.Result, error) {
		in := h.input(render...)
		in.Run, in.Live = 9, map[object.ID]*unstructured.Unstructured{}
		stages, err := plan.PreDeleteHooks(in)
		if err != nil {
			t.Fatal(err)
		}
		in.Desired = object.Set{}
		h.look(in, true)
		p := plan.Teardown(in, v1alpha1.DeletionDelete)
		p.Stages = stages
		r, err := apply.Run(t.Context(), p, h.cluster, h.guard, h.options)
		h.owned = r.Inventory(h.owned)
		return r, err
	}
	h.fails["end"] = true
	r, err := end()
	h.check("apply end", r, err, "failed end, skipped end, skipped a", "pre-delete hook Job team/end failed")
	r, err = end()
	h.check("", r, err, "failed end, skipped end, skipped a", "pre-delete hook Job team/end failed")
	h.cluster.remove(id("Job end")) // a person wants it tried again
	h.fails["end"] = false
	r, err = end()
	h.check("apply end, delete end, delete a", r, err, "ran end, pruned end, pruned a", "")
	if h.owned.Len() > 0 || len(h.cluster.all()) > 0 {
		t.Errorf("left: %v, %v", h.owned.Entries(), h.cluster.all())
	}
}
