package substitute

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	name      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	reference = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(?::[-=]([^}]*))?$`)
)

func isName(s string) bool { return name.MatchString(s) }

func clip(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// text replaces in one string. When it is made of variables alone, the result is
// read as the plain scalar that it would be in YAML.
func (w *walk) text(s string, path []string) (any, error) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	out, alone, err := w.expand(s)
	if err != nil {
		return nil, w.refuse(path, "%w", err)
	}
	if alone && !w.isText(path) {
		return scalar(out), nil
	}
	return out, nil
}

// expand returns s with its variables replaced, and whether it held nothing else.
func (w *walk) expand(s string) (out string, alone bool, err error) {
	var b strings.Builder
	alone = true
	for rest := s; rest != ""; {
		at := strings.Index(rest, "${")
		if at < 0 {
			at = len(rest)
		}
		escaped := at < len(rest) && at > 0 && rest[at-1] == '$'
		alone = alone && at == 0
		switch {
		case at == len(rest):
			b.WriteString(rest)
			rest = ""
		case escaped:
			b.WriteString(rest[:at-1] + "${")
			rest = rest[at+2:]
		default:
			b.WriteString(rest[:at])
			inner, tail, closed := strings.Cut(rest[at+2:], "}")
			if !closed {
				return "", false, errors.New("a ${ has no }; write $${ for the text ${")
			}
			value, err := w.resolve(inner)
			if err != nil {
				return "", false, err
			}
			b.WriteString(value)
			rest = tail
		}
	}
	return b.String(), alone, nil
}

// resolve returns what stands for the inner of a ${…}. As in a shell, a default
// stands in for an empty value too.
func (w *walk) resolve(inner string) (string, error) {
	m := reference.FindStringSubmatch(inner)
	if m == nil || strings.Contains(inner, "${") {
		return "", errors.New("a ${…} is not of the form ${name}, ${name:=default} or ${name:-default}; write $${ for the text ${")
	}
	value, known := w.variables[m[1]]
	text, hasDefault := value.Text, strings.Contains(inner, ":")
	if text == "" && hasDefault {
		text, known = m[2], true
	}
	if !known {
		return "", fmt.Errorf("no variable is called %s; add it to spec.source.substitute, give it a default as ${%s:=…}, or write $${ for the text ${", clip(m[1]), clip(m[1]))
	}
	if w.left -= len(text); w.left < 0 {
		return "", fmt.Errorf("the variables add more than %d bytes to the objects", maxGrowth)
	}
	return text, nil
}

// textual are fields below which Kubernetes knows strings only.
var textual = []string{
	"metadata", "labels", "annotations", "matchLabels", "nodeSelector", "selector",
	"env", "command", "args", "stringData", "binaryData",
}

func (w *walk) isText(path []string) bool {
	return w.strings && path[0] == "data" || slices.ContainsFunc(path, func(key string) bool { return slices.Contains(textual, key) })
}

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$`)

// scalar reads what YAML would not take for text, as far as nothing is lost: whole
// numbers, fractions and booleans that are written as they would be written back,
// and text in double quotes. Everything else stays text, null and 1.10 too.
func scalar(s string) any {
	switch {
	case s == "true", s == "false":
		return s == "true"
	case number.MatchString(s):
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && s != "-0" {
			return n
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == s && strings.Contains(s, ".") {
			return f
		}
	case len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"':
		if text, err := strconv.Unquote(s); err == nil {
			return text
		}
	}
	return s
}
