package reconcile

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

func TestReportsAwaitNothingThatIsToGo(t *testing.T) {
	going := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	going.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
	there := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	id := owned.Entries()[0].ID
	cases := map[string]struct {
		outcome apply.Outcome
		want    health.Status
	}{
		"what was pruned and a finalizer keeps": {outcome: apply.Outcome{Action: plan.Action{ID: id, Verb: plan.Prune}, Live: going}, want: health.Healthy},
		"what was going before":                 {outcome: apply.Outcome{Action: plan.Action{ID: id, Verb: plan.Keep}, Live: going}, want: health.Healthy},
		"but what is rendered and going":        {outcome: apply.Outcome{Action: plan.Action{ID: id}, Live: going}, want: health.Progressing},
		"and what is there":                     {outcome: apply.Outcome{Action: plan.Action{ID: id}, Live: there}, want: health.Healthy},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := (&attempt{r: &Reconciler{}}).reports(&v1alpha1.Application{}, outcome{owned: owned, outcomes: []apply.Outcome{c.outcome}})
			if got[id].Status != c.want {
				t.Errorf("health %s (%s), want %s", got[id].Status, got[id].Message, c.want)
			}
		})
	}
}

// endedBefore is an attempt that succeeded a while before noon.
func endedBefore(before time.Duration) *v1alpha1.LastAttempt {
	return &v1alpha1.LastAttempt{
		Result: v1alpha1.ResultSucceeded, StartedAt: metav1.NewMicroTime(noon.Add(-before - time.Second)), Duration: &metav1.Duration{Duration: time.Second},
	}
}

func TestFirstClaims(t *testing.T) {
	create := plan.Action{Verb: plan.Create}
	stage := func(actions ...plan.Action) []plan.Stage { return []plan.Stage{{Actions: actions}} }
	many := make([]plan.Action, maxBrief+1)
	for i := range many {
		many[i] = create
	}
	cases := map[string]struct {
		a    v1alpha1.Application
		p    plan.Plan
		want opening
	}{
		"a first sync that creates claims":                    {p: plan.Plan{Stages: stage(create, create)}, want: withClaim},
		"also when it waited before":                          {a: v1alpha1.Application{Status: v1alpha1.ApplicationStatus{Waiting: &v1alpha1.Waiting{}}}, p: plan.Plan{Stages: stage(create)}, want: withClaim},
		"one that adopts does not":                            {p: plan.Plan{Stages: stage(create, plan.Action{Verb: plan.Adopt})}},
		"one with a hook does not":                            {p: plan.Plan{Stages: stage(plan.Action{Verb: plan.Create, Hook: plan.PreSync})}},
		"one that may run hooks of its failure does not":      {p: plan.Plan{Stages: stage(create), SyncFail: stage(create)}},
		"one of several stages does not: it may take minutes": {p: plan.Plan{Stages: append(stage(create), stage(create)...)}},
		"one of many objects does not":                        {p: plan.Plan{Stages: stage(many...)}},
		"one that leaves a deletion for later does not":       {p: plan.Plan{Stages: stage(create), Deferred: true}},
		"one after an attempt does not":                       {a: v1alpha1.Application{Status: v1alpha1.ApplicationStatus{LastAttempt: &v1alpha1.LastAttempt{}}}, p: plan.Plan{Stages: stage(create)}},
		"one with an inventory does not":                      {a: v1alpha1.Application{Status: v1alpha1.ApplicationStatus{Inventory: &v1alpha1.Inventory{}}}, p: plan.Plan{Stages: stage(create)}},
		"one after a claim does not":                          {a: v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.FirstClaimAnnotation: ""}}}, p: plan.Plan{Stages: stage(create)}},
		"one that has the finalizer does not":                 {a: v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{v1alpha1.Finalizer}}}, p: plan.Plan{Stages: stage(create)}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := openingOf(&c.a, c.p, noon); got != c.want {
				t.Errorf("opening %d, want %d", got, c.want)
			}
		})
	}
}

func TestBriefAttempts(t *testing.T) {
	succeeded := endedBefore(time.Minute)
	update := plan.Action{Verb: plan.Update}
	many := make([]plan.Action, maxBrief+1)
	for i := range many {
		many[i] = update
	}
	cases := map[string]struct {
		last    *v1alpha1.LastAttempt
		drift   v1alpha1.DriftPolicy
		actions []plan.Action
		prune   []plan.Action
		fail    []plan.Stage
		want    bool
	}{
		"an update of what is owned is":                {last: succeeded, actions: []plan.Action{update, {Verb: plan.Unchanged}}, want: true},
		"one right after another is not":               {last: endedBefore(time.Second), actions: []plan.Action{update}},
		"the first attempt is not":                     {actions: []plan.Action{update}},
		"one after a failure is not":                   {last: &v1alpha1.LastAttempt{Result: v1alpha1.ResultFailed}, actions: []plan.Action{update}},
		"one amid a wait for health is not":            {last: &v1alpha1.LastAttempt{Result: v1alpha1.ResultWaiting}, actions: []plan.Action{update}},
		"one whose remains nobody would heal is not":   {last: succeeded, drift: v1alpha1.DriftWarn, actions: []plan.Action{update}},
		"one that creates is not":                      {last: succeeded, actions: []plan.Action{update, {Verb: plan.Create}}},
		"one that adopts is not":                       {last: succeeded, actions: []plan.Action{{Verb: plan.Adopt}}},
		"one that replaces is not":                     {last: succeeded, actions: []plan.Action{{Verb: plan.Replace}}},
		"one that runs a hook is not":                  {last: succeeded, actions: []plan.Action{{Verb: plan.Update, Hook: plan.PreSync}}},
		"one that deletes is not":                      {last: succeeded, actions: []plan.Action{update}, prune: []plan.Action{{Verb: plan.Prune}}},
		"one that may run hooks of its failure is not": {last: succeeded, actions: []plan.Action{update}, fail: []plan.Stage{{}}},
		"one of many objects is not":                   {last: succeeded, actions: many},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{LastAttempt: c.last}}
			a.Spec.Sync.Drift = c.drift
			p := plan.Plan{Stages: []plan.Stage{{Actions: c.actions}}, Prune: c.prune, SyncFail: c.fail}
			if got := brief(a, p, noon); got != c.want {
				t.Errorf("brief: %v, want %v", got, c.want)
			}
		})
	}
}
