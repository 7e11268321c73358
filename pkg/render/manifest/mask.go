package manifest

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	masked     = "[value]"
	maxMessage = 2048
	// word is from how many bytes on a value goes wherever it stands.
	word = 6
)

// Mask takes values out of an error message of a library that quotes its input, in
// all their Forms. Quoted values go whatever their length, others from six characters
// on: shorter ones are words of the message itself. What is over 2 kB goes from
// the middle: the cause of a chain of errors stands at its end.
func Mask(message string, values []string) string {
	all := slices.Clone(values)
	for _, v := range values {
		all = append(all, Forms(v)...)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for _, v := range slices.Compact(all) {
		if len(v) >= word {
			message = strings.ReplaceAll(message, v, masked)
		}
		if v == "" {
			continue
		}
		for _, q := range []string{`"`, `'`, "`"} {
			message = strings.ReplaceAll(message, q+v+q, masked)
		}
	}
	if len(message) > maxMessage {
		half := maxMessage / 2
		message = strings.ToValidUTF8(message[:half]+" … "+message[len(message)-half:], "")
	}
	return message
}

// Forms are what shows a value in a text: quoted as Go, JSON and URLs do, and in
// Base64, at whichever place of the text that was encoded. Of values that are words,
// only they themselves count.
func Forms(v string) []string {
	if len(v) < word {
		return nil
	}
	quoted := strconv.Quote(v)
	forms := []string{quoted[1 : len(quoted)-1], url.QueryEscape(v), url.PathEscape(v)}
	if b, err := json.Marshal(v); err == nil {
		forms = append(forms, string(b[1:len(b)-1]))
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			text := encoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + v))
			// The first character of the value's bits alone, up to the last one.
			forms = append(forms, text[(8*shift+5)/6:8*(shift+len(v))/6])
		}
	}
	return slices.DeleteFunc(forms, func(form string) bool { return form == v })
}

// Strings collects all strings and the decimal forms of numbers below v.
func Strings(v any) []string {
	switch v := v.(type) {
	case string:
		return append(lines(v), v)
	case []any:
		var out []string
		for _, item := range v {
			out = append(out, Strings(item)...)
		}
		return out
	case map[string]any:
		var out []string
		for _, item := range v {
			out = append(out, Strings(item)...)
		}
		return out
	}
	return nil
}

// lines are masked one by one too: messages may quote a part of a long text.
func lines(s string) []string {
	if !strings.Contains(s, "\n") {
		return nil
	}
	var out []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); len(line) >= 6 {
			out = append(out, line)
		}
	}
	return out
}
