package reconcile

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// veil keeps the values of secret variables and of encrypted files out of what an
// attempt tells: they may stand in objects of any kind, where object.Sensitive does
// not look, and an API server repeats them in its refusals.
type veil struct{ secrets []string }

// tellable is from how many bytes on a value is known within a longer one; shorter
// ones are words.
const tellable = 4

func (v veil) hide(d *plan.ObjectDiff) {
	d.Fields, d.Err = v.fields(d.Fields), v.error(d.Err)
}

func (v veil) fields(fields []plan.FieldChange) []plan.FieldChange {
	if len(v.secrets) == 0 {
		return fields
	}
	fields = slices.Clone(fields)
	for i := range fields {
		f := &fields[i]
		before, hitBefore := v.text(f.Before)
		after, hitAfter := v.text(f.After)
		if hitBefore || hitAfter { // the other side may be the value of yesterday
			f.Before, f.After = v.beside(before), v.beside(after)
		}
	}
	return fields
}

// outcomes veils what became of objects: refusals, and the fields that drifted.
func (v veil) outcomes(all []apply.Outcome) {
	for i := range all {
		o := &all[i]
		o.Err = v.error(o.Err)
		if o.Action.Drift != nil {
			drift := *o.Action.Drift
			drift.Fields = v.fields(drift.Fields)
			o.Action.Drift = &drift
		}
	}
}

// beside redacts a whole value, unless it is an object or a list, where what is
// secret was found.
func (v veil) beside(encoded string) string {
	if encoded == "" || encoded[0] == '{' || encoded[0] == '[' {
		return encoded
	}
	return redacted
}

var redacted = `"` + object.Redacted + `"`

// text redacts the strings of a JSON value that hold a secret.
func (v veil) text(encoded string) (string, bool) {
	in := json.NewDecoder(strings.NewReader(encoded))
	in.UseNumber()
	var value any
	if encoded == "" || in.Decode(&value) != nil {
		return encoded, false
	}
	value, hit := v.value(value)
	if !hit {
		return encoded, false
	}
	out, err := json.Marshal(value)
	if err != nil {
		return redacted, true
	}
	return string(out), true
}

func (v veil) value(value any) (any, bool) {
	hit := false
	switch value := value.(type) {
	case string:
		if v.known(value) {
			return object.Redacted, true
		}
	case map[string]any:
		for key, below := range value {
			clean, found := v.value(below)
			value[key], hit = clean, hit || found
		}
	case []any:
		for i, below := range value {
			clean, found := v.value(below)
			value[i], hit = clean, hit || found
		}
	}
	return value, hit
}

func (v veil) known(text string) bool {
	for _, s := range v.secrets {
		if s != "" && (text == s || len(s) >= tellable && strings.Contains(text, s)) {
			return true
		}
	}
	return false
}

// error keeps the class of an error and masks its text.
func (v veil) error(err error) error {
	if err == nil || len(v.secrets) == 0 {
		return err
	}
	text := v.message(err.Error())
	if text == err.Error() {
		return err
	}
	class, after := fault.ClassOf(err)
	return &fault.Error{Class: class, Reason: fault.ReasonOf(err), After: after, Err: errors.New(text)}
}

// message masks a text. What is too short to be known within a word goes when it is
// quoted.
func (v veil) message(text string) string {
	if len(v.secrets) == 0 {
		return text
	}
	return manifest.Mask(text, v.secrets)
}
