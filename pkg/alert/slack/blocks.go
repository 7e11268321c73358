package slack

import (
	"strings"
	"time"
	"unicode/utf16"

	"github.com/plumb-gitops/plumb/pkg/alert"
)

// Limits of Block Kit in characters (docs.slack.dev, reference of the header and
// section blocks and of text objects). They are counted as UTF-16 units, of
// which there are never fewer than characters.
const (
	maxHeader = 150
	maxText   = 3000
	maxField  = 2000
)

// payload is what an incoming webhook takes. Text is what notifications show.
type payload struct {
	Text   string  `json:"text"`
	Blocks []block `json:"blocks"`
}

type block struct {
	Type     string   `json:"type"`
	Text     *object  `json:"text,omitempty"`
	Fields   []object `json:"fields,omitempty"`
	Elements []object `json:"elements,omitempty"`
}

// object is a text object; verbatim keeps Slack from making links and mentions
// of what only looks like them.
type object struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"`
	Emoji    *bool  `json:"emoji,omitempty"`
}

func compose(m alert.Message) payload {
	title := m.Title()
	p := payload{Text: code(title, maxText), Blocks: []block{
		{Type: "header", Text: plain(sign(m.State)+title, maxHeader)},
		{Type: "section", Fields: fields(m)},
	}}
	if m.Text != "" {
		p.Blocks = append(p.Blocks, block{Type: "section", Text: markdown("```\n" + code(m.Text, maxText-8) + "\n```")})
	}
	if m.Advice != "" {
		p.Blocks = append(p.Blocks, block{Type: "section", Text: markdown("*What to do*\n" + escape(m.Advice, maxText-20))})
	}
	p.Blocks = append(p.Blocks, block{Type: "context", Elements: footer(m)})
	return p
}

// sign can be told apart at a glance, also where colours cannot.
func sign(state string) string {
	if state == alert.Recovered {
		return "✅ "
	}
	return "🔴 "
}

// fields are pairs of a label and a value; those without value are left out.
func fields(m alert.Message) []object {
	var all []object
	for _, f := range []struct{ label, value string }{
		{"Application", quoted(m.Namespace + "/" + m.Name)},
		{"Cluster", quoted(m.Cluster)},
		{"Revision", revision(m)},
		{"Stage", quoted(m.Stage)},
		{"Reason", quoted(string(m.Reason))},
	} {
		if f.value != "" {
			all = append(all, *markdown("*" + f.label + "*\n" + f.value))
		}
	}
	return all
}

// revision is the commit, as a link where it has a page. The link was built
// from its parts and is escaped like any text; a bar would end it.
func revision(m alert.Message) string {
	short := m.Revision[:min(len(m.Revision), 8)]
	target := escape(m.CommitURL, maxField)
	if !strings.HasPrefix(target, "https://") || strings.ContainsAny(target, "|\n ") || units(target) > maxField-100 {
		return quoted(strings.ToValidUTF8(short, ""))
	}
	return "<" + target + "|" + escape(short, 8) + ">"
}

// footer is what only some need.
func footer(m alert.Message) []object {
	lasted := "since " + m.Since.UTC().Format(time.RFC3339)
	if m.State == alert.Recovered {
		lasted = "after " + m.At.Sub(m.Since).Round(time.Second).String()
	}
	elements := []object{*plain(lasted, maxField)}
	if m.Trace != "" {
		elements = append(elements, *markdown("trace " + quoted(m.Trace)))
	}
	return elements
}

func plain(s string, limit int) *object {
	no := false
	return &object{Type: "plain_text", Text: escape(s, limit), Emoji: &no}
}

func markdown(s string) *object { return &object{Type: "mrkdwn", Text: s, Verbatim: true} }

// quoted is text from outside in a line; nothing in code is interpreted.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "`" + code(s, maxField/2) + "`"
}

// code is text that cannot end the code it stands in.
func code(s string, limit int) string {
	return escape(strings.ReplaceAll(s, "`", "'"), limit)
}

var entities = map[rune]string{'&': "&amp;", '<': "&lt;", '>': "&gt;"}

// escape replaces the three control characters of Slack's text objects
// (docs.slack.dev, "Formatting message text") and cuts what is too long, never
// within an entity.
func escape(s string, limit int) string {
	var out strings.Builder
	room := limit - 1 // for the sign that something is missing
	whole := 0
	for _, r := range s {
		one := string(r)
		if entity, special := entities[r]; special {
			one = entity
		}
		size := units(one)
		if room -= size; room >= 0 {
			whole = out.Len() + len(one)
		}
		if room < -1 {
			return out.String()[:whole] + "…"
		}
		out.WriteString(one)
	}
	return out.String()
}

func units(s string) int { return len(utf16.Encode([]rune(s))) }
