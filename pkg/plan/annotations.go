package plan

import (
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/object"
)

const prefix = v1alpha1.Group + "/"

// pruneAnnotation holds an object back from pruning: pruneDisabled keeps it,
// pruneConfirm blocks the plan until somebody confirms it. It is read from the
// live object, since the render no longer has what is pruned.
const (
	pruneAnnotation = prefix + "prune"
	pruneDisabled   = "disabled"
	pruneConfirm    = "confirm"
)

// policy is one annotation by which an object says how it is treated.
type policy struct {
	works   []string // values that are implemented
	planned []string // values of the API that are not; "*" stands for any value
}

var policies = map[string]policy{
	prefix + "wave":        {works: []string{"0"}, planned: []string{"*"}},
	prefix + "hook":        {planned: []string{"*"}},
	prefix + "hook-delete": {planned: []string{"*"}},
	prefix + "apply":       {works: []string{"override"}, planned: []string{"merge", "if-absent", "ignore"}},
	pruneAnnotation:        {works: []string{pruneDisabled, pruneConfirm}},
	prefix + "replace":     {planned: []string{"allowed"}},

	v1alpha1.OwnerAnnotation:        {works: []string{"*"}}, // overwritten
	v1alpha1.SyncAnnotation:         {works: []string{"*"}}, // of an Application in the render
	v1alpha1.ConfirmPruneAnnotation: {works: []string{"*"}},
}

// checkAnnotations refuses what would be passed over in silence: an annotation of
// Plumb's that does not exist, and one that does not work yet.
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
	return nil
}

func (p policy) check(o object.Object, key, value string) error {
	field := "metadata.annotations[" + key + "]"
	has := func(list []string) bool { return slices.Contains(list, value) || slices.Contains(list, "*") }
	switch {
	case has(p.works):
		return nil
	case has(p.planned):
		return refuse(o, field, "%q does not work yet in this version of Plumb; remove the annotation", value)
	case len(p.works)+len(p.planned) == 0:
		return refuse(o, field, "Plumb has no such annotation; known are %s", strings.Join(sortedKeys(policies), ", "))
	}
	return refuse(o, field, "is %q; want one of %q", value, append(slices.Clone(p.works), p.planned...))
}
