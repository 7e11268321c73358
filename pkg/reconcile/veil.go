package reconcile

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// veil keeps the values of secret variables out of differences: they may stand in
// objects of any kind, where object.Sensitive does not look.
type veil struct{ secrets []string }

// tellable is from how many bytes on a value is known within a longer one; shorter
// ones are words.
const tellable = 4

func (v veil) hide(d *plan.ObjectDiff) {
	if len(v.secrets) == 0 {
		return
	}
	for i := range d.Fields {
		f := &d.Fields[i]
		before, hitBefore := v.text(f.Before)
		after, hitAfter := v.text(f.After)
		if hitBefore || hitAfter { // the other side may be the value of yesterday
			f.Before, f.After = v.beside(before), v.beside(after)
		}
	}
	if d.Err != nil {
		d.Err = v.error(d.Err)
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
	text := manifest.Mask(err.Error(), v.secrets)
	if text == err.Error() {
		return err
	}
	class, after := fault.ClassOf(err)
	return &fault.Error{Class: class, Reason: fault.ReasonOf(err), After: after, Err: errors.New(text)}
}
