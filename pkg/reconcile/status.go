package reconcile

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// maxHistory is how many applied revisions a status keeps.
const maxHistory = 10

// begun identifies an attempt from its first status write on.
type begun struct {
	number    int64
	run       int64 // of hooks: the number of the attempt that began it
	reason    string
	trace     string
	requested string // the annotation plumb.dev/sync at the start
	startedAt time.Time
	held      *held // a newer revision that waits meanwhile; may be nil
}

// starting is the first status write of an attempt: it takes the number, and
// remembers all that the attempt may come to own.
func (b begun) starting(a *v1alpha1.Application, made source.Assembly, owned inventory.Inventory) v1alpha1.ApplicationStatus {
	s := *a.Status.DeepCopy()
	count := failures(a, made.Revision)
	s.LastAttempt = &v1alpha1.LastAttempt{
		Number: b.number, Revision: made.Revision, Reason: b.reason, Result: v1alpha1.ResultRunning,
		StartedAt: metav1.NewMicroTime(b.startedAt), FetchedAt: moment(made.Began), Trace: b.trace, Failures: count, Run: b.run,
	}
	if len(made.Sources) > 0 { // else Revision says all
		s.LastAttempt.Inputs = &v1alpha1.Inputs{Sources: made.Sources}
	}
	s.Inventory, s.Waiting = owned.Status(), nil
	set(&s, a, v1alpha1.ConditionReady, metav1.ConditionUnknown, fault.Progressing, "applying "+short(made.Revision))
	if b.held != nil {
		b.held.tell(&s, a, b.startedAt)
	}
	return s
}

// ended is the last status write of an attempt.
func (b begun) ended(a *v1alpha1.Application, o outcome, now time.Time) v1alpha1.ApplicationStatus {
	s := *a.Status.DeepCopy()
	if o.finishing { // the spec may have moved on: what waited was of the generation observed then
		attempted := *a
		attempted.Generation, a = s.ObservedGeneration, &attempted
	}
	if o.result != v1alpha1.ResultSuperseded { // else who supersedes it has to answer them still
		s.ObservedGeneration, s.Requested = a.Generation, b.requested
	}
	if !o.finishing && o.result != v1alpha1.ResultSuperseded {
		// Also when it confirmed another prune than the one planned: asking again would not help.
		s.Confirmed = a.Annotations[v1alpha1.ConfirmPruneAnnotation]
	}
	if !o.finishing && !o.unread {
		s.Inventory = o.owned.Status()
	}
	s.LastAttempt = b.lastAttempt(a, o, now)
	if o.health.Total > 0 || o.applied {
		s.Resources = resources(o.health)
	}
	if o.applied {
		s.Revision, s.Inputs = o.revision, o.inputs
		s.History = b.history(s.History, o, now)
	}
	if !o.finishing {
		s.Waiting = nil
	}
	conditions(&s, a, o)
	if o.held != nil {
		o.held.tell(&s, a, now)
	}
	return s
}

func (b begun) lastAttempt(a *v1alpha1.Application, o outcome, now time.Time) *v1alpha1.LastAttempt {
	last := &v1alpha1.LastAttempt{
		Number: b.number, Revision: o.revision, Reason: b.reason, Result: o.result, Message: o.message(),
		StartedAt: metav1.NewMicroTime(b.startedAt), FetchedAt: moment(o.fetched), Trace: b.trace, Run: o.run,
	}
	last.Objects, last.Omitted = o.results(maxResults)
	if attempt := a.Status.LastAttempt; o.finishing && attempt != nil { // only its wait ended here
		last.Objects, last.Omitted, last.Run, last.RetryAt = attempt.Objects, attempt.Omitted, attempt.Run, attempt.RetryAt
	}
	if o.deferred { // the request that comes back may be replaced by one that finds nothing new
		last.RetryAt = &metav1.Time{Time: now.Add(handoverRetry)}
	}
	switch o.result {
	case v1alpha1.ResultWaiting:
		deadline := metav1.NewTime(o.deadline)
		last.Deadline = &deadline
	case v1alpha1.ResultSuperseded:
		last.Inputs = o.inputs
	case v1alpha1.ResultFailed:
		last.Failures = failures(a, o.revision) + 1
		last.Inputs = o.inputs
		if wait, repeats := again(a, last.Failures, o.err); repeats && !o.finishing { // nobody repeats the end of a wait
			last.RetryAt = &metav1.Time{Time: now.Add(wait)}
		}
	}
	if o.result != v1alpha1.ResultWaiting {
		last.Duration = &metav1.Duration{Duration: now.Sub(b.startedAt)}
	}
	return last
}

// failures counts the failed attempts in a row at this revision and generation.
func failures(a *v1alpha1.Application, revision string) int32 {
	last := a.Status.LastAttempt
	if last == nil || last.Revision != revision || a.Status.ObservedGeneration != a.Generation {
		return 0
	}
	return last.Failures
}

