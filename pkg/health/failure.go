package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Failure is what keeps a Pod from being ready, in its own words.
type Failure struct {
	Container string // empty: it is the Pod as a whole
	Reason    string // as CrashLoopBackOff, with its message
	Restarts  int64
	ExitCode  int64  // of the last end of the container
	Ended     string // why that was, as OOMKilled; empty: it has not ended yet
	Message   string // what the container left as its last words; it may hold secrets
	// Logs says whether the container wrote a log, Previous whether it is the one
	// that ran before the present.
	Logs, Previous bool

	rank int // how much it says, the most at 0
}

// String is one line for people, without Message.
func (f Failure) String() string {
	var parts []string
	if f.Container != "" {
		parts = append(parts, "container "+f.Container+": "+f.Reason)
	} else {
		parts = append(parts, f.Reason)
	}
	if f.Restarts > 0 {
		parts = append(parts, fmt.Sprintf("restarts: %d", f.Restarts))
	}
	if f.Ended != "" {
		parts = append(parts, fmt.Sprintf("exit code %d (%s)", f.ExitCode, f.Ended))
	}
	return strings.Join(parts, ", ")
}

// WorstPod returns the Pod that says most about why it is not ready, and what; false
// when all are, or say nothing. Of equals the first decides.
func WorstPod(pods []unstructured.Unstructured) (worst *unstructured.Unstructured, why Failure, found bool) {
	for i := range pods {
		if f, is := failureOf(&pods[i]); is && (!found || f.rank < why.rank) {
			worst, why, found = &pods[i], f, true
		}
	}
	return worst, why, found
}

// Ranks of failures: what ended or cannot begin says more than what only waits.
const (
	broken = iota
	unplaced
	unready
	starting
)

func failureOf(pod *unstructured.Unstructured) (Failure, bool) {
	var found []Failure
	for _, list := range []string{"initContainerStatuses", "containerStatuses"} {
		for _, c := range items(pod, "status", list) {
			if f, is := ofContainer(c, list == "initContainerStatuses"); is {
				found = append(found, f)
			}
		}
	}
	scheduled := conditionOf(pod, "PodScheduled")
	switch phase := text(pod, "status", "phase"); {
	case phase == "Failed" && text(pod, "status", "reason") != "": // evicted, over its deadline
		found = append(found, Failure{Reason: join(text(pod, "status", "reason"), text(pod, "status", "message"))})
	case phase == "Pending" && scheduled.reason == "Unschedulable":
		found = append(found, Failure{Reason: "cannot be scheduled: " + scheduled.message, rank: unplaced})
	}
	if len(found) == 0 {
		return Failure{}, false
	}
	return slices.MinFunc(found, func(a, b Failure) int { return cmp.Compare(a.rank, b.rank) }), true
}

// ofContainer reads one containerStatus.
func ofContainer(c map[string]any, init bool) (Failure, bool) {
	u := &unstructured.Unstructured{Object: c}
	f := Failure{Container: text(u, "name"), Restarts: number(u, 0, "restartCount")}
	waiting, ended := text(u, "state", "waiting", "reason"), "state"
	if text(u, "state", "terminated", "reason") == "" {
		ended = "lastState"
	}
	if f.Ended = text(u, ended, "terminated", "reason"); f.Ended != "" {
		f.ExitCode, f.Message = number(u, 0, ended, "terminated", "exitCode"), text(u, ended, "terminated", "message")
	}
	f.Previous = ended == "lastState" && f.Ended != ""
	ready, _, _ := unstructured.NestedBool(c, "ready")
	_, running, _ := unstructured.NestedMap(c, "state", "running")
	f.Logs = running || f.Ended != ""
	switch {
	case ready || ended == "state" && f.ExitCode == 0:
		return Failure{}, false
	case waiting == "CrashLoopBackOff": // its message is only how long it waits, and names
		f.Reason = waiting
	case slices.Contains(stuck, waiting):
		f.Reason = join(waiting, text(u, "state", "waiting", "message"))
	case ended == "state":
		f.Reason = "ended"
	case running && init:
		f.Reason, f.rank = "still runs, and has to end before the others start", unready
	case running:
		f.Reason, f.rank = "runs and is not ready", unready
	default:
		f.Reason, f.rank = join(cmp.Or(waiting, "not started"), text(u, "state", "waiting", "message")), starting
	}
	return f, true
}
