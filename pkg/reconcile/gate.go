package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/checks"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/policy"
	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/source"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// A gate stands before the first write. That of a revision asks whether it may be
// applied at all: by the Applications that it depends on, and by its required
// checks. What is applied already passed it; so while a newer revision waits, drift
// is healed at the applied one. That of the windows asks whether anything may be
// written now, whatever it is.

// held says why an Application is not synced now.
type held struct {
	conditions []metav1.Condition
	waiting    *v1alpha1.Waiting // as the status tells it, without since
	again      time.Duration     // the request comes back after it; 0: something else asks
}

// waits is a revision that is held back. Ready and Synced are Unknown while it goes
// on by itself, and False when somebody has to do something.
func waits(status metav1.ConditionStatus, reason fault.Reason, revision string, until time.Time, why string) *held {
	message := bounded(fmt.Sprintf("%s waits: %s", short(revision), why))
	h := &held{
		waiting: &v1alpha1.Waiting{Revision: revision, Reason: string(reason), Message: message},
		conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: status, Reason: string(reason), Message: message},
			{Type: v1alpha1.ConditionSynced, Status: status, Reason: string(reason), Message: message},
			{Type: v1alpha1.ConditionSuspended, Status: metav1.ConditionFalse, Reason: string(fault.Succeeded)},
		},
	}
	if !until.IsZero() {
		h.waiting.Until = &metav1.Time{Time: until}
	}
	return h
}

// tell writes what is held into a status. What waited before waits since then.
func (h *held) tell(s *v1alpha1.ApplicationStatus, a *v1alpha1.Application, now time.Time) {
	for _, c := range h.conditions {
		set(s, a, c.Type, c.Status, fault.Reason(c.Reason), c.Message)
	}
	before := a.Status.Waiting
	s.Waiting = h.waiting.DeepCopy()
	switch {
	case s.Waiting == nil:
	case before != nil && before.Reason == s.Waiting.Reason && before.Revision == s.Waiting.Revision:
		s.Waiting.Since = before.Since
	default:
		s.Waiting.Since = metav1.NewTime(now)
	}
}

// fault brings the request back when that is what goes on with the Application.
func (h *held) fault(t *attempt) error {
	if h.again == 0 {
		return nil
	}
	return fault.After(fault.Reason(h.waiting.Reason), h.again, "sync %s: %s", t.key, h.waiting.Message)
}

// soon is how close an end may be for the request itself to wait for it: whoever
// sleeps until then may have another clock.
const soon = 10 * time.Second

// hold stores why the Application is not synced now.
func (t *attempt) hold(ctx context.Context, a *v1alpha1.Application, b begun, h *held) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := t.guard(); err != nil {
		return err
	}
	if err := t.r.storeHeld(ctx, a, b, h); err != nil {
		return err
	}
	h.hasten(t.r.now())
	return h.fault(t)
}

// hasten has the request itself wait for an end that is close.
func (h *held) hasten(now time.Time) {
	if h.waiting == nil || h.waiting.Until == nil {
		return
	}
	if left := h.waiting.Until.Sub(now); left < soon {
		h.again = max(left, 0) + time.Second // the time in a status has no fractions
	}
}

// gate says why a revision must not be applied yet; nil when it may, or already was.
func (t *attempt) gate(ctx context.Context, a *v1alpha1.Application, made source.Assembly) (h *held, err error) {
	if len(a.Spec.DependsOn) == 0 && a.Spec.Sync.Checks == nil || applied(a, made) {
		return nil, nil
	}
	err = t.stages.stage(ctx, "gate", func(ctx context.Context) error {
		if h, err = t.dependencies(ctx, a, made); h != nil || err != nil {
			return err
		}
		h, err = t.checks(ctx, a, made)
		return err
	})
	return h, err
}

// applied says whether what a revision is made of was applied as the spec says now.
func applied(a *v1alpha1.Application, made source.Assembly) bool {
	if !current(a) {
		return false
	}
	digest, err := made.Tree.Digest(route.Path(a.Spec.Source.Path), a.Status.Inputs.Outside)
	return err == nil && digest == a.Status.Inputs.Digest
}

