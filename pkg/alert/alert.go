// Package alert says what people are told about Applications, and when: facts of
// the bus become incidents, one per Application, and incidents become messages.
//
// It is pure: values in, values out, no clock and no network. It imports event,
// fault, config and the generated messages. Its sub-packages are the channels:
// slack and jsonhook, both over endpoint. Facts that say nothing about success
// or failure are not facts here; nothing in this package fails.
package alert

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// States of an incident.
const (
	Pending   = "pending" // failed in a way that may pass by itself
	Open      = "open"
	Recovered = "recovered"
)

// What a channel was last told, beside Recovered.
const (
	Opened  = "opened"
	Refused = "refused" // it took the message for a bad one
	Unsure  = "unsure"  // a message is on its way, or nobody knows what became of it
)

// Message is one thing that people are told. Its texts come from outside: they
// are bounded, valid UTF-8 and free of control characters, and only Text has
// more than one line. Escaping them for a format is the channel's work.
type Message struct {
	Incident                 string // names the Application: <cluster>/<namespace>/<name>
	State                    string // Opened or Recovered
	Cluster, Namespace, Name string
	Reason                   fault.Reason
	Stage                    string // that failed: fetch, render, plan, apply, prune, health or status
	Text                     string // what is wrong; empty when all is well again
	Advice                   string // what to do about it
	Revision                 string // full SHA that failed, or with which all is well again
	Repo                     string // canonical name, without credentials
	CommitURL                string // https, or empty
	Attempt                  int64
	Trace                    string    // 32 hex digits, or empty
	Since                    time.Time // when it went wrong
	At                       time.Time // when the incident came into this state
}

// ID names this message: the same whenever it is sent again.
func (m Message) ID() string {
	return fmt.Sprintf("%s/%d/%s", m.Incident, m.Since.UnixMilli(), m.State)
}

// Title is one line for people.
func (m Message) Title() string {
	if m.State == Recovered {
		return fmt.Sprintf("%s/%s on %s: recovered", m.Namespace, m.Name, m.Cluster)
	}
	return fmt.Sprintf("%s/%s on %s: %s", m.Namespace, m.Name, m.Cluster, m.Reason)
}

// Limits of a message's texts in characters.
const (
	maxName = 253 // as Kubernetes has it
	maxLine = 200
	maxText = 2000
)

// MessageOf is what to tell about an incident; state is what Due said.
func MessageOf(i *eventsv1.Incident, state string) Message {
	m := Message{
		Incident: line(i.GetId(), 3*maxName), State: state,
		Cluster: line(i.GetCluster(), maxName), Namespace: line(i.GetNamespace(), maxName), Name: line(i.GetName(), maxName),
		Reason: fault.Reason(line(i.GetReason(), maxLine)), Stage: line(i.GetStage(), maxLine), Text: text(i.GetMessage(), maxText),
		Revision: line(i.GetRevision(), maxLine), Repo: repoName(i.GetRepo()), CommitURL: commitURL(i.GetRepo(), i.GetRevision()),
		Attempt: i.GetAttempt(), Trace: line(i.GetTrace(), maxLine),
		Since: i.GetOpenedAt().AsTime(), At: i.GetChangedAt().AsTime(),
	}
	if state == Opened {
		m.Advice = advice(m.Reason)
	}
	return m
}

// Due is what a channel has to be told now: Opened, Recovered or nothing. One
// that no route leads to any more still hears the end of what it was told. Where
// it is not sure what it was told, it hears what holds.
func Due(i *eventsv1.Incident, channel string, routed bool) string {
	told := i.GetTold()[channel]
	switch {
	case i.GetState() == Open && routed && told != Opened && told != Refused:
		return Opened
	case i.GetState() == Recovered && (told == Opened || told == Unsure):
		return Recovered
	}
	return ""
}

// Ripen opens an incident that has been pending for as long as patience.
func Ripen(old *eventsv1.Incident, now time.Time, patience time.Duration) (next *eventsv1.Incident, changed bool) {
	due := old.GetOpenedAt().AsTime().Add(patience)
	if old.GetState() != Pending || now.Before(due) {
		return old, false
	}
	next = proto.CloneOf(old)
	next.State, next.ChangedAt = Open, timestamppb.New(due)
	return next, true
}

// Review closes an incident that the last known state of its Application says
// is over: that state is newer than what was wrong, and Ready. So the loss of
// the fact that says it does no harm.
func Review(old *eventsv1.Incident, s *eventsv1.ApplicationState) (next *eventsv1.Incident, changed bool) {
	if !troubled(old) || s.GetReady() != "True" || !after(s, old.GetSync()) || !after(s, old.GetHealth()) {
		return old, false
	}
	next = proto.CloneOf(old)
	end(next, s.GetUpdatedAt().AsTime())
	next.Revision, next.Trace = s.GetRevision(), s.GetTrace()
	return next, true
}

// after says whether a state was written after a finding that is wrong.
func after(s *eventsv1.ApplicationState, f *eventsv1.Finding) bool {
	return !f.GetWrong() || s.GetUpdatedAt().AsTime().After(f.GetAt().AsTime()) &&
		(f.GetAttempt() == 0 || s.GetAttempt() > f.GetAttempt())
}

// Gone closes the incident of an Application that is not there any more.
func Gone(old *eventsv1.Incident, now time.Time) (next *eventsv1.Incident, changed bool) {
	if !troubled(old) {
		return old, false
	}
	next = proto.CloneOf(old)
	end(next, now)
	next.Message = "the Application is not there any more"
	return next, true
}

func troubled(i *eventsv1.Incident) bool { return i.GetState() == Open || i.GetState() == Pending }

// end makes all well at a time that no fact brought.
func end(i *eventsv1.Incident, at time.Time) {
	for _, f := range []*eventsv1.Finding{i.GetSync(), i.GetHealth()} {
		if f.GetWrong() {
			f.Wrong, f.At = false, timestamppb.New(at)
		}
	}
	i.State, i.ChangedAt, i.Message = Recovered, timestamppb.New(at), ""
	i.Traceparent, i.Cause = "", ""
}
