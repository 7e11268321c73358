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

// position is where a kind stands: its stage, and its place within it.
type position struct{ stage, place int }

// positions is layers, by kind.
var positions = func() map[string]position {
	m := map[string]position{}
	for i, layer := range layers {
		for j, kinds := range layer.kinds {
			for _, kind := range kinds {
				m[kind] = position{i, j}
			}
		}
	}
	return m
}()

func rank(kind schema.GroupKind) position {
	if p, listed := positions[kind.Kind]; listed && slices.Contains(builtin, kind.Group) {
		return p
	}
	return positions["*"]
}

// compare orders objects for applying; deletions go the other way.
func compare(a, b object.ID) int {
	p, q := rank(a.GroupKind()), rank(b.GroupKind())
	return cmp.Or(cmp.Compare(p.stage, q.stage), cmp.Compare(p.place, q.place), cmp.Compare(a.Group, b.Group),
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// arrange sorts actions into stages; empty stages are left out.
func arrange(actions []Action) []Stage {
	slices.SortFunc(actions, func(a, b Action) int { return compare(a.ID, b.ID) })
	var stages []Stage
	last := -1
	for _, a := range actions {
		n := rank(a.ID.GroupKind()).stage
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
	p := rank(a.ID.GroupKind())
	return -(p.stage*100 + p.place)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
