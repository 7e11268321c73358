package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/object"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// contextLines is how many equal lines are shown around a change within a long value.
const contextLines = 3

// Colours of a terminal (ECMA-48, select graphic rendition).
const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	cyan  = "\x1b[36m"
	plain = "\x1b[0m"
)

// paper writes lines, of which the first character says what they are.
type paper struct {
	bytes.Buffer
	coloured bool
}

func (p *paper) line(colour, text string) {
	text = cut(printable(text))
	if p.coloured && colour != "" {
		text = colour + text + plain
	}
	p.WriteString(text + "\n")
}

// maxLine is the longest line in bytes.
const maxLine = 2000

func cut(line string) string {
	if len(line) <= maxLine {
		return line
	}
	return strings.ToValidUTF8(line[:maxLine], "") + "…"
}

// writeDiff writes an answer for people.
func writeDiff(w io.Writer, key app.Key, answer *eventsv1.AnswerDiff, coloured bool) error {
	p := &paper{coloured: coloured}
	for _, o := range answer.GetObjects() {
		p.object(o)
	}
	p.summary(key, answer)
	_, err := w.Write(p.Bytes())
	return err
}

func (p *paper) object(o *eventsv1.DiffObject) {
	p.line(bold, fmt.Sprintf("%s %s: %s", verb(o), human(o.GetId()), cell(o.GetWhy())))
	for _, f := range o.GetFields() {
		if f.GetPath() != "" {
			p.line(cyan, "@@ "+cell(f.GetPath())+" @@")
		}
		before, after := readable(f.GetBefore()), readable(f.GetAfter())
		if slices.Equal(before, after) && f.GetBefore() != f.GetAfter() { // a text that looks like a number, and that number
			before, after = []string{f.GetBefore()}, []string{f.GetAfter()}
		}
		p.change(before, after)
	}
	if o.GetCut() > 0 {
		p.line(cyan, fmt.Sprintf("@@ %d of these values are cut, they are too large @@", o.GetCut()))
	}
	if o.GetError() != "" {
		p.line(red, "! "+cell(o.GetError()))
	}
	p.WriteString("\n")
}

// verbs are the actions as people say them.
var verbs = map[string]string{"prune": "delete", "forget": "let go", "leave": "leave as it is", "contest": "cannot take", "hold": "cannot apply"}

func verb(o *eventsv1.DiffObject) string {
	switch {
	case o.GetHook() == "":
		return or(verbs[o.GetAction()], o.GetAction())
	case o.GetAction() == "prune":
		return "delete hook"
	}
	return "run " + o.GetHook() + " hook"
}

// human is an object id as in Deployment live/web.
func human(id string) string {
	parsed, err := object.ParseID(id)
	if err != nil {
		return cell(id)
	}
	return cell(parsed.Human())
}

// change shows two values by lines.
func (p *paper) change(before, after []string) {
	m := difflib.NewMatcher(before, after)
	for i, group := range m.GetGroupedOpCodes(contextLines) {
		if i > 0 {
			p.line("", "  …")
		}
		for _, op := range group {
			if op.Tag == 'e' {
				p.lines("", "  ", before[op.I1:op.I2])
				continue
			}
			p.lines(red, "- ", before[op.I1:op.I2])
			p.lines(green, "+ ", after[op.J1:op.J2])
		}
	}
	if slices.Equal(before, after) { // redacted on both sides, and not the same
		p.lines(red, "- ", before)
		p.lines(green, "+ ", after)
	}
}

func (p *paper) lines(colour, mark string, lines []string) {
	for _, l := range lines {
		p.line(colour, mark+l)
	}
}

// readable are the lines of a JSON value: the text of a string, YAML of anything else.
func readable(encoded string) []string {
	if encoded == "" {
		return nil
	}
	text := encoded
	var s string
	if json.Unmarshal([]byte(encoded), &s) == nil {
		text = s
		if s == "" || s != strings.TrimRight(s, " ") {
			text = encoded
		}
	} else if y, err := yaml.JSONToYAML([]byte(encoded)); err == nil {
		text = string(y)
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// tally counts what an answer says.
type tally struct {
	changes, refused int
	words            []string // "2 to update", in order
}

// counted are the actions that change the cluster, or would fail to.
var counted = []struct{ action, text string }{
	{"create", "to create"}, {"update", "to update"}, {"adopt", "to adopt"}, {"replace", "to replace"},
	{"prune", "to delete"}, {"release", "to hand over"}, {"hold", "that cannot be applied"}, {"contest", "that others own"},
}

func tallyOf(answer *eventsv1.AnswerDiff) tally {
	var t tally
	count := map[string]int{}
	for _, o := range answer.GetObjects() {
		if o.GetError() != "" {
			t.refused++
		}
		if o.GetHook() != "" && o.GetAction() != "prune" {
			count["hook"]++
			continue
		}
		count[o.GetAction()]++
	}
	for _, c := range append(counted, struct{ action, text string }{"hook", "to run as hooks"}) {
		if n := count[c.action]; n > 0 {
			t.changes += n
			t.words = append(t.words, fmt.Sprintf("%d %s", n, c.text))
		}
	}
	return t
}

func (p *paper) summary(key app.Key, answer *eventsv1.AnswerDiff) {
	s := answer.GetSummary()
	at := "at " + short(s.GetRevision())
	if applied := s.GetApplied(); applied != "" && applied != s.GetRevision() {
		at += ", applied is " + short(applied)
	}
	t := tallyOf(answer)
	if len(t.words) == 0 {
		p.line(bold, fmt.Sprintf("%s %s: a sync would change nothing", key, at))
		return
	}
	p.line(bold, fmt.Sprintf("%s %s: %s", key, at, strings.Join(t.words, ", ")))
	if s.GetBlocked() != "" {
		p.line(red, fmt.Sprintf("blocked: nothing would be changed, since this %s", cell(s.GetBlocked())))
		p.line("", fmt.Sprintf("if that is meant: plumb confirm %s %s", key, cell(s.GetDigest())))
	}
}

// fullRevision says whether text is a commit SHA or the digest of an artifact.
func fullRevision(text string) bool {
	hex := strings.TrimPrefix(text, "sha256:")
	want := 40
	if hex != text {
		want = 64
	}
	return len(hex) == want && strings.Trim(hex, "0123456789abcdef") == ""
}
