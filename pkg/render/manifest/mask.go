package manifest

import (
	"slices"
	"strings"
)

const (
	masked     = "[value]"
	maxMessage = 2048
)

// Mask takes values out of an error message of a library that quotes its input.
// Quoted values go whatever their length, others from six characters on: shorter
// ones are words of the message itself. What is over 2 kB goes from
// the middle: the cause of a chain of errors stands at its end.
func Mask(message string, values []string) string {
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	for _, v := range slices.Compact(values) {
		if len(v) >= 6 {
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
