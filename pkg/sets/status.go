package sets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

const (
	// maxListed is how many Applications the status names.
	maxListed = 500
	// maxMessage bounds messages of the status in bytes.
	maxMessage = 2048
)

// Results of one Application.
const (
	resultSynced   = "synced"
	resultFailed   = "failed"
	resultKept     = "kept"
	resultBlocked  = "blocked"
	resultDeleting = "deleting"
)

// refused writes a status that says what kept the set from being carried out. What
// is known of its Applications stays.
func (e *expansion) refused(ctx context.Context, sources []v1alpha1.SetSource, err error) (ending, error) {
	if ctx.Err() != nil {
		return failed, ctx.Err()
	}
	reason := cmp.Or(fault.ReasonOf(err), fault.GenerateFailed)
	status := e.set.Status.DeepCopy()
	if len(sources) > 0 {
		status.Sources = merged(status.Sources, sources)
	}
	how := failed
	if class, _ := fault.ClassOf(err); class == fault.Permanent && reason == fault.GenerateFailed {
		how = done // only the set or what it reads can mend it
	}
	e.conclude(status, reason, "nothing was changed: "+err.Error())
	return how, e.write(ctx, status)
}

// merged are the sources of before, with what is known better now: those that were
// not read this time must still be heard of.
func merged(before, now []v1alpha1.SetSource) []v1alpha1.SetSource {
	all := slices.Clone(now)
	for _, s := range before {
		if !slices.ContainsFunc(now, func(n v1alpha1.SetSource) bool { return n.Repo == s.Repo && n.Ref == s.Ref }) {
			all = append(all, s)
		}
	}
	return all
}

// finish writes the status of an expansion that was carried out, as far as it was.
func (e *expansion) finish(ctx context.Context, sources []v1alpha1.SetSource, d decision, o *outcome) (ending, error) {
	e.tellAll(d, o)
	status := &v1alpha1.ApplicationSetStatus{
		Conditions: e.set.Status.Conditions, Sources: sources,
		Confirmed: e.set.Annotations[v1alpha1.ConfirmPruneAnnotation],
	}
	status = status.DeepCopy()
	if d.held != "" {
		status.Plan = d.digest
	}
	list := results(d, o)
	for _, a := range list {
		if a.Result == resultSynced || a.Result == resultKept || a.Result == resultBlocked {
			status.Count++
		}
	}
	status.Applications = list[:min(len(list), maxListed)]
	status.Omitted = int32(len(list) - len(status.Applications))
	reason, message := e.verdict(d, o, status.Count)
	e.conclude(status, reason, message)
	how := done
	if len(o.failed) > 0 {
		how = failed
	}
	return how, e.write(ctx, status)
}

// results are what became of each Application, by name.
func results(d decision, o *outcome) []v1alpha1.SetApplication {
	byName := map[string]v1alpha1.SetApplication{}
	put := func(result, message string, names ...string) {
		for _, name := range names {
			byName[name] = v1alpha1.SetApplication{Name: name, Result: result, Message: bounded(message)}
		}
	}
	put(resultDeleting, "", d.going...)
	for _, a := range d.doomed {
		switch {
		case d.keep:
			put(resultKept, "no longer generated; spec.sync.prune is false", a.Name)
		case d.held != "":
			put(resultBlocked, "no longer generated; its deletion waits for a confirmation", a.Name)
		default:
			put(resultKept, "no longer generated; deleted once everything else is written", a.Name)
		}
	}
	put(resultDeleting, "", o.deleted...)
	put(resultSynced, "", d.same...)
	put(resultSynced, "", o.written...)
	for _, why := range []map[string]string{d.failed, o.taken} {
		for name, text := range why {
			put(resultFailed, text, name)
		}
	}
	for name, err := range o.failed {
		put(resultFailed, err.Error(), name)
	}
	var all []v1alpha1.SetApplication
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	return all
}

// verdict is the Ready condition of what was done: the first of failure, collision
// and held deletion.
func (e *expansion) verdict(d decision, o *outcome, count int32) (fault.Reason, string) {
	switch {
	case len(o.failed) > 0:
		return fault.ApplyFailed, fmt.Sprintf("%d of %d Applications could not be written: %s", len(o.failed),
			len(o.failed)+len(o.written)+len(d.same), firstOf(o.failed))
	case len(d.failed)+len(o.taken) > 0:
		why := map[string]error{}
		for _, texts := range []map[string]string{d.failed, o.taken} {
			for name, text := range texts {
				why[name] = errors.New(text)
			}
		}
		return fault.OwnershipConflict, firstOf(why)
	case d.held != "":
		return fault.PruneBlocked, fmt.Sprintf("%s; confirm with: kubectl annotate --overwrite applicationset -n %s %s %s=%s",
			d.held, e.set.Namespace, e.set.Name, v1alpha1.ConfirmPruneAnnotation, d.digest)
	}
	return fault.Succeeded, fmt.Sprintf("%d Applications", count)
}

func firstOf(why map[string]error) string {
	var told []string
	for _, name := range slices.Sorted(maps.Keys(why)) {
		if len(told) == 3 {
			told = append(told, fmt.Sprintf("and %d more", len(why)-3))
			break
		}
		told = append(told, name+": "+why[name].Error())
	}
	return strings.Join(told, "; ")
}

// conclude sets the Ready condition, and tells of one that became another.
func (e *expansion) conclude(status *v1alpha1.ApplicationSetStatus, reason fault.Reason, message string) {
	status.ObservedGeneration = e.set.Generation
	condition := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: string(reason),
		Message: bounded(message), ObservedGeneration: e.set.Generation, LastTransitionTime: metav1.NewTime(e.c.o.Now()),
	}
	if reason == fault.Succeeded {
		condition.Status = metav1.ConditionTrue
	}
	if meta.SetStatusCondition(&status.Conditions, condition) && reason != fault.Succeeded {
		e.tell(corev1.EventTypeWarning, string(reason), "%s", condition.Message)
	}
}

func bounded(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
}

// write writes a status that says something new.
func (e *expansion) write(ctx context.Context, status *v1alpha1.ApplicationSetStatus) error {
	if equality.Semantic.DeepEqual(e.set.Status, *status) {
		return nil
	}
	set := *e.set
	set.Status = *status
	return e.c.Sets.writeStatus(ctx, &set)
}
