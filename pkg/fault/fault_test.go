package fault

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestClassAndReasonAreFoundInAChain(t *testing.T) {
	plain := errors.New("boom")
	cases := map[string]struct {
		err    error
		class  Class
		wait   time.Duration
		reason Reason
		text   string
	}{
		"an error that nobody classified is worth another try": {err: plain, text: "boom"},
		"a refusal is permanent and names its place": {
			err:   Refuse(RenderFailed, Place{File: "a.yaml", Line: 3, Object: "Service a/b", Field: "spec.ports"}, "no"),
			class: Permanent, reason: RenderFailed, text: "a.yaml:3: Service a/b: spec.ports: no",
		},
		"wrapping keeps both": {
			err: fmt.Errorf("sync: %w", After(FetchFailed, time.Minute, "busy")), class: RetryAfter, wait: time.Minute, reason: FetchFailed, text: "sync: busy",
		},
		"a reason is given where there is none": {err: As(ApplyFailed, plain), reason: ApplyFailed, text: "boom"},
		"and keeps the class below": {
			err: As(ApplyFailed, Refuse("", Place{}, "no")), class: Permanent, reason: ApplyFailed, text: "no",
		},
		"one that is there stays": {err: As(ApplyFailed, Retry(FetchFailed, "away")), reason: FetchFailed, text: "away"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			class, wait := ClassOf(c.err)
			if class != c.class || wait != c.wait || ReasonOf(c.err) != c.reason || c.err.Error() != c.text {
				t.Errorf("%s, %s, %q, %q; want %s, %s, %q, %q", class, wait, ReasonOf(c.err), c.err, c.class, c.wait, c.reason, c.text)
			}
		})
	}
	if As(ApplyFailed, nil) != nil || ReasonOf(nil) != "" {
		t.Error("nothing became an error")
	}
}
