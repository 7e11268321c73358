package pipeline

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// needle is a value that must not stand in a haystack, in any form that a program
// may give it. Pieces of it, from so many bytes on, count as well.
type needle struct {
	name  string // of the canary
	forms []string
}

const pieces = 12

func needleOf(name, value string) needle {
	n := needle{name: name}
	for _, text := range append([]string{value}, core(value)...) {
		quoted, _ := json.Marshal(text)
		var unescaped strings.Builder
		e := json.NewEncoder(&unescaped)
		e.SetEscapeHTML(false)
		_ = e.Encode(text)
		n.forms = append(n.forms, text, string(quoted[1:len(quoted)-1]), strings.Trim(unescaped.String(), "\"\n"),
			url.QueryEscape(text), url.PathEscape(text), hex.EncodeToString([]byte(text)))
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			n.forms = append(n.forms, aligned(encoding, text)...)
		}
	}
	slices.Sort(n.forms)
	n.forms = slices.Compact(n.forms)
	return n
}

// core is the part of a value that no escaping changes: its longest run of letters,
// digits and dashes.
func core(value string) []string {
	runs := strings.FieldsFunc(value, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	return slices.DeleteFunc(runs, func(run string) bool { return len(run) < pieces })
}

// aligned are the parts of the Base64 of any text with the value in it that depend on
// the value alone: a byte of three may begin at each place.
func aligned(encoding *base64.Encoding, value string) (forms []string) {
	for shift := range 3 {
		encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + value))
		first := (8*shift + 5) / 6 // the first character of the value's bits alone
		last := (8 * (shift + len(value))) / 6
		forms = append(forms, encoded[first:last])
	}
	return forms
}

// found is the first form that stands in a haystack; empty: none does.
func (n needle) found(haystack string) string {
	for _, form := range n.forms {
		if strings.Contains(haystack, form) {
			return form
		}
	}
	return ""
}

func TestANeedleIsFoundInEveryForm(t *testing.T) {
	const value = `Kanarienvogel-0123/+<&>"é" end`
	n := needleOf("test", value)
	quoted, _ := json.Marshal(value)
	std := base64.StdEncoding.EncodeToString
	for name, haystack := range map[string]string{
		"as it is":            "before " + value + " after",
		"a part of it":        "user:Kanarienvogel-0123@host",
		"in JSON":             string(quoted),
		"in JSON in JSON":     strings.ReplaceAll(string(quoted), `\`, `\\`),
		"in a query":          "?q=" + url.QueryEscape(value),
		"in a path":           "/" + url.PathEscape(value) + "/",
		"in Base64":           std([]byte(value)),
		"in Base64, moved":    std([]byte("x" + value)),
		"in Base64, moved on": std([]byte("xy" + value + "z")),
		"in URL Base64":       base64.URLEncoding.EncodeToString([]byte("a:" + value)),
		"in hex":              hex.EncodeToString([]byte(value)),
	} {
		if n.found(haystack) == "" {
			t.Errorf("not found %s: %s", name, haystack)
		}
	}
	for _, haystack := range []string{"", "Kanarienvogel", std([]byte("something else, and long enough to matter"))} {
		if form := n.found(haystack); form != "" {
			t.Errorf("found %q in %q", form, haystack)
		}
	}
}