// current says whether the spec is the one by which something was applied: that
// whose attempt told about drift, which only one does that applied everything.
func current(a *v1alpha1.Application) bool {
	told := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionDrifted)
	return a.Status.Inputs != nil && told != nil && told.ObservedGeneration == a.Generation
}

// previous is what was applied, fetched again to heal it while another revision
// waits; false when there is nothing to heal or it cannot be had.
func (t *attempt) previous(ctx context.Context, a *v1alpha1.Application) (source.Assembly, bool) {
	at := mends(a, t.reason(a) == event.ReasonDrift && !t.again)
	if at == "" {
		return source.Assembly{}, false
	}
	pinned := source.Pinned(a)
	pinned.Spec.Source.Ref = at
	made, err := t.r.assembler.Assemble(ctx, pinned, source.Freshness{})
	if err != nil {
		t.r.log.WarnContext(ctx, "what is applied is not healed while another revision waits",
			"application", t.key.String(), "revision", short(at), "error", err)
		return made, false
	}
	return made, at != a.Status.Revision || applied(a, made)
}

// mends is the revision to apply again while another one waits; empty for none. Drift
// is healed at the one that is applied, a failed heal is repeated, and an attempt that
// was cut short comes to its end: its revision had passed the gate.
func mends(a *v1alpha1.Application, drift bool) string {
	last := a.Status.LastAttempt
	if last == nil || !current(a) {
		return ""
	}
	switch applied := a.Status.Revision; last.Result {
	case v1alpha1.ResultRunning, v1alpha1.ResultSuperseded:
		if last.Revision == applied || source.Plain(a) {
			return last.Revision
		}
	case v1alpha1.ResultFailed:
		if last.RetryAt != nil && last.Revision == applied || drift {
			return applied
		}
	default:
		if drift {
			return applied
		}
	}
	return ""
}

// window says why nothing may be written now; nil when it may, or when there is
// nothing to write.
func (t *attempt) window(ctx context.Context, a *v1alpha1.Application, b begun, s fetched, p plan.Plan) (*held, error) {
	windows, err := policy.ParseWindows(a.Spec.Sync.Windows)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", catalog.PlaceOf(a, "").Object, err)
	}
	d := windows.At(t.r.now())
	if d.Open || p.Settled() {
		return nil, nil
	}
	if overrides(a) {
		t.r.catalog.Record(a, corev1.EventTypeNormal, "WindowOverridden", fmt.Sprintf("applying %s although %s, as request %s asks", short(s.made.Revision), d.Why, b.requested))
		return nil, nil
	}
	why := d.Why
	if !d.Until.IsZero() {
		why += ", until " + d.Until.UTC().Format(time.RFC3339)
	}
	h := waits(metav1.ConditionUnknown, fault.WindowClosed, s.newest, d.Until, why)
	t.heldDrift(ctx, a, b, p, h)
	return h, nil
}

// heldDrift tells of drift that is not healed while a window is closed.
func (t *attempt) heldDrift(ctx context.Context, a *v1alpha1.Application, b begun, p plan.Plan, h *held) {
	var names []string
	var drifted []*eventsv1.DriftedObject
	for _, action := range p.Actions() {
		if action.Drift != nil {
			names, drifted = append(names, action.ID.Human()), append(drifted, driftedObject(action))
		}
	}
	if len(names) == 0 || !current(a) {
		return
	}
	c := metav1.Condition{
		Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionTrue, Reason: string(fault.WindowClosed),
		Message: bounded("these are healed when the window opens: " + strings.Join(names, ", ")),
	}
	h.conditions = append(h.conditions, c)
	if told := meta.FindStatusCondition(a.Status.Conditions, c.Type); told == nil || told.Message != c.Message {
		t.tellLeft(ctx, a, b, drifted)
	}
}

