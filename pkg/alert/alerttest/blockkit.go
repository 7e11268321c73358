package alerttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// BlockKit checks a request as Slack's incoming webhooks do, by the limits in
// the reference of Block Kit (docs.slack.dev), and further: no text may mention
// anybody or lead anywhere but to an https page.
func BlockKit(r *http.Request, body []byte) error {
	if err := PostedJSON(r, body); err != nil {
		return err
	}
	var p message
	in := json.NewDecoder(bytes.NewReader(body))
	in.DisallowUnknownFields()
	if err := in.Decode(&p); err != nil {
		return err
	}
	if len(p.Blocks) == 0 || len(p.Blocks) > 50 {
		return fmt.Errorf("%d blocks, want 1 to 50", len(p.Blocks))
	}
	if err := marked(p.Text, 4000); err != nil {
		return fmt.Errorf("text: %w", err)
	}
	for i, b := range p.Blocks {
		if err := b.check(); err != nil {
			return fmt.Errorf("blocks[%d] %s: %w", i, b.Type, err)
		}
	}
	return nil
}

// PostedJSON checks what is true of every channel.
func PostedJSON(r *http.Request, body []byte) error {
	switch {
	case r.Method != http.MethodPost:
		return fmt.Errorf("method %s", r.Method)
	case r.Header.Get("Content-Type") != "application/json":
		return fmt.Errorf("content type %q", r.Header.Get("Content-Type"))
	case !utf8.Valid(body) || !json.Valid(body):
		return errors.New("not JSON in UTF-8")
	}
	return nil
}

type message struct {
	Text   string  `json:"text"`
	Blocks []block `json:"blocks"`
}

type block struct {
	Type     string `json:"type"`
	Text     *text  `json:"text"`
	Fields   []text `json:"fields"`
	Elements []text `json:"elements"`
}

type text struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji"`
	Verbatim *bool  `json:"verbatim"`
}

func (b block) check() error {
	switch b.Type {
	case "header":
		if b.Text == nil || b.Text.Type != "plain_text" || b.Fields != nil || b.Elements != nil {
			return errors.New("wants a plain_text and nothing else")
		}
		if strings.Contains(b.Text.Text, "\n") {
			return errors.New("has more than one line")
		}
		return b.Text.check(150)
	case "section":
		return b.section()
	case "context":
		return each(b.Elements, 10, 2000)
	case "divider":
		return nil
	}
	return errors.New("unknown type")
}

func (b block) section() error {
	if b.Text == nil && b.Fields == nil {
		return errors.New("has neither text nor fields")
	}
	if b.Fields != nil {
		if err := each(b.Fields, 10, 2000); err != nil {
			return err
		}
	}
	if b.Text != nil {
		return b.Text.check(3000)
	}
	return nil
}

func each(all []text, most, limit int) error {
	if len(all) == 0 || len(all) > most {
		return fmt.Errorf("%d texts, want 1 to %d", len(all), most)
	}
	for i, t := range all {
		if err := t.check(limit); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

func (t text) check(limit int) error {
	switch {
	case t.Type == "plain_text" && t.Verbatim == nil:
		return shown(t.Text, limit)
	case t.Type == "mrkdwn" && t.Emoji == nil:
		if t.Verbatim == nil || !*t.Verbatim {
			return errors.New("makes links and mentions of what looks like them")
		}
		return marked(t.Text, limit)
	}
	return fmt.Errorf("type %q with a field of the other", t.Type)
}

var (
	entity = regexp.MustCompile(`&(amp|lt|gt);`)
	link   = regexp.MustCompile(`<https://[^<>|\s]+\|[0-9a-f]{8}>`)
	code   = regexp.MustCompile("(?s)```[^`]*```|`[^`\n]*`")
)

// marked is text in which code, links and entities mean something. What is not
// of our own making stands in code; so no formatting is left outside but ours.
func marked(s string, limit int) error {
	if strings.Contains(code.ReplaceAllString(s, ""), "`") {
		return fmt.Errorf("a backtick that opens or closes no code in %.80q", s)
	}
	if err := shown(link.ReplaceAllString(s, "x"), limit); err != nil {
		return err
	}
	return fits(s, limit)
}

func shown(s string, limit int) error {
	if strings.ContainsAny(entity.ReplaceAllString(s, ""), "<>&") {
		return fmt.Errorf("a control character of Slack in %.80q", s)
	}
	for _, r := range s {
		if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return fmt.Errorf("the character %U", r)
		}
	}
	return fits(s, limit)
}

func fits(s string, limit int) error {
	if n := len(utf16.Encode([]rune(s))); n == 0 || n > limit {
		return fmt.Errorf("%d characters, want 1 to %d", n, limit)
	}
	return nil
}
