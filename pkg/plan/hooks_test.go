package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

func decide(t *testing.T, s scenario) plan.Plan {
	t.Helper()
	p, err := plan.Decide(s.input(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func absent(names ...string) []string {
	for i := range names {
		names[i] += " absent"
	}
	return names
}

func TestWhatStagesWaitFor(t *testing.T) {
	tests := map[string]struct {
		desired []string
		live    []string
		hooks   bool
		want    string
	}{
		"waves wait for the health of the one before": {
			desired: []string{"ConfigMap a=1 wave:-1", "ConfigMap b=1", "ConfigMap c=1 wave:3"},
			live:    absent("ConfigMap a", "ConfigMap b", "ConfigMap c"),
			want:    "wave -1: healthy, objects: healthy, wave 3: none",
		},
		"kinds that others need have to be usable, in every wave": {
			desired: []string{"Namespace n=1", "CustomResourceDefinition c=1 wave:2", "ConfigMap a=1", "ConfigMap b=1 wave:2"},
			live:    absent("Namespace n", "CustomResourceDefinition c", "ConfigMap a", "ConfigMap b"),
			want:    "foundation: usable, objects: healthy, wave 2 foundation: usable, wave 2: none",
		},
		"a wave of definitions alone has to be healthy": {
			desired: []string{"CustomResourceDefinition c=1 wave:2", "ConfigMap b=1 wave:3"},
			live:    absent("CustomResourceDefinition c", "ConfigMap b"),
			want:    "wave 2 foundation: healthy, wave 3: none",
		},
		"gates without a wave follow at once": {
			desired: []string{"ConfigMap a=1 wave:5", "APIService g=1"},
			live:    absent("ConfigMap a", "APIService g"),
			want:    "wave 5: none, gates: none",
		},
		"hooks have to come to their end, and all has to be healthy for those after the sync": {
			desired: []string{"Job m=1 hook:pre-sync wave:-1", "Job n=1 hook:pre-sync", "ConfigMap a=1", "APIService g=1", "Job z=1 hook:post-sync"},
			live:    absent("Job m", "Job n", "ConfigMap a", "APIService g", "Job z"),
			hooks:   true,
			want:    "pre-sync wave -1: finished, pre-sync: finished, objects: none, gates: healthy, post-sync: finished",
		},
		"hooks that do not run need nothing": {
			desired: []string{"ConfigMap a=1", "Job z=1 hook:post-sync"},
			live:    absent("ConfigMap a"),
			want:    "objects: none, post-sync: finished",
		},
		"a namespace for a hook has to be usable": {
			desired: []string{"Namespace web=1", "Job m=1 hook:pre-sync", "ConfigMap a=1"},
			live:    absent("Namespace web", "Job m", "ConfigMap a"),
			hooks:   true,
			want:    "foundation: usable, pre-sync: finished, objects: none",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range decide(t, scenario{Desired: tt.desired, Live: tt.live, Hooks: tt.hooks}).Stages {
				got = append(got, s.Name+": "+s.Await.String())
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHooksRunForChangesAlone(t *testing.T) {
	hook := "Job m=1 hook:pre-sync"
	done := "Job m=1 uid:7 hook:pre-sync"
	tests := map[string]struct {
		scenario
		want bool
	}{
		"nothing changed": {
			scenario: scenario{Desired: []string{hook, "ConfigMap a=1"}, Inventory: []string{done, "ConfigMap a=1 uid:1"}},
		},
		"the source changed": {
			scenario: scenario{Desired: []string{hook, "ConfigMap a=2"}, Inventory: []string{done, "ConfigMap a=1 uid:1"}}, want: true,
		},
		"the hook changed": {
			scenario: scenario{Desired: []string{"Job m=2 hook:pre-sync", "ConfigMap a=1"}, Inventory: []string{done, "ConfigMap a=1 uid:1"}}, want: true,
		},
		"a hook is new": {
			scenario: scenario{Desired: []string{"Job m=2 hook:post-sync", "ConfigMap a=1"}, Inventory: []string{"ConfigMap a=1 uid:1"}}, want: true,
		},
		"a hook did not come to a good end": {
			scenario: scenario{Desired: []string{hook, "ConfigMap a=1"}, Inventory: []string{"Job m uid:7 hook:pre-sync", "ConfigMap a=1 uid:1"}}, want: true,
		},
		"a hook of a failure never ran": {
			scenario: scenario{Desired: []string{"Job f=1 hook:sync-fail", "ConfigMap a=1"}, Inventory: []string{"Job f hook:sync-fail", "ConfigMap a=1 uid:1"}},
		},
		"an object drifted": {
			scenario: scenario{Desired: []string{hook, "ConfigMap a=1"}, Inventory: []string{done, "ConfigMap a=1 uid:1"}, Heal: true, Live: []string{"ConfigMap a=9 uid:1 ours"}},
		},
		"an object was deleted": {
			scenario: scenario{Desired: []string{hook, "ConfigMap a=1"}, Inventory: []string{done, "ConfigMap a=1 uid:1"}, Heal: true, Live: absent("ConfigMap a")},
		},
		"an object was deleted, and changed in the source": {
			scenario: scenario{Desired: []string{hook, "ConfigMap a=2"}, Inventory: []string{done, "ConfigMap a=1 uid:1"}, Heal: true, Live: absent("ConfigMap a")}, want: true,
		},
		"something is pruned": {
			scenario: scenario{Desired: []string{hook, "ConfigMap a=1"}, Inventory: []string{done, "ConfigMap a=1 uid:1", "ConfigMap b=1 uid:2"}, Live: []string{"ConfigMap b=1 uid:2 ours"}}, want: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if p := decide(t, tt.scenario); p.Changes() != tt.want {
				t.Errorf("changes: %v\n%s", p.Changes(), p)
			}
		})
	}
}

func TestHooksNeedANumberForTheirRun(t *testing.T) {
	in := scenario{Desired: []string{"ConfigMap a=1"}, Live: absent("ConfigMap a"), Hooks: true}.input(t)
	in.Run = 0
	if _, err := plan.Decide(in); err == nil {
		t.Error("there is a plan")
	}
	if _, err := plan.PreDeleteHooks(in); err == nil {
		t.Error("there are stages")
	}
}

func TestNeedsOfHooks(t *testing.T) {
	s := scenario{
		Desired:   []string{"Job a=1 hook:pre-sync", "Job b=1 hook:sync-fail,pre-delete", "Job c=1 hook:pre-delete", "ConfigMap i=1 apply:ignore"},
		Inventory: []string{"Job a=1 uid:1 hook:pre-sync", "ConfigMap i=1 uid:2"},
	}
	tests := map[string]struct {
		hooks, fresh bool
		want         string
	}{
		"hooks that do not run are not read":           {want: ""},
		"hooks that run are, but for those of the end": {hooks: true, want: "Job web/a, Job web/b"},
		"a fresh look is at all that is not ignored":   {fresh: true, want: "Job web/a, Job web/b, Job web/c"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s.Hooks = tt.hooks
			var got []string
			for _, ref := range plan.Needs(s.input(t), tt.fresh) {
				got = append(got, ref.ID.Human())
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHooksAreClaimedBeforeTheyAreMade(t *testing.T) {
	s := scenario{
		Desired:   []string{"Job a=1 hook:pre-sync", "Job f=1 hook:sync-fail", "Job d=1 hook:pre-delete", "Job again=1 hook:post-sync"},
		Inventory: []string{"Job again=1 uid:4 hook:post-sync"},
		Live:      append(absent("Job a", "Job f"), "Job again=1 uid:4 ours hook-run:4/post-sync complete"),
		Hooks:     true,
	}
	in := s.input(t)
	owned := decide(t, s).Claim(in.Inventory)
	got := map[string]string{}
	for _, e := range owned.Entries() {
		got[e.ID.Name] = fmt.Sprintf("%s %s %v", e.Hook, e.UID, e.Settled())
	}
	want := map[string]string{"a": "pre-sync  false", "f": "sync-fail  false", "d": "pre-delete  false", "again": "post-sync 4 false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claim (-want +got):\n%s", diff)
	}
	if !plan.HasPreDelete(owned) || plan.HasPreDelete(in.Inventory) {
		t.Error("the hook of the end is not told")
	}
}

func TestPreDeleteHooks(t *testing.T) {
	s := scenario{
		Desired:   []string{"Job d=1 hook:pre-delete wave:2", "Job e=1 hook:post-sync,pre-delete", "Job unknown=1 hook:pre-delete", "ConfigMap a=1"},
		Inventory: []string{"Job d hook:pre-delete", "Job e=1 uid:2 hook:post-sync,pre-delete", "ConfigMap a=1 uid:1", "Job gone hook:pre-delete"},
		Live:      []string{"Job d absent", "Job e=1 uid:2 rv:3 ours hook-run:4/post-sync complete", "ConfigMap a=1 uid:1 ours"},
		Hooks:     true,
	}
	in := s.input(t)
	stages, err := plan.PreDeleteHooks(in)
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Teardown(in, v1alpha1.DeletionDelete)
	p.Stages = stages
	want := `stage pre-delete
  replace   Job web/e: runs before the Application's objects are deleted; the one of an earlier run is deleted [uid 2] [rv 3]
stage pre-delete wave 2
  create    Job web/d: runs before the Application's objects are deleted
prune
  keep      Job web/gone: not in the source; the live object was not read
  prune     Job web/e: not in the source any more [uid 2] [rv 3]
  forget    Job web/d: not in the cluster any more
  prune     ConfigMap web/a: not in the source any more [uid 1]
`
	if diff := cmp.Diff(want, describe(p)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	made, _ := parseObject(t, "Job d=1 uid:9 ours hook-run:5/pre-delete")
	if a, err := p.Again(stages[1].Actions[0], made); err != nil || a.Verb != plan.Resume {
		t.Errorf("the hook made by a worker that ended: %s, %v", a, err)
	}
	if a, err := p.Again(plan.Action{ID: object.IDOf(made)}, made); err != nil || a.Verb != plan.Prune || a.UID != "9" {
		t.Errorf("after the hook: %s, %v", a, err)
	}
}

func TestADeletedApplicationMakesOver(t *testing.T) {
	s := scenario{
		Inventory: []string{"ConfigMap m=1 uid:1", "ConfigMap a=1 uid:2"},
		Live:      []string{"ConfigMap m=1 uid:1 rv:5 ours claimed-by:team/other", "ConfigMap a=1 uid:2 ours"},
		Exists:    []string{"team/other"},
	}
	in := s.input(t)
	if got := describe(plan.Teardown(in, v1alpha1.DeletionDelete)); !strings.Contains(got, "release   ConfigMap web/m: is made over to Application team/other") || !strings.Contains(got, "prune     ConfigMap web/a") {
		t.Error(got)
	}
	s.Behind, s.Live[0] = []string{"team/other"}, "ConfigMap m=1 uid:1 rv:5 ours"
	p := plan.Teardown(s.input(t), v1alpha1.DeletionDelete)
	if got := describe(p); strings.Contains(got, "prune     ") || strings.Contains(got, "forget") || !p.Deferred {
		t.Errorf("while another may be about to take it over:\n%s", got)
	}
}

func TestABlockedPlanIsTriedAgainWhileOthersMayTakeOver(t *testing.T) {
	s := scenario{
		Desired:   []string{"ConfigMap stays=1"},
		Inventory: []string{"ConfigMap stays=1 uid:1", "PersistentVolumeClaim p=1 uid:2"},
		Live:      []string{"PersistentVolumeClaim p=1 uid:2 ours"},
	}
	for class, behind := range map[fault.Class][]string{fault.Permanent: nil, fault.Transient: {"team/other"}} {
		s.Behind = behind
		p := decide(t, s)
		if got, _ := fault.ClassOf(p.Err()); p.Blocked == "" || got != class || p.Deferred {
			t.Errorf("behind %q: blocked %q, %s", behind, p.Blocked, got)
		}
	}
}