// overrides says whether the person's request that this attempt answers, or repeats
// after a failure, may write although a window is closed.
func overrides(a *v1alpha1.Application) bool {
	id := a.Annotations[v1alpha1.SyncAnnotation]
	return id != "" && a.Annotations[v1alpha1.OverrideWindowsAnnotation] == id && (id != a.Status.Requested || repeats(a))
}

// repeats says whether the last attempt was a person's, failed, and is to be repeated.
func repeats(a *v1alpha1.Application) bool {
	last := a.Status.LastAttempt
	return last != nil && last.Reason == event.ReasonManual && last.Result == v1alpha1.ResultFailed && last.RetryAt != nil
}

// owed says whether a person's request in mode manual is not carried out yet: it
// waits, or its attempt is to be repeated. The message on the queue may be another
// by now, that of a push.
func owed(a *v1alpha1.Application) bool {
	w := a.Status.Waiting
	return a.Spec.Sync.Mode == v1alpha1.ModeManual && (w != nil && w.Reason != string(fault.Suspended) || repeats(a))
}

// Checks are asked for again after this, ever more slowly; failed ones, which
// somebody may run again, at the slowest.
const (
	checksSoonest = 10 * time.Second
	checksLatest  = time.Minute
)

// checks asks the Git host for the required checks of the revision.
func (t *attempt) checks(ctx context.Context, a *v1alpha1.Application, made source.Assembly) (*held, error) {
	required := a.Spec.Sync.Checks
	if required == nil {
		return nil, nil
	}
	if main := source.Main(a); main.Artifact() || main.Repo == "" {
		return nil, fault.Refuse(fault.SourceRefused, catalog.PlaceOf(a, "spec.sync.checks"), "what comes from a registry has no commit statuses; remove the field")
	}
	token, err := t.r.assembler.Policy.Token(ctx, a, t.r.assembler.Store)
	if err != nil {
		return nil, err
	}
	states, err := t.r.checks.State(ctx, checks.Query{
		Repo: a.Spec.Source.Repo, SHA: made.Revision, Provider: required.Provider, Token: checks.Token(token), Names: required.Required,
	})
	class, after := fault.ClassOf(err)
	if err != nil && class == fault.Permanent {
		return nil, fmt.Errorf("%s: %w", catalog.PlaceOf(a, "").Object, err)
	}
	h := awaitChecks(required.Required, states, made.Revision, err)
	if h != nil {
		h.again = max(after, t.patience(a, h))
	}
	return h, nil
}

// awaitChecks says which checks the revision waits for.
func awaitChecks(names []string, states map[string]checks.State, revision string, err error) *held {
	if err != nil {
		return waits(metav1.ConditionUnknown, fault.ChecksPending, revision, time.Time{}, "its required checks are not known: "+err.Error())
	}
	if bad := inState(names, states, checks.Failed); len(bad) > 0 {
		return waits(metav1.ConditionFalse, fault.ChecksFailed, revision, time.Time{},
			"required checks failed: "+strings.Join(bad, ", ")+"; push a fix, or run them again")
	}
	open := slices.Concat(inState(names, states, checks.Pending), inState(names, states, checks.Missing))
	if len(open) == 0 {
		return nil
	}
	return waits(metav1.ConditionUnknown, fault.ChecksPending, revision, time.Time{}, "required checks are not green yet: "+strings.Join(open, ", "))
}

func inState(names []string, states map[string]checks.State, s checks.State) []string {
	var found []string
	for _, name := range names {
		if states[name] == s && s == checks.Missing {
			name += " (never reported)"
			found = append(found, name)
		} else if states[name] == s {
			found = append(found, name)
		}
	}
	return found
}

// patience is how long to wait before checks are asked for again: as long as they
// were waited for already, within limits.
func (t *attempt) patience(a *v1alpha1.Application, h *held) time.Duration {
	before := a.Status.Waiting
	switch {
	case h.waiting.Reason == string(fault.ChecksFailed):
		return checksLatest
	case before == nil || before.Reason != h.waiting.Reason || before.Revision != h.waiting.Revision:
		return checksSoonest
	}
	return min(max(t.r.now().Sub(before.Since.Time), checksSoonest), checksLatest)
}
