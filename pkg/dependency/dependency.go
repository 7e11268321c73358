// Package dependency knows which Applications one waits for, whether they go round
// in a circle, and what makes one of them ready.
//
// It is pure and may import the Application API only. Nothing here fails.
package dependency

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// Of are the Applications that spec.dependsOn names, in its order and each once.
func Of(a *v1alpha1.Application) []app.Key {
	var keys []app.Key
	for _, d := range a.Spec.DependsOn {
		key := app.Key{Namespace: d.Namespace, Name: d.Name}
		if key.Namespace == "" {
			key.Namespace = a.Namespace
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Cycle is a shortest way from an Application over its dependencies back to itself,
// which stands at both ends; nil when there is none. Next gives the dependencies of
// an Application, none for one that does not exist.
func Cycle(start app.Key, next func(app.Key) []app.Key) []app.Key {
	from := map[app.Key]app.Key{}
	for queue := []app.Key{start}; len(queue) > 0; queue = queue[1:] {
		for _, key := range next(queue[0]) {
			if key == start {
				return path(start, queue[0], from)
			}
			if _, known := from[key]; !known {
				from[key] = queue[0]
				queue = append(queue, key)
			}
		}
	}
	return nil
}

// path is start, all that led to last, last, and start again.
func path(start, last app.Key, from map[app.Key]app.Key) []app.Key {
	way := []app.Key{start}
	for key := last; key != start; key = from[key] {
		way = append(way, key)
	}
	way = append(way, start)
	slices.Reverse(way)
	return way
}

// Path is a cycle for people: a -> b -> a.
func Path(cycle []app.Key) string {
	names := make([]string, len(cycle))
	for i, key := range cycle {
		names[i] = key.String()
	}
	return strings.Join(names, " -> ")
}

// Unready says why an Application does not count as ready at its current
// generation; empty when it does. Nil is one that does not exist.
func Unready(a *v1alpha1.Application) string {
	if a == nil {
		return "it does not exist"
	}
	ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case !a.DeletionTimestamp.IsZero():
		return "it is being deleted"
	case ready == nil || a.Status.ObservedGeneration != a.Generation || ready.ObservedGeneration != a.Generation:
		return "its newest spec has not been synced yet"
	case ready.Status == metav1.ConditionTrue:
		return ""
	case ready.Status == metav1.ConditionFalse:
		return "it failed: " + ready.Reason
	}
	return "it is not ready yet: " + ready.Reason
}

// Behind says why an Application that is ready does not count at a revision: what
// it would read there, by digest, is not what was applied. Empty when it counts.
func Behind(a *v1alpha1.Application, digest, revision string) string {
	if a.Status.Inputs != nil && a.Status.Inputs.Digest == digest {
		return ""
	}
	return fmt.Sprintf("it is ready at %.8s, and %.8s changes it", a.Status.Revision, revision)
}

// Standing tells apart all that may decide about those who wait for an Application:
// as long as it is the same, asking again is in vain. Settled is false while the
// Application is on its way, when asking is in vain, too.
func Standing(a *v1alpha1.Application) (standing string, settled bool) {
	why := Unready(a)
	if a == nil || !a.DeletionTimestamp.IsZero() {
		return why, true
	}
	ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
	settled = ready != nil && ready.Status != metav1.ConditionUnknown && ready.ObservedGeneration == a.Generation
	number, digest := int64(0), ""
	if a.Status.LastAttempt != nil {
		number = a.Status.LastAttempt.Number
	}
	if a.Status.Inputs != nil {
		digest = a.Status.Inputs.Digest
	}
	return fmt.Sprintf("%s/%d/%d/%s/%s", a.UID, a.Generation, number, digest, why), settled
}
