package nodes

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

func TestStagesCompile(t *testing.T) {
	stages, err := loadStages()
	if err != nil {
		t.Fatal(err)
	}
	perKind := map[string]int{}
	for ref, of := range stages {
		if _, err := lifecycle.NewLifecycle(of); err != nil {
			t.Errorf("%v: %v", ref, err)
		}
		perKind[ref.Kind] = len(of)
	}
	want := map[string]int{"Node": 1, "Pod": 6, "PersistentVolume": 2, "PersistentVolumeClaim": 2}
	for kind, n := range want {
		if perKind[kind] != n {
			t.Errorf("%s has %d stages, want %d", kind, perKind[kind], n)
		}
	}
}

func TestSeedTwiceAndReady(t *testing.T) {
	c := fake.NewClientset()
	for range 2 {
		if err := Seed(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := Ready(t.Context(), c); err == nil {
		t.Error("nodes without a condition count as Ready")
	}
}

func TestTakesPods(t *testing.T) {
	ready := []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	unready := []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}}
	fresh := []corev1.Taint{{Key: corev1.TaintNodeNotReady}}
	cases := map[string]struct {
		conditions []corev1.NodeCondition
		taints     []corev1.Taint
		want       bool
	}{
		"ready":                        {ready, nil, true},
		"ready, taint not yet removed": {ready, fresh, false},
		"not ready":                    {unready, nil, false},
		"never heard of":               {nil, nil, false},
	}
	for name, c := range cases {
		n := &corev1.Node{Spec: corev1.NodeSpec{Taints: c.taints}, Status: corev1.NodeStatus{Conditions: c.conditions}}
		if err := takesPods(n); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
