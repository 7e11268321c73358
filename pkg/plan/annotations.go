package plan

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/object"
)

const prefix = v1alpha1.Group + "/"

// Annotations by which an object says how it is treated. Those about pruning are
// read from the live object, since the render no longer has what is pruned.
const (
	waveAnnotation       = prefix + "wave"
	hookAnnotation       = prefix + "hook"
	hookDeleteAnnotation = prefix + "hook-delete"
	applyAnnotation      = prefix + "apply"
	pruneAnnotation      = prefix + "prune"
	replaceAnnotation    = prefix + "replace"

	// substituteAnnotation is for the render, which has done as it says.
	substituteAnnotation = prefix + "substitute"
)

// Annotations that Plumb writes. Values coming from the source are dropped.
const (
	// HookRunAnnotation tells for which run, and in which phase, a hook was made.
	HookRunAnnotation = prefix + "hook-run"
	// ClaimAnnotation names the Application that renders an object of another one.
	ClaimAnnotation = prefix + "claimed-by"
)

const (
	pruneDisabled = "disabled" // keeps it
	pruneConfirm  = "confirm"  // blocks the plan until somebody confirms it

	applyMerge    = "merge"     // takes no fields over that others hold
	applyIfAbsent = "if-absent" // made once, then left alone
	applyIgnore   = "ignore"    // neither read nor written

	replaceAllowed = "allowed"
)

// The first and the last wave.
const (
	minWave = -10_000
	maxWave = 10_000
)

// policy is one annotation by which an object says how it is treated.
type policy struct {
	values []string // "*" stands for any
	list   bool     // several values, separated by commas
}

var policies = map[string]policy{
	waveAnnotation:       {values: []string{"*"}}, // checkWave
	hookAnnotation:       {values: phaseWords[1:], list: true},
	hookDeleteAnnotation: {values: []string{deleteBefore, deleteSucceeded, deleteFailed}, list: true},
	applyAnnotation:      {values: []string{"override", applyMerge, applyIfAbsent, applyIgnore}},
	pruneAnnotation:      {values: []string{pruneDisabled, pruneConfirm}},
	replaceAnnotation:    {values: []string{replaceAllowed}},
	substituteAnnotation: {values: []string{"disabled"}},

	v1alpha1.OwnerAnnotation:        {values: []string{"*"}}, // overwritten
	HookRunAnnotation:               {values: []string{"*"}}, // dropped
	v1alpha1.FirstClaimAnnotation:   {values: []string{"*"}}, // dropped: it came with a copy
	ClaimAnnotation:                 {values: []string{"*"}},
	v1alpha1.SyncAnnotation:         {values: []string{"*"}}, // of an Application in the render
	v1alpha1.ConfirmPruneAnnotation: {values: []string{"*"}},
}

// checkAnnotations refuses what would be passed over in silence: an annotation of
// Plumb's that does not exist, a value that means nothing, and two that contradict
// each other.
func checkAnnotations(o object.Object) error {
	metadata, _ := o.Content()["metadata"].(map[string]any)
	annotations, ok := stringMap(metadata["annotations"])
	if !ok {
		return refuse(o, "metadata.annotations", "must be a map of strings; quote numbers and booleans")
	}
	if _, ok := stringMap(metadata["labels"]); !ok {
		return refuse(o, "metadata.labels", "must be a map of strings; quote numbers and booleans")
	}
	for _, key := range sortedKeys(annotations) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if err := policies[key].check(o, key, annotations[key]); err != nil {
			return err
		}
	}
	if err := checkWave(o, annotations); err != nil {
		return err
	}
	return checkHook(o, annotations)
}

func (p policy) check(o object.Object, key, value string) error {
	if len(p.values) == 0 {
		return refuse(o, annotation(key), "Plumb has no such annotation; known are %s", strings.Join(sortedKeys(policies), ", "))
	}
	values := []string{value}
	if p.list {
		values = split(value)
	}
	for _, v := range values {
		if !slices.Contains(p.values, v) && !slices.Contains(p.values, "*") {
			return refuse(o, annotation(key), "is %q; want one of %q", v, p.values)
		}
	}
	return nil
}

func checkWave(o object.Object, annotations map[string]string) error {
	value, given := annotations[waveAnnotation]
	if n, err := strconv.Atoi(value); given && (err != nil || n < minWave || n > maxWave) {
		return refuse(o, annotation(waveAnnotation), "is %q; want an integer from %d to %d", value, minWave, maxWave)
	}
	return nil
}

// checkHook: a hook is deleted and made anew for each run, which must cost nothing
// but the hook.
func checkHook(o object.Object, annotations map[string]string) error {
	_, hook := annotations[hookAnnotation]
	if _, given := annotations[hookDeleteAnnotation]; given && !hook {
		return refuse(o, annotation(hookDeleteAnnotation), "is for hooks; there is no annotation %s", hookAnnotation)
	}
	if !hook {
		return nil
	}
	if slices.Contains(grave, o.GroupVersionKind().GroupKind()) {
		return refuse(o, annotation(hookAnnotation), "a hook is deleted and made anew with each run, and a %s takes more with it than itself; "+
			"remove the annotation, and use %s to order it", o.ID().Kind, waveAnnotation)
	}
	if how := annotations[applyAnnotation]; how == applyMerge || how == applyIfAbsent {
		return refuse(o, annotation(applyAnnotation), "is %q, which does not go with %s", how, hookAnnotation)
	}
	return nil
}

func annotation(key string) string { return "metadata.annotations[" + key + "]" }

// split reads a list of words.
func split(value string) []string {
	words := strings.Split(value, ",")
	for i, w := range words {
		words[i] = strings.TrimSpace(w)
	}
	return words
}

// waveOf reads the wave of an object. One that does not say is false, and so is a
// live one that says nonsense.
func waveOf(annotations map[string]string) (wave int, given bool) {
	n, err := strconv.Atoi(annotations[waveAnnotation])
	if err != nil || n < minWave || n > maxWave {
		return 0, false
	}
	return n, true
}

func annotationsOf(u *unstructured.Unstructured) map[string]string {
	if u == nil {
		return nil
	}
	return u.GetAnnotations()
}
