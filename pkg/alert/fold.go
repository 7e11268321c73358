package alert

import (
	"maps"

	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Fold takes a fact into the incident of its Application, nil when there is
// none. changed is false when the fact says nothing new: it is older than what
// the incident knows, or all is well and was. While an incident is open, what
// repeats it changes its description only.
func Fold(old *eventsv1.Incident, f Fact) (next *eventsv1.Incident, changed bool) {
	if old == nil && !f.finding.GetWrong() || stale(f.of(old), f.finding) {
		return old, false
	}
	if next = proto.CloneOf(old); old == nil {
		next = &eventsv1.Incident{Id: f.Incident(), Cluster: f.Cluster, Namespace: f.Namespace, Name: f.Name}
	}
	next.Sequence = f.finding.GetSequence()
	switch {
	case f.side == ofHealth:
		next.Health = f.finding
	case !f.finding.GetWrong() && !stale(next.GetHealth(), f.finding):
		next.Sync, next.Health = f.finding, proto.CloneOf(f.finding) // succeeded means healthy, too
	default:
		next.Sync = f.finding
	}
	judge(next, f.finding)
	return next, true
}

func (f Fact) of(i *eventsv1.Incident) *eventsv1.Finding {
	if f.side == ofHealth {
		return i.GetHealth()
	}
	return i.GetSync()
}

// stale says whether a finding is older than what is known, or is it. The
// sequence decides; one that is lower and yet of a later time is of a stream
// that was made anew, and counts.
func stale(known, found *eventsv1.Finding) bool {
	return known != nil && found.GetSequence() <= known.GetSequence() && !timeOf(found).After(timeOf(known))
}

// judge brings the incident into the state that its findings mean.
func judge(i *eventsv1.Incident, newest *eventsv1.Finding) {
	wrong := worst(i)
	if wrong == nil {
		restore(i, newest)
		return
	}
	describe(i, wrong)
	if !troubled(i) {
		i.State, i.OpenedAt, i.ChangedAt = Pending, newest.GetAt(), newest.GetAt()
		maps.DeleteFunc(i.Told, func(_, told string) bool { return told == Refused })
	}
	if i.GetState() == Pending && (lasting(i.GetSync()) || lasting(i.GetHealth())) {
		i.State, i.ChangedAt = Open, newest.GetAt()
	}
}

// worst is the finding that counts; the attempt's tells more. Nil: all is well.
func worst(i *eventsv1.Incident) *eventsv1.Finding {
	for _, f := range []*eventsv1.Finding{i.GetSync(), i.GetHealth()} {
		if f.GetWrong() {
			return f
		}
	}
	return nil
}

func lasting(f *eventsv1.Finding) bool { return f.GetWrong() && f.GetLasting() }

// describe keeps the repo and the attempt of earlier facts where health, which
// does not know them, is what is wrong.
func describe(i *eventsv1.Incident, f *eventsv1.Finding) {
	i.Reason, i.Message, i.Stage = f.GetReason(), f.GetMessage(), f.GetStage()
	origin(i, f)
}

func restore(i *eventsv1.Incident, newest *eventsv1.Finding) {
	if troubled(i) {
		i.State, i.ChangedAt, i.Message = Recovered, newest.GetAt(), ""
		origin(i, newest)
	}
}

// origin says where the present state comes from.
func origin(i *eventsv1.Incident, f *eventsv1.Finding) {
	i.Revision, i.Trace, i.Traceparent, i.Cause = f.GetRevision(), traceID(f.GetTraceparent()), f.GetTraceparent(), f.GetCause()
	if f.GetRepo() != "" {
		i.Repo = f.GetRepo()
	}
	if f.GetAttempt() > 0 {
		i.Attempt = f.GetAttempt()
	}
}
