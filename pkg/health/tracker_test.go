package health_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func resource(name, version, ready string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Thing",
		"metadata": map[string]any{"namespace": "web", "name": name, "resourceVersion": version},
		"status":   map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": ready}}},
	}}
}

func thing(name string) object.ID {
	return object.ID{Group: "example.com", Kind: "Thing", Namespace: "web", Name: name}
}

func TestTracker(t *testing.T) {
	type step func(*health.Tracker) bool
	see := func(name, version, ready string) step {
		return func(k *health.Tracker) bool { return k.See(resource(name, version, ready)) }
	}
	stall := func(name, version string) step {
		return func(k *health.Tracker) bool {
			u := resource(name, version, "False")
			condition := map[string]any{"type": "Stalled", "status": "True", "message": "no quorum"}
			u.Object["status"] = map[string]any{"conditions": []any{condition}}
			return k.See(u)
		}
	}
	gone := func(name, version string) step {
		return func(k *health.Tracker) bool { return k.Gone(resource(name, version, "True")) }
	}
	absent := func(name string) step { return func(k *health.Tracker) bool { return k.Absent(thing(name)) } }
	tests := map[string]struct {
		steps   []step
		changed bool // by the last step
		settled bool
		status  health.Status
	}{
		"nothing seen is not settled":                           {status: health.Unknown},
		"one of two seen is not settled":                        {steps: []step{see("a", "5", "True")}, changed: true, status: health.Unknown},
		"all healthy is settled":                                {steps: []step{see("a", "5", "True"), see("b", "6", "True")}, changed: true, settled: true, status: health.Healthy},
		"progressing is waited for":                             {steps: []step{see("a", "5", "True"), see("b", "6", "False")}, changed: true, status: health.Progressing},
		"what will not get there is not waited for":             {steps: []step{see("a", "5", "True"), stall("b", "6")}, changed: true, settled: true, status: health.Degraded},
		"the same health again is no change":                    {steps: []step{see("a", "5", "True"), see("b", "6", "True"), see("b", "7", "True")}, settled: true, status: health.Healthy},
		"a watch that lags behind the own write is passed over": {steps: []step{see("a", "5", "True"), see("b", "100", "False"), see("b", "99", "True")}, status: health.Progressing},
		"a deletion is seen":                                    {steps: []step{see("a", "5", "True"), see("b", "6", "True"), gone("b", "7")}, changed: true, status: health.Missing},
		"an old deletion is passed over":                        {steps: []step{see("a", "5", "True"), see("b", "8", "True"), gone("b", "7")}, settled: true, status: health.Healthy},
		"an object that returns is seen":                        {steps: []step{see("a", "5", "True"), gone("b", "7"), see("b", "8", "True")}, changed: true, settled: true, status: health.Healthy},
		"not found counts as missing":                           {steps: []step{see("a", "5", "True"), absent("b")}, changed: true, status: health.Missing},
		"an object of somebody else is passed over":             {steps: []step{see("a", "5", "True"), see("b", "6", "True"), see("c", "7", "False")}, settled: true, status: health.Healthy},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tracker := health.NewTracker([]object.ID{thing("a"), thing("b")})
			changed := false
			for _, s := range tt.steps {
				changed = s(tracker)
			}
			if got := tracker.Summary().Status; changed != tt.changed || tracker.Settled() != tt.settled || got != tt.status {
				t.Errorf("changed %v, settled %v, %s", changed, tracker.Settled(), got)
			}
		})
	}
}