func (b begun) history(old []v1alpha1.HistoryEntry, o outcome, now time.Time) []v1alpha1.HistoryEntry {
	if len(old) > 0 && old[0].Revision == o.revision && old[0].Digest == o.inputs.Digest {
		return old
	}
	entry := v1alpha1.HistoryEntry{
		Revision: o.revision, Digest: o.inputs.Digest, At: metav1.NewTime(now),
		Duration: &metav1.Duration{Duration: now.Sub(b.startedAt)}, Reason: b.reason, Trace: b.trace,
	}
	history := append([]v1alpha1.HistoryEntry{entry}, old...)
	return history[:min(len(history), maxHistory)]
}

func resources(s health.Summary) *v1alpha1.Resources {
	return &v1alpha1.Resources{
		Total: int32(s.Total), Healthy: int32(s.Healthy), Progressing: int32(s.Progressing), Degraded: int32(s.Degraded),
	}
}

// conditions says what the outcome means. Ready is True only when the current
// generation was attempted, the attempt succeeded and all objects are healthy.
func conditions(s *v1alpha1.ApplicationStatus, a *v1alpha1.Application, o outcome) {
	healthy(s, a, o)
	if o.finishing && s.Waiting != nil && s.Waiting.Reason != string(fault.Suspended) {
		return // a newer revision waits, as Synced and Ready say
	}
	synced(s, a, o)
	if o.finishing && s.Waiting != nil {
		return // suspended during the wait, as Ready says
	}
	set(s, a, v1alpha1.ConditionReady, ready(o.result), o.reason(), o.message())
	drift(s, a, o)
	set(s, a, v1alpha1.ConditionSuspended, metav1.ConditionFalse, fault.Succeeded, "")
}

// drift is told only by an attempt that came to its end; what it left alone differs.
func drift(s *v1alpha1.ApplicationStatus, a *v1alpha1.Application, o outcome) {
	switch {
	case !o.applied || o.finishing:
	case len(o.drifted) > 0:
		set(s, a, v1alpha1.ConditionDrifted, metav1.ConditionTrue, fault.Succeeded,
			bounded(fmt.Sprintf("spec.sync.drift is %s, so these are left as they are: %s", a.Spec.Sync.Drift, strings.Join(o.drifted, ", "))))
	default:
		set(s, a, v1alpha1.ConditionDrifted, metav1.ConditionFalse, fault.Succeeded, "")
	}
}

func ready(result v1alpha1.Result) metav1.ConditionStatus {
	switch result {
	case v1alpha1.ResultSucceeded:
		return metav1.ConditionTrue
	case v1alpha1.ResultFailed:
		return metav1.ConditionFalse
	}
	return metav1.ConditionUnknown
}

func synced(s *v1alpha1.ApplicationStatus, a *v1alpha1.Application, o outcome) {
	switch {
	case o.applied:
		set(s, a, v1alpha1.ConditionSynced, metav1.ConditionTrue, fault.Succeeded, "applied "+short(o.revision))
	case o.result == v1alpha1.ResultFailed:
		set(s, a, v1alpha1.ConditionSynced, metav1.ConditionFalse, o.reason(), o.message())
	default:
		set(s, a, v1alpha1.ConditionSynced, metav1.ConditionUnknown, o.reason(), o.message())
	}
}

func healthy(s *v1alpha1.ApplicationStatus, a *v1alpha1.Application, o outcome) {
	switch {
	case o.health.Total == 0 && !o.applied:
		return
	case o.health.Status == health.Healthy || o.health.Total == 0:
		set(s, a, v1alpha1.ConditionHealthy, metav1.ConditionTrue, fault.Succeeded, "")
	case o.health.Status == health.Degraded:
		set(s, a, v1alpha1.ConditionHealthy, metav1.ConditionFalse, fault.HealthFailed, bounded(o.health.Describe()))
	default:
		set(s, a, v1alpha1.ConditionHealthy, metav1.ConditionUnknown, fault.Progressing, bounded(o.health.Describe()))
	}
}

// set changes one condition; the transition time moves only with the status.
func set(s *v1alpha1.ApplicationStatus, a *v1alpha1.Application, kind string, status metav1.ConditionStatus, reason fault.Reason, message string) {
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: string(reason), Message: message, ObservedGeneration: a.Generation,
	})
}

// moment is nil for what did not happen.
func moment(t time.Time) *metav1.MicroTime {
	if t.IsZero() {
		return nil
	}
	m := metav1.NewMicroTime(t)
	return &m
}

// short is how people name a commit, or the digest of an artifact.
func short(revision string) string {
	revision = strings.TrimPrefix(revision, "sha256:")
	return revision[:min(len(revision), 8)]
}
