package object

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// minWord is the length from which a part of a secret value is taken for secret
// itself, as the password within an URL.
const minWord = 8

// credentials are what gives a credential away by its form alone.
var credentials = []*regexp.Regexp{
	regexp.MustCompile(`(://)[^/\s@]+@`),
	regexp.MustCompile(`()\beyJ[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\.?[A-Za-z0-9_=.+/-]*`),
	regexp.MustCompile(`()\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`),
	regexp.MustCompile(`()\b(?:gh[pousr]_|github_pat_|glpat-|xox[abpr]-)[A-Za-z0-9_-]+`),
	regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}`),
	regexp.MustCompile(`(?i)([a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|credential|api[-_]?key|access[-_]?key|private[-_]?key)[a-z0-9_.-]*["']?\s*[:=]\s*)(?:"[^"]*"?|'[^']*'?|\S+)`),
}

// RedactText replaces the given secret values in a text that somebody else wrote,
// their longer words, their base64 form, and what looks like a credential. What is
// not printable becomes a blank, so the result is one line.
func RedactText(text string, secrets []string) string {
	text = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(text, "?")))
	text = strings.NewReplacer(parts(secrets)...).Replace(text)
	for _, c := range credentials {
		text = c.ReplaceAllString(text, "${1}"+Redacted)
	}
	return text
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// parts are what of the secrets has to go, each with what stands in its place; the
// longest first, since a value may be part of another.
func parts(secrets []string) []string {
	var all []string
	for _, secret := range secrets {
		for line := range strings.Lines(secret) {
			line = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(line, "?")))
			all = append(append(all, line), words(line)...)
		}
		if len(secret) >= minWord/2 {
			all = append(all, strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="))
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, value := range all {
		pairs = append(pairs, value, Redacted)
	}
	return pairs
}

func words(line string) []string {
	all := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\"'`:/@=,;&?{}[]()<>|", r) })
	return slices.DeleteFunc(all, func(word string) bool { return len(word) < minWord })
}
