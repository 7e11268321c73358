package driftscanner

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

var web = object.ID{Kind: "ConfigMap", Namespace: "team-a", Name: "web"}

// application has ended its last attempt with a result.
func application(result v1alpha1.Result) *v1alpha1.Application {
	a := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{LastAttempt: &v1alpha1.LastAttempt{Result: result}}}
	a.Namespace, a.Name = "team-a", "web"
	return a
}

func TestSuspects(t *testing.T) {
	applied := inventory.Entry{ID: web, Version: "v1", UID: "u", Digest: "d", Fields: "f"}
	cases := map[string]struct {
		result v1alpha1.Result
		entry  inventory.Entry
		live   record
		gone   bool
		want   map[object.ID]string
	}{
		"an object as it was applied":                     {entry: applied, live: record{uid: "u", fields: "f"}},
		"one whose fields moved":                          {entry: applied, live: record{uid: "u", fields: "g"}, want: map[object.ID]string{web: changed}},
		"one that bears its mark":                         {entry: applied, live: record{uid: "u", fields: "f", owner: app.Key{Namespace: "team-a", Name: "web"}}},
		"one that another Application made as well":       {entry: applied, live: record{uid: "u", fields: "f", owner: app.Key{Namespace: "team-a", Name: "other"}}, want: map[object.ID]string{web: changed}},
		"one that is gone":                                {entry: applied, gone: true, want: map[object.ID]string{web: deleted}},
		"another of its name":                             {entry: applied, live: record{uid: "v", fields: "f"}, want: map[object.ID]string{web: replaced}},
		"an object that is being applied":                 {entry: inventory.Entry{ID: web, Version: "v1", UID: "u"}, live: record{uid: "u", fields: "g"}},
		"while an attempt runs nothing is drift":          {result: v1alpha1.ResultRunning, entry: applied, gone: true},
		"after a failure the sweep asks, not every event": {result: v1alpha1.ResultFailed, entry: applied, gone: true},
		"while health is awaited drift is drift":          {result: v1alpha1.ResultWaiting, entry: applied, gone: true, want: map[object.ID]string{web: deleted}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.result == "" {
				c.result = v1alpha1.ResultSucceeded
			}
			if c.want == nil {
				c.want = map[object.ID]string{}
			}
			got := suspects(application(c.result), inventory.Inventory{}.Record(c.entry), func(object.ID) (record, bool) { return c.live, !c.gone })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("suspects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMisjudged(t *testing.T) {
	owned := inventory.Inventory{}.Record(inventory.Entry{ID: web, Version: "v1", UID: "u", Digest: "d", Fields: "f"})
	cases := map[string]struct {
		result  v1alpha1.Result
		healthy metav1.ConditionStatus
		reason  fault.Reason
		live    health.Status
		want    bool
	}{
		"healthy, and said so":                     {result: v1alpha1.ResultSucceeded, healthy: metav1.ConditionTrue, reason: fault.Succeeded, live: health.Healthy},
		"degraded behind a healthy status":         {result: v1alpha1.ResultSucceeded, healthy: metav1.ConditionTrue, reason: fault.Succeeded, live: health.Degraded, want: true},
		"a rollout is no loss of health":           {result: v1alpha1.ResultSucceeded, healthy: metav1.ConditionTrue, reason: fault.Succeeded, live: health.Progressing},
		"recovered after a failure of health":      {result: v1alpha1.ResultFailed, healthy: metav1.ConditionFalse, reason: fault.HealthFailed, live: health.Healthy, want: true},
		"recovered too late":                       {result: v1alpha1.ResultFailed, healthy: metav1.ConditionUnknown, reason: fault.HealthTimeout, live: health.Healthy, want: true},
		"healthy objects do not mend a bad source": {result: v1alpha1.ResultFailed, healthy: metav1.ConditionFalse, reason: fault.RenderFailed, live: health.Healthy},
		"whoever waits is told by its worker":      {result: v1alpha1.ResultWaiting, healthy: metav1.ConditionUnknown, reason: fault.Progressing, live: health.Healthy},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := application(c.result)
			ready := metav1.ConditionTrue
			if c.result == v1alpha1.ResultFailed {
				ready = metav1.ConditionFalse
			}
			a.Status.Conditions = []metav1.Condition{
				{Type: v1alpha1.ConditionHealthy, Status: c.healthy},
				{Type: v1alpha1.ConditionReady, Status: ready, Reason: string(c.reason)},
			}
			if got := misjudged(a, owned, func(object.ID) (record, bool) { return record{health: c.live}, true }); got != c.want {
				t.Errorf("misjudged = %v, want %v", got, c.want)
			}
		})
	}
}

func TestPaceSlowsDownWhoFights(t *testing.T) {
	now := time.Unix(0, 0)
	p := &pace{now: func() time.Time { return now }, last: map[app.Key]stride{}}
	key := app.Key{Namespace: "team-a", Name: "web"}
	for i := range freely {
		if wait := p.next(key); wait != 0 {
			t.Fatalf("request %d waits %s", i+1, wait)
		}
	}
	var waits []time.Duration
	for range 8 {
		wait := p.next(key)
		waits = append(waits, wait)
		now = now.Add(wait)
		if again := p.next(key); again != 0 {
			t.Fatalf("after its wait a request waits %s more", again)
		}
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i := range want {
		want[i] *= time.Second
	}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	now = now.Add(calm + time.Second)
	if wait := p.next(key); wait != 0 {
		t.Errorf("after a calm time a request waits %s", wait)
	}
}
