package helm

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Annotations of Helm, and ours that stand for them.
const (
	helmHook   = "helm.sh/hook"
	helmWeight = "helm.sh/hook-weight"
	helmDelete = "helm.sh/hook-delete-policy"
	helmPolicy = "helm.sh/resource-policy"

	hookAnnotation   = "plumb.dev/hook"
	waveAnnotation   = "plumb.dev/wave"
	deleteAnnotation = "plumb.dev/hook-delete"
	pruneAnnotation  = "plumb.dev/prune"
)

// phases are ours for the events of Helm. A sync is Helm's install and upgrade in
// one. An event that maps to nothing has no phase of ours: an object of such events
// alone is left out, since applying it with the others would run it at the wrong time.
var phases = map[string]string{
	"pre-install":  "pre-sync",
	"pre-upgrade":  "pre-sync",
	"post-install": "post-sync",
	"post-upgrade": "post-sync",
	"pre-delete":   "pre-delete",

	"post-delete":   "",
	"pre-rollback":  "",
	"post-rollback": "",
	"test":          "",
	"test-success":  "",
	"test-failure":  "",
}

// ordinary was Helm 2's way to put a CRD first, which every CRD is.
const ordinary = "crd-install"

var policies = map[string]string{
	"before-hook-creation": "before",
	"hook-succeeded":       "succeeded",
	"hook-failed":          "failed",
}

// mapAnnotations says in our annotations what the chart says in Helm's, where the
// chart does not say it in ours itself.
func mapAnnotations(objects []object.Object) ([]object.Object, error) {
	var out []object.Object
	for _, o := range objects {
		set := map[string]string{}
		if strings.TrimSpace(o.Annotation(helmPolicy)) == "keep" {
			set[pruneAnnotation] = "disabled"
		}
		kept := true
		if isHook(o) {
			var err error
			if kept, err = hook(o, set); err != nil {
				return nil, err
			}
		}
		if kept {
			out = append(out, annotate(o, set))
		}
	}
	return out, nil
}

// isHook is true for an empty annotation, too.
func isHook(o object.Object) bool {
	metadata, _ := o.Content()["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	_, has := annotations[helmHook]
	return has
}

// hook adds the annotations of a hook to set. It is false for objects to leave out.
func hook(o object.Object, set map[string]string) (bool, error) {
	found, err := phasesOf(o)
	if err != nil || len(found) == 0 {
		return false, err
	}
	if slices.Contains(found, ordinary) || keeps(o) {
		return true, nil
	}
	set[hookAnnotation] = strings.Join(found, ",")
	set[deleteAnnotation] = deletion(o.Annotation(helmDelete))
	if weight, err := strconv.Atoi(o.Annotation(helmWeight)); err == nil && weight != 0 {
		set[waveAnnotation] = strconv.Itoa(max(-lastWave, min(weight, lastWave)))
	}
	return true, nil
}

// lastWave is the greatest wave that a plan takes, and its negative the least.
const lastWave = 10_000

// keeps is true for kinds with which other objects or data go: charts make hooks of
// them only to have them early, where ours stand anyway, and a plan takes no hook of
// them, since a hook is deleted and made anew.
func keeps(o object.Object) bool {
	id := o.ID()
	switch id.Kind {
	case "Namespace", "PersistentVolumeClaim":
		return id.Group == ""
	case "CustomResourceDefinition":
		return id.Group == "apiextensions.k8s.io"
	}
	return false
}

// phasesOf returns our phases of a hook, each once.
func phasesOf(o object.Object) ([]string, error) {
	var found []string
	for event := range strings.SplitSeq(o.Annotation(helmHook), ",") {
		event = strings.ToLower(strings.TrimSpace(event))
		phase, known := phases[event]
		switch {
		case event == "": // Helm leaves it out, too
		case event == ordinary:
			return []string{ordinary}, nil
		case !known:
			place := o.Place()
			place.Field = "metadata.annotations[" + helmHook + "]"
			return nil, fault.Refuse(fault.RenderFailed, place, "Helm has no hook %q", event)
		case phase != "" && !slices.Contains(found, phase):
			found = append(found, phase)
		}
	}
	return found, nil
}

// deletion maps the policies; without any, Helm deletes a hook before it is made anew.
func deletion(said string) string {
	var out []string
	for policy := range strings.SplitSeq(said, ",") {
		ours := policies[strings.ToLower(strings.TrimSpace(policy))]
		if ours != "" && !slices.Contains(out, ours) {
			out = append(out, ours)
		}
	}
	if len(out) == 0 {
		return "before"
	}
	return strings.Join(out, ",")
}

func annotate(o object.Object, set map[string]string) object.Object {
	if len(set) == 0 {
		return o
	}
	return o.With(func(u *unstructured.Unstructured) {
		annotations := u.GetAnnotations()
		for key, value := range set {
			if _, said := annotations[key]; !said {
				annotations[key] = value
			}
		}
		u.SetAnnotations(annotations)
	})
}
