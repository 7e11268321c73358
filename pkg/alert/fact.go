package alert

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Fact is what an event says about how an Application does.
type Fact struct {
	Cluster, Namespace, Name string
	side                     side
	finding                  *eventsv1.Finding
}

// side is what of an Application a fact is about.
type side int

const (
	ofSync   side = iota // how the newest attempt ended; success includes health
	ofHealth             // health alone
)

// Incident is the id of the Application's incident.
func (f Fact) Incident() string { return f.Cluster + "/" + f.Namespace + "/" + f.Name }

// Read takes the fact out of an event; false when it says nothing about success
// or failure. A superseded attempt is neither. Drift is neither: it is healed,
// and a heal that fails is an attempt that failed, or the policy left it alone.
func Read(e event.Event) (Fact, bool) {
	var f Fact
	var ok bool
	switch d := e.Data.(type) {
	case *eventsv1.SyncFinished:
		f = Fact{Cluster: d.GetCluster(), Namespace: d.GetNamespace(), Name: d.GetName(), side: ofSync}
		f.finding, ok = attemptFinding(d)
	case *eventsv1.HealthChanged:
		f = Fact{Cluster: d.GetCluster(), Namespace: d.GetNamespace(), Name: d.GetName(), side: ofHealth}
		f.finding, ok = healthFinding(d)
	}
	if !ok || f.Cluster == "" || f.Namespace == "" || f.Name == "" {
		return Fact{}, false
	}
	f.finding.Sequence, f.finding.At = e.Sequence, timestamppb.New(e.Time)
	f.finding.Traceparent, f.finding.Cause = e.Trace, e.ID
	return f, true
}

// attemptFinding: an error that was not classed permanent is repeated, and may
// pass; one that is repeated from a status has no class.
func attemptFinding(d *eventsv1.SyncFinished) (*eventsv1.Finding, bool) {
	found := &eventsv1.Finding{Revision: d.GetRevision(), Repo: d.GetRepo(), Attempt: d.GetAttempt()}
	reason := fault.Reason(d.GetErrorReason())
	switch d.GetResult() {
	case "succeeded":
		return found, true
	case "failed":
		if reason == fault.Suspended || reason == fault.WindowClosed {
			return nil, false // held back, as somebody wanted
		}
		if reason == "" {
			reason = fault.ApplyFailed
		}
		found.Wrong, found.Lasting = true, d.GetErrorClass() == fault.Permanent.String()
		found.Reason, found.Message, found.Stage = string(reason), text(d.GetMessage(), maxText), stage(reason, d.GetStages())
		return found, true
	}
	return nil, false
}

// healthFinding leaves out what is only on its way.
func healthFinding(d *eventsv1.HealthChanged) (*eventsv1.Finding, bool) {
	found := &eventsv1.Finding{Revision: d.GetRevision()}
	switch d.GetTo() {
	case "Healthy":
		return found, true
	case "Degraded", "Missing":
		found.Wrong, found.Lasting = true, true
		found.Reason, found.Stage = string(fault.HealthFailed), "health"
		found.Message = text(strings.Trim(d.GetWorstObject()+": "+d.GetMessage(), ": "), maxText)
		return found, true
	}
	return nil, false
}

// stage is the last one that the attempt came to. Waits for health end outside
// of it, and facts repeated from a status have none: then the reason tells.
func stage(reason fault.Reason, stages []*eventsv1.Stage) string {
	switch reason {
	case fault.HealthFailed, fault.HealthTimeout:
		return "health"
	}
	if n := len(stages); n > 0 {
		return stages[n-1].GetName()
	}
	switch reason {
	case fault.SourceRefused, fault.FetchFailed:
		return "fetch"
	case fault.RenderFailed:
		return "render"
	case fault.PruneBlocked:
		return "prune"
	case fault.DependencyNotReady:
		return "queue"
	}
	return "apply"
}

// traceID is the trace of a W3C traceparent (Trace Context, section 3.2).
func traceID(traceparent string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 {
		return ""
	}
	return parts[1]
}

func timeOf(f *eventsv1.Finding) time.Time { return f.GetAt().AsTime() }
