package reconcile

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// errSuperseded ends an attempt in favour of a newer request.
var errSuperseded = errors.New("a newer request took over")

// errLeaseLost ends an attempt that may write nothing any more.
var errLeaseLost = errors.New("the lease on the Application is lost")

// outcome is how an attempt ended, before anything is done about it.
type outcome struct {
	result   v1alpha1.Result
	err      error // what failed; nil with succeeded and waiting
	revision string
	fetched  time.Time        // when the fetch began that found it
	inputs   *v1alpha1.Inputs // what was read; nil when the attempt did not get so far
	applied  bool             // every object of the render is in the cluster
	owned    inventory.Inventory
	unread   bool // the inventory in the status cannot be read; it is left as it is
	health   health.Summary
	note     string // what a person should know of a success
	held     *held  // a revision that waits while this was done; without a result all that there is
	deadline time.Time
	drifted  []string // objects that drifted and were left alone
	outcomes []apply.Outcome
	deferred bool   // deletions wait for another Application
	run      int64  // of hooks, which goes on while they do
	tidy     func() // deletes hooks once the outcome is stored; may be nil
	opened   opening
	// finishing says that only the wait for health ended here: what the attempt
	// itself found stands in the status already.
	finishing bool
}

// objects lists what became of each object that an attempt did something about,
// and how many did not fit.
func (o outcome) objects(limit int) (list []*eventsv1.ObjectAction, omitted int32) {
	for _, out := range o.outcomes {
		word := out.Word()
		switch {
		case word == "unchanged":
			continue
		case len(list) == limit:
			omitted++
			continue
		}
		list = append(list, &eventsv1.ObjectAction{Id: out.Action.ID.String(), Action: word, Message: told(out)})
	}
	return list, omitted
}

// maxResults is how many objects a status tells about.
const maxResults = 100

// results lists what became of each object that was not left as it was, failures
// first, and how many did not fit.
func (o outcome) results(limit int) (list []v1alpha1.ObjectResult, omitted int32) {
	for _, failures := range []bool{true, false} {
		for _, out := range o.outcomes {
			word := out.Word()
			switch {
			case word == "unchanged" || (word == "failed") != failures:
				continue
			case len(list) == limit:
				omitted++
				continue
			}
			list = append(list, v1alpha1.ObjectResult{ID: out.Action.ID.String(), Result: word, Message: told(out)})
		}
	}
	return list, omitted
}

// told is why an object came to its outcome.
func told(out apply.Outcome) string {
	if out.Err != nil {
		return bounded(out.Err.Error())
	}
	why := out.Action.Why
	for _, l := range out.Losers {
		why += fmt.Sprintf("; taken from %s: %s", l.Manager, strings.Join(l.Fields, ", "))
	}
	return bounded(why)
}

// failed is an outcome for an error; the superseding of an attempt is one too.
func failed(err error) outcome {
	if errors.Is(err, errSuperseded) {
		return outcome{result: v1alpha1.ResultSuperseded, err: err}
	}
	return outcome{result: v1alpha1.ResultFailed, err: err}
}

// reason is the Ready reason of the outcome.
func (o outcome) reason() fault.Reason {
	switch {
	case o.result == v1alpha1.ResultSucceeded:
		return fault.Succeeded
	case o.result == v1alpha1.ResultWaiting, o.result == v1alpha1.ResultSuperseded, o.result == v1alpha1.ResultRunning:
		return fault.Progressing
	}
	if reason := fault.ReasonOf(o.err); reason != "" {
		return reason
	}
	return fault.ApplyFailed
}

// message is the sentence of the Ready condition.
func (o outcome) message() string {
	switch {
	case o.err != nil:
		return bounded(o.err.Error())
	case o.result == v1alpha1.ResultWaiting:
		return bounded("applied; waiting for " + o.health.Describe())
	case o.note != "":
		return bounded(o.note)
	}
	return ""
}

// maxMessage keeps a status far below the size limits of the API server and of events.
const maxMessage = 1024

func bounded(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
}
