package sets

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/generate"
)

// few is how many deletions never need a confirmation, unless nothing is left.
const few = 2

// decision is what an expansion would do, and why.
type decision struct {
	create []*unstructured.Unstructured
	update []change
	same   []string
	doomed []*v1alpha1.Application // no longer generated
	keep   bool                    // spec.sync.prune is false
	going  []string                // being deleted already
	failed map[string]string       // name -> why it cannot be the set's
	digest string                  // of the deletions; empty: there are none
	held   string                  // why they wait for a confirmation; empty: they do not
}

type change struct {
	desired *unstructured.Unstructured
	live    *v1alpha1.Application
}

// decide compares what the set generates with the Applications of its namespace.
func decide(set *v1alpha1.ApplicationSet, generated []generate.Application, live map[string]*v1alpha1.Application) (decision, error) {
	d := decision{failed: map[string]string{}}
	wanted := map[string]bool{}
	for _, g := range generated {
		desired, err := owned(set, g.Object)
		if err != nil {
			return d, err
		}
		name := desired.GetName()
		wanted[name] = true
		d.place(set, desired, live[name])
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(live)) {
		a := live[name]
		switch {
		case !controls(set, a):
		case !a.DeletionTimestamp.IsZero():
			d.going = append(d.going, name)
		default:
			total++
			if !wanted[name] {
				d.doomed = append(d.doomed, a)
			}
		}
	}
	return d, d.guard(set, total, len(generated))
}

func (d *decision) place(set *v1alpha1.ApplicationSet, desired *unstructured.Unstructured, a *v1alpha1.Application) {
	name := desired.GetName()
	switch {
	case a == nil:
		d.create = append(d.create, desired)
	case !controls(set, a):
		d.failed[name] = "an Application of that name exists and is not of this set; rename one of them, or delete it"
	case !a.DeletionTimestamp.IsZero():
		d.failed[name] = "it is being deleted; it is made again afterwards"
	case inSync(desired, a):
		d.same = append(d.same, name)
	default:
		d.update = append(d.update, change{desired, a})
	}
}

// guard holds deletions that are too many to be meant, until a person confirms them
// by their digest.
func (d *decision) guard(set *v1alpha1.ApplicationSet, total, generated int) error {
	if len(d.doomed) == 0 {
		return nil
	}
	if set.Spec.Sync.Prune != nil && !*set.Spec.Sync.Prune {
		d.keep = true
		return nil
	}
	d.digest = digestOf(d.doomed)
	over, err := exceeds(set.Spec.Sync.PruneLimit, len(d.doomed), total)
	switch {
	case err != nil:
		return err
	case set.Annotations[v1alpha1.ConfirmPruneAnnotation] == d.digest:
	case generated == 0:
		d.held = fmt.Sprintf("nothing is generated any more, and %d Applications would be deleted: %s", len(d.doomed), names(d.doomed))
	case over && len(d.doomed) > few:
		d.held = fmt.Sprintf("%d of %d Applications would be deleted, more than spec.sync.pruneLimit (%s) allows: %s",
			len(d.doomed), total, limitText(set.Spec.Sync.PruneLimit), names(d.doomed))
	}
	return nil
}

func limitText(limit string) string {
	if limit == "" {
		return "50%"
	}
	return limit
}

func exceeds(limit string, doomed, total int) (bool, error) {
	digits, percent := strings.CutSuffix(limitText(limit), "%")
	n, err := strconv.ParseUint(digits, 10, 31)
	switch {
	case err != nil || percent && n > 100:
		return false, fault.Refuse(fault.PruneBlocked, fault.Place{Field: "spec.sync.pruneLimit"},
			"is %q; want a percentage up to 100%% or a count", limit)
	case percent:
		return doomed*100 > int(n)*total, nil
	}
	return doomed > int(n), nil
}

func digestOf(doomed []*v1alpha1.Application) string {
	h := sha256.New()
	for _, a := range doomed {
		fmt.Fprintf(h, "%s %s\n", a.Name, a.UID)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// listed is how many names a message tells.
const listed = 10

func names(all []*v1alpha1.Application) string {
	var told []string
	for _, a := range all {
		if len(told) == listed {
			return fmt.Sprintf("%s and %d more", strings.Join(told, ", "), len(all)-listed)
		}
		told = append(told, a.Name)
	}
	return strings.Join(told, ", ")
}

func controls(set *v1alpha1.ApplicationSet, a *v1alpha1.Application) bool {
	ref := metav1.GetControllerOf(a)
	return ref != nil && ref.UID == set.UID && ref.Kind == v1alpha1.SetKind.Kind
}

// owned is what is applied: the generated Application, its owner and its digest.
func owned(set *v1alpha1.ApplicationSet, generated *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	desired := generated.DeepCopy()
	ref := metav1.NewControllerRef(set, v1alpha1.SetKind)
	// Blocking would take a right on the set's finalizers where that admission is on.
	ref.BlockOwnerDeletion = nil
	desired.SetOwnerReferences([]metav1.OwnerReference{*ref})
	raw, err := json.Marshal(desired.Object)
	if err != nil {
		return nil, fmt.Errorf("encode Application %s: %w", desired.GetName(), err)
	}
	sum := sha256.Sum256(raw)
	annotations := desired.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.SetDigestAnnotation] = hex.EncodeToString(sum[:8])
	desired.SetAnnotations(annotations)
	return desired, nil
}

// inSync says whether the live Application has all that the set says. The digest
// sees what the set no longer says.
func inSync(desired *unstructured.Unstructured, a *v1alpha1.Application) bool {
	if !within(desired.GetAnnotations(), a.Annotations) || !within(desired.GetLabels(), a.Labels) {
		return false
	}
	var typed v1alpha1.Application
	if runtime.DefaultUnstructuredConverter.FromUnstructured(desired.Object, &typed) != nil {
		return false
	}
	norm, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&typed.Spec)
	if err != nil {
		return false
	}
	live, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&a.Spec)
	return err == nil && covered(desired.Object["spec"], norm, live)
}

func within(want, have map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// covered says whether live has every value of raw. norm is raw as the API's types
// write it: 5m as 5m0s, and without empty values, for which live must be empty too.
func covered(raw, norm, live any) bool {
	switch raw := raw.(type) {
	case map[string]any:
		n, _ := norm.(map[string]any)
		l, _ := live.(map[string]any)
		for k, v := range raw {
			if !covered(v, n[k], l[k]) {
				return false
			}
		}
		return true
	case []any:
		n, _ := norm.([]any)
		l, _ := live.([]any)
		if len(l) != len(raw) || len(n) != len(raw) {
			return false
		}
		for i, v := range raw {
			if !covered(v, n[i], l[i]) {
				return false
			}
		}
		return true
	}
	if norm == nil {
		return live == nil || reflect.ValueOf(live).IsZero()
	}
	return reflect.DeepEqual(norm, live)
}
