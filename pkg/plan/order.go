package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/object"
)

// The layers of each wave.
const (
	foundation = iota
	objects
	gates
)

// layers is the order of kinds: what others need first. Kinds that are not
// listed, custom resources above all, stand at "*".
var layers = [...]struct {
	stage string
	await Await // the next stage of the wave needs its objects so
	kinds [][]string
}{
	foundation: {stage: "foundation", await: Usable, kinds: [][]string{
		{"Namespace", "CustomResourceDefinition"},
	}},
	objects: {stage: "objects", kinds: [][]string{
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
	gates: {stage: "gates", kinds: [][]string{
		{"ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"},
		{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicyBinding",
			"MutatingAdmissionPolicyBinding", "APIService"},
	}},
}

// builtin are the API groups whose kinds layers means. A custom resource may be called Service, too.
var builtin = []string{"", "apps", "batch", "policy", "autoscaling", "rbac.authorization.k8s.io", "storage.k8s.io",
	"scheduling.k8s.io", "node.k8s.io", "networking.k8s.io", "discovery.k8s.io", "apiextensions.k8s.io",
	"admissionregistration.k8s.io", "apiregistration.k8s.io"}

// position is where a kind stands: its layer, and its place within it.
type position struct{ layer, place int }

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
	return cmp.Or(cmp.Compare(p.layer, q.layer), cmp.Compare(p.place, q.place), cmp.Compare(a.Group, b.Group),
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// slot is where an action stands in the order of applying.
type slot struct {
	wave int
	position
}

// slotOf: what all others need stands before all waves, and what bars the way after
// them, unless it says where it stands.
func slotOf(a Action) slot {
	annotations := annotationsOf(a.Live)
	if a.Object != (object.Object{}) {
		annotations = annotationsOf(&unstructured.Unstructured{Object: a.Object.Content()})
	}
	s := slot{position: rank(a.ID.GroupKind())}
	wave, given := waveOf(annotations)
	switch {
	case given:
		s.wave = wave
	case a.Hook != Sync:
	case s.layer == foundation:
		s.wave = minWave - 1
	case s.layer == gates:
		s.wave = maxWave + 1
	}
	return s
}

func compareActions(a, b Action) int {
	return cmp.Or(cmp.Compare(slotOf(a).wave, slotOf(b).wave), compare(a.ID, b.ID))
}

// arrange sorts the actions of one phase into stages; empty stages are left out.
func arrange(phase Phase, actions []Action) []Stage {
	slices.SortFunc(actions, compareActions)
	var stages []Stage
	last := slot{wave: minWave - 2}
	for _, a := range actions {
		if at := slotOf(a); at.wave != last.wave || at.layer != last.layer {
			if len(stages) > 0 {
				stages[len(stages)-1].Await = between(phase, last, at)
			}
			stages, last = append(stages, Stage{Name: stageName(phase, at), Phase: phase, Wave: at.wave}), at
		}
		s := &stages[len(stages)-1]
		s.Actions = append(s.Actions, a)
	}
	if len(stages) > 0 && phase != Sync {
		stages[len(stages)-1].Await = Finished
	}
	return stages
}

// between is what the stage at b needs of the one at a before it.
func between(phase Phase, a, b slot) Await {
	switch {
	case phase != Sync:
		return Finished
	case a.wave == b.wave, a.wave < minWave, b.wave > maxWave:
		return layers[a.layer].await
	}
	return Healthy
}

func stageName(phase Phase, at slot) string {
	switch wave := fmt.Sprintf("wave %d", at.wave); {
	case phase != Sync && at.wave == 0:
		return phase.String()
	case phase != Sync:
		return phase.String() + " " + wave
	case at.wave == 0, at.wave < minWave, at.wave > maxWave:
		return layers[at.layer].stage
	case at.layer == objects:
		return wave
	default:
		return wave + " " + layers[at.layer].stage
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
