// Package health judges live objects: one object by its own state, many by the
// worst of them.
//
// The rules are those of an Application (custom.go), of the kinds that are known
// here (rules.go), and of kstatus, in this order. It may import object, fault,
// app/v1alpha1, apimachinery, kstatus and cel-go; it asks no cluster and no clock.
// Only Compile fails, permanently; what cannot be judged is Unknown and says why.
package health

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/object"
)

// Status is the health of an object or of many.
type Status int

// From the safest zero value up, in no order; Worst holds the order.
const (
	Unknown     Status = iota // cannot be judged, or has not been seen yet
	Healthy                   // does what its spec says
	Progressing               // on the way there
	Missing                   // not in the cluster
	Degraded                  // will not get there by waiting
)

func (s Status) String() string {
	return [...]string{"Unknown", "Healthy", "Progressing", "Missing", "Degraded"}[s]
}

// severity orders statuses from good to bad.
func (s Status) severity() int {
	return slices.Index([]Status{Healthy, Progressing, Unknown, Missing, Degraded}, s)
}

// Report is the health of one object.
type Report struct {
	Status  Status
	Message string // why, for people; may be empty when Healthy
}

// Of judges a live object by its content alone; nil is Missing.
func Of(u *unstructured.Unstructured) Report { return Rules{}.Of(u) }

// known judges by what is known of the object's kind, else by its conditions.
func known(u *unstructured.Unstructured) Report {
	for _, rule := range rules {
		if rule.group == u.GroupVersionKind().Group && rule.kind == u.GetKind() {
			if report, decided := rule.judge(u); decided {
				return report
			}
		}
	}
	return byKstatus(u)
}

func byKstatus(u *unstructured.Unstructured) (report Report) {
	// kstatus asserts the types of what it reads; a custom resource may hold anything there.
	defer func() {
		if r := recover(); r != nil {
			report = Report{Status: Unknown, Message: fmt.Sprintf("status cannot be read: %v", r)}
		}
	}()
	result, err := status.Compute(u)
	if err != nil {
		return Report{Status: Unknown, Message: "status cannot be read: " + err.Error()}
	}
	switch result.Status {
	case status.CurrentStatus:
		return Report{Status: Healthy, Message: result.Message}
	case status.InProgressStatus, status.TerminatingStatus:
		return Report{Status: Progressing, Message: result.Message}
	case status.FailedStatus:
		return Report{Status: Degraded, Message: result.Message}
	case status.NotFoundStatus:
		return Report{Status: Missing, Message: result.Message}
	}
	return Report{Status: Unknown, Message: result.Message}
}

// Summary is the health of many objects.
type Summary struct {
	Status  Status
	Object  object.ID // the one that decides; zero when all are healthy
	Message string

	Total, Healthy, Progressing, Degraded int
}

// Describe is one line for people.
func (s Summary) Describe() string {
	if s.Object == (object.ID{}) {
		return fmt.Sprintf("%d of %d objects healthy", s.Healthy, s.Total)
	}
	line := fmt.Sprintf("%s: %s", s.Object.Human(), s.Status)
	if s.Message != "" {
		line += ", " + s.Message
	}
	return fmt.Sprintf("%s (%d of %d objects healthy)", line, s.Healthy, s.Total)
}

// Worst sums reports up. From good to bad: Healthy, Progressing, Unknown,
// Missing, Degraded; of equals the first by identity decides. Nothing is Unknown.
func Worst(reports map[object.ID]Report) Summary {
	s := Summary{Total: len(reports)}
	worst := -1
	for _, id := range sorted(reports) {
		r := reports[id]
		s.count(r.Status)
		if r.Status.severity() <= worst {
			continue
		}
		worst = r.Status.severity()
		s.Status, s.Object, s.Message = r.Status, id, r.Message
	}
	if s.Status == Healthy {
		s.Object, s.Message = object.ID{}, ""
	}
	return s
}

func (s *Summary) count(status Status) {
	switch status {
	case Healthy:
		s.Healthy++
	case Progressing:
		s.Progressing++
	case Degraded:
		s.Degraded++
	}
}

func sorted(reports map[object.ID]Report) []object.ID {
	ids := make([]object.ID, 0, len(reports))
	for id := range reports {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b object.ID) int { return cmp.Compare(a.String(), b.String()) })
	return ids
}
