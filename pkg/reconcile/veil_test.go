package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

func TestValuesOfSecretVariablesAreInNoDifference(t *testing.T) {
	v := veil{secrets: []string{"canary", "ab", "", "line\ncanary two"}}
	for sentence, c := range map[string]struct{ before, after, wantBefore, wantAfter string }{
		"what holds none stays":                {`"a"`, `{"n":12345678901234567890}`, `"a"`, `{"n":12345678901234567890}`},
		"a new value, and that of yesterday":   {`"old"`, `"canary"`, `"(redacted)"`, `"(redacted)"`},
		"a value that goes":                    {`"canary"`, ``, `"(redacted)"`, ``},
		"within a longer one":                  {`"db://old@x"`, `"db://canary@x"`, `"(redacted)"`, `"(redacted)"`},
		"within an object, beside what stays":  {``, `{"a":["x","a canary"],"n":12345678901234567890}`, ``, `{"a":["x","(redacted)"],"n":12345678901234567890}`},
		"a list, whose other side has none":    {`["x"]`, `["canary"]`, `["x"]`, `["(redacted)"]`},
		"a short one, as a whole":              {`"ab"`, `"xaby"`, `"(redacted)"`, `"(redacted)"`},
		"a short one is a word in another":     {`"xaby"`, `"cab"`, `"xaby"`, `"cab"`},
		"one of several lines":                 {``, `"begin line\ncanary two end"`, ``, `"(redacted)"`},
		"one in a text that is encoded itself": {``, `"{\"p\":\"canary\"}"`, ``, `"(redacted)"`},
	} {
		t.Run(sentence, func(t *testing.T) {
			d := plan.ObjectDiff{Fields: []plan.FieldChange{{Path: "p", Before: c.before, After: c.after}}}
			v.hide(&d)
			want := []plan.FieldChange{{Path: "p", Before: c.wantBefore, After: c.wantAfter}}
			if diff := cmp.Diff(want, d.Fields); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestARefusalTellsNoSecretVariable(t *testing.T) {
	d := plan.ObjectDiff{Err: fault.Refuse(fault.ApplyFailed, fault.Place{File: "x.yaml"}, `Invalid value: "canary": must be a number`)}
	veil{secrets: []string{"canary"}}.hide(&d)
	if class, _ := fault.ClassOf(d.Err); strings.Contains(d.Err.Error(), "canary") || class != fault.Permanent || fault.ReasonOf(d.Err) != fault.ApplyFailed {
		t.Errorf("%v", d.Err)
	}
	same := errors.New("something else")
	d.Err = same
	veil{secrets: []string{"canary"}}.hide(&d)
	if d.Err != same {
		t.Errorf("%v", d.Err)
	}
}

func TestOutcomesTellNoSecret(t *testing.T) {
	drift := &plan.Drift{Fields: []plan.FieldChange{{Path: "p", Before: `"db://canary@x"`, After: `"by hand"`}}}
	all := []apply.Outcome{{
		Action: plan.Action{Drift: drift},
		Err:    fault.After(fault.ApplyFailed, time.Second, "a policy says: it holds Y2FuYXJ5, which is canary"),
	}, {}}
	veil{secrets: []string{"canary"}}.outcomes(all)
	want := []plan.FieldChange{{Path: "p", Before: redacted, After: redacted}}
	if diff := cmp.Diff(want, all[0].Action.Drift.Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if class, wait := fault.ClassOf(all[0].Err); class != fault.RetryAfter || wait != time.Second || !strings.Contains(all[0].Err.Error(), "it holds [value], which is [value]") {
		t.Errorf("error is %v (%s, %s)", all[0].Err, class, wait)
	}
	if drift.Fields[0].After != `"by hand"` || all[1].Err != nil {
		t.Error("the plan itself was changed")
	}
}

// A step's error is in the status, in a span and in the log: it is veiled at its source.
func TestAStepTellsNoSecret(t *testing.T) {
	s := queued(time.Time{}, time.Now)
	s.veil = veil{secrets: []string{"canary"}}
	err := s.stage(t.Context(), "plan", func(context.Context) error { return errors.New("got canary") })
	if err == nil || err.Error() != "got [value]" {
		t.Errorf("error is %v", err)
	}
	if err := s.stage(t.Context(), "apply", func(context.Context) error { return nil }); err != nil {
		t.Errorf("error is %v", err)
	}
}
