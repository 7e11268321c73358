package alert

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// line makes a text from outside one line of at most limit characters.
func line(s string, limit int) string {
	return cut(strings.Join(strings.Fields(visible(s)), " "), limit)
}

// text keeps line ends, and nothing else that does not show.
func text(s string, limit int) string {
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRightFunc(visible(l), unicode.IsSpace)
	}
	return cut(strings.Trim(strings.Join(lines, "\n"), "\n"), limit)
}

// visible replaces control characters by spaces, and drops those that turn the
// direction of text around and so show something else than what is there.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r) || r == '\ufeff':
			return -1
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

func cut(s string, limit int) string {
	if len(s) <= limit || utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s[:min(len(s), 4*limit)])
	return string(runes[:limit-1]) + "…"
}
