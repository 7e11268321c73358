package plan

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/object"
)

// layers is the order of kinds: what others need first. Kinds that are not
// listed, custom resources above all, stand at "*".
var layers = [...]struct {
	stage string
	await bool // the next stage needs its objects usable
	kinds [][]string
}{
	{stage: "foundation", await: true, kinds: [][]string{
		{"Namespace", "CustomResourceDefinition"},
	}},
	{stage: "objects", kinds: [][]string{
		{"PriorityClass", "RuntimeClass", "StorageClass", "IngressClass", "ResourceQuota", "LimitRange", "NetworkPolicy"},
		{"ServiceAccount"},
		{"Role", "ClusterRole"},
		{"RoleBinding", "ClusterRoleBinding"},
		{"ConfigMap", "Secret"},
		{"PersistentVolume", "PersistentVolumeClaim"},
		{"Service", "EndpointSlice"},
		{"*"},
		{"DaemonSet", "StatefulSet", "Deployment", "ReplicaSet", "Pod", "Job", "CronJob"},
		{"PodDisruptionBudget", "HorizontalPodAutoscaler", "Ingress"},
	}},
	// These take effect on every later request of the cluster, and break it while
	// what they call is not there.
	{stage: "gates", kinds: [][]string{
		{"ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"},
		{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicyBinding",
			"MutatingAdmissionPolicyBinding", "APIService"},
	}},
}

// builtin are the API groups whose kinds layers means. A custom resource may be called Service, too.
var builtin = []string{"", "apps", "batch", "policy", "autoscaling", "rbac.authorization.k8s.io", "storage.k8s.io",
	"scheduling.k8s.io", "node.k8s.io", "networking.k8s.io", "discovery.k8s.io", "apiextensions.k8s.io",
	"admissionregistration.k8s.io", "apiregistration.k8s.io"}

// rank is the position of a kind: its stage, and its place within it.
func rank(kind schema.GroupKind) (stage, place int) {
	name := kind.Kind
	if !slices.Contains(builtin, kind.Group) {
		name = "*"
	}
	stage, place, found := find(name)
	if !found {
		stage, place, _ = find("*")
	}
	return stage, place
}

func find(name string) (stage, place int, found bool) {
	for i, layer := range layers {
		for j, kinds := range layer.kinds {
			if slices.Contains(kinds, name) {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}

// compare orders objects for applying; deletions go the other way.
func compare(a, b object.ID) int {
	stageA, placeA := rank(a.GroupKind())
	stageB, placeB := rank(b.GroupKind())
	return cmp.Or(cmp.Compare(stageA, stageB), cmp.Compare(placeA, placeB), cmp.Compare(a.String(), b.String()))
}

// arrange sorts actions into stages; empty stages are left out.
func arrange(actions []Action) []Stage {
	slices.SortFunc(actions, func(a, b Action) int { return compare(a.ID, b.ID) })
	var stages []Stage
	last := -1
	for _, a := range actions {
		n, _ := rank(a.ID.GroupKind())
		if n != last {
			stages = append(stages, Stage{Name: layers[n].stage, Await: layers[n].await})
			last = n
		}
		s := &stages[len(stages)-1]
		s.Actions = append(s.Actions, a)
	}
	return stages
}

// Wave numbers groups of deletions: those of a lower wave come first, those of
// one wave do not need each other.
func (a Action) Wave() int {
	stage, place := rank(a.ID.GroupKind())
	return -(stage*100 + place)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
