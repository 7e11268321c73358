package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// Suspended says whether an Application is suspended now: spec.suspend is true,
// and the end that spec.suspension names has not come.
func Suspended(a *v1alpha1.Application, now time.Time) bool {
	if !a.Spec.Suspend {
		return false
	}
	s := a.Spec.Suspension
	return s == nil || s.Until == nil || now.Before(s.Until.Time)
}

// Suspension is a sentence on who suspended an Application, why and until when.
func Suspension(a *v1alpha1.Application) string {
	var text strings.Builder
	text.WriteString("suspended")
	s := a.Spec.Suspension
	if s != nil && s.By != "" {
		fmt.Fprintf(&text, " by %s", s.By)
	}
	if s != nil && s.Until != nil {
		fmt.Fprintf(&text, " until %s", s.Until.UTC().Format(time.RFC3339))
	} else {
		text.WriteString(" until spec.suspend is false")
	}
	if s != nil && s.Reason != "" {
		fmt.Fprintf(&text, ": %s", s.Reason)
	}
	return text.String()
}
