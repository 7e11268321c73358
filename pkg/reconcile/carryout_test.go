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
