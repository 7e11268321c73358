package generate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"
)

// maxText is the longest text that a function returns, in bytes.
const maxText = 64 << 10

var errLong = fmt.Errorf("a text grows longer than %d bytes", maxText)

// functions are what templates may call besides builtins; docs/applicationset.md
// lists them. Each is pure and takes what a pipe hands on as its last argument.
func (r *run) functions() template.FuncMap {
	return template.FuncMap{
		"lower": r.text(strings.ToLower), "upper": r.text(strings.ToUpper), "trim": r.text(strings.TrimSpace),
		"normalize": r.text(normalize), "quote": r.text(quoted),
		"trimPrefix": r.text2(func(prefix, s string) string { return strings.TrimPrefix(s, prefix) }),
		"trimSuffix": r.text2(func(suffix, s string) string { return strings.TrimSuffix(s, suffix) }),
		"contains":   r.test(func(part, s string) bool { return strings.Contains(s, part) }),
		"hasPrefix":  r.test(func(prefix, s string) bool { return strings.HasPrefix(s, prefix) }),
		"hasSuffix":  r.test(func(suffix, s string) bool { return strings.HasSuffix(s, suffix) }),
		"replace":    r.replace, "trunc": r.trunc, "split": r.split, "join": r.join,
		"default": r.byDefault, "get": r.get, "has": r.has, "index": r.index, "keys": r.keys, "toJson": r.toJSON,
		"print": r.print, "println": r.println, "printf": r.printf,
	}
}

// textOf is a scalar as a text; maps and lists have none.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int, int64, float64:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("want a text, a number or a truth value, got %s; toJson writes anything", kindOf(v))
}

func kindOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case nil:
		return "nothing"
	}
	return fmt.Sprintf("%T", v)
}

func short(s string) (string, error) {
	if len(s) > maxText {
		return "", errLong
	}
	return s, nil
}

// texts takes a step and makes texts of the arguments.
func (r *run) texts(args ...any) ([]string, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	out := make([]string, len(args))
	for i, a := range args {
		var err error
		if out[i], err = textOf(a); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *run) text(f func(string) string) func(any) (string, error) {
	return func(v any) (string, error) {
		t, err := r.texts(v)
		if err != nil {
			return "", err
		}
		return short(f(t[0]))
	}
}

func (r *run) text2(f func(a, b string) string) func(a, b any) (string, error) {
	return func(a, b any) (string, error) {
		t, err := r.texts(a, b)
		if err != nil {
			return "", err
		}
		return short(f(t[0], t[1]))
	}
}

func (r *run) test(f func(a, b string) bool) func(a, b any) (bool, error) {
	return func(a, b any) (bool, error) {
		t, err := r.texts(a, b)
		return err == nil && f(t[0], t[1]), err
	}
}

// normalize makes a DNS label (RFC 1123) of a text: lower case, "-" for what cannot
// stand in one, at most 63 bytes.
func normalize(s string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(s) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b.WriteRune(c)
		} else {
			b.WriteByte('-')
		}
	}
	label := strings.Trim(b.String(), "-")
	return strings.TrimRight(label[:min(len(label), 63)], "-")
}

// quoted is a JSON string, which is a YAML one too.
func quoted(s string) string {
	raw, err := encode(s)
	if err != nil {
		return `""` // a string always encodes
	}
	return raw
}

func encode(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func (r *run) toJSON(v any) (string, error) {
	if err := r.step(); err != nil {
		return "", err
	}
	s, err := encode(v)
	if err != nil {
		return "", err
	}
	return short(s)
}

func (r *run) replace(old, by, s any) (string, error) {
	t, err := r.texts(old, by, s)
	if err != nil {
		return "", err
	}
	if grown := len(t[2]) + strings.Count(t[2], t[0])*max(len(t[1])-len(t[0]), 0); grown > maxText {
		return "", errLong
	}
	return strings.ReplaceAll(t[2], t[0], t[1]), nil
}

// trunc keeps the first n bytes, and no part of a character.
func (r *run) trunc(n int, s any) (string, error) {
	t, err := r.texts(s)
	if err != nil {
		return "", err
	}
	if n < 0 || n >= len(t[0]) {
		return t[0], nil
	}
	for n > 0 && !utf8.RuneStart(t[0][n]) {
		n--
	}
	return t[0][:n], nil
}

func (r *run) split(separator, s any) ([]any, error) {
	t, err := r.texts(separator, s)
	if err != nil {
		return nil, err
	}
	var parts []any
	for part := range strings.SplitSeq(t[1], t[0]) {
		parts = append(parts, part)
	}
	return parts, nil
}

func (r *run) join(separator string, list []any) (string, error) {
	t, err := r.texts(list...)
	if err != nil {
		return "", err
	}
	length := len(separator) * len(t)
	for _, s := range t {
		length += len(s)
	}
	if length > maxText {
		return "", errLong
	}
	return strings.Join(t, separator), nil
}

// byDefault is for a value that is there and empty; get is for one that is not.
func (r *run) byDefault(otherwise, v any) (any, error) {
	if truth, ok := template.IsTrue(v); ok && truth {
		return v, r.step()
	}
	return otherwise, r.step()
}

func (r *run) get(m map[string]any, key string, otherwise any) (any, error) {
	if v, ok := m[key]; ok {
		return v, r.step()
	}
	return otherwise, r.step()
}

func (r *run) has(m map[string]any, key string) (bool, error) {
	_, ok := m[key]
	return ok, r.step()
}

// keys are those of a mapping, sorted.
func (r *run) keys(m map[string]any) ([]any, error) {
	var all []any
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k)
	}
	return all, r.step()
}

// index is the builtin, except that what is not there is an error.
func (r *run) index(v any, path ...any) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	for _, at := range path {
		switch in := v.(type) {
		case map[string]any:
			key, ok := at.(string)
			next, there := in[key]
			if !ok || !there {
				return nil, fmt.Errorf("there is no key %v", at)
			}
			v = next
		case []any:
			i, ok := position(at)
			if !ok || i < 0 || i >= len(in) {
				return nil, fmt.Errorf("there is no element %v in a list of %d", at, len(in))
			}
			v = in[i]
		default:
			return nil, fmt.Errorf("%s has no elements", kindOf(v))
		}
	}
	return v, nil
}

func position(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case int64:
		return int(v), true
	}
	return 0, false
}

func (r *run) print(args ...any) (string, error) { return r.concat(fmt.Sprint, args) }

func (r *run) println(args ...any) (string, error) { return r.concat(fmt.Sprintln, args) }

func (r *run) concat(f func(...any) string, args []any) (string, error) {
	t, err := r.texts(args...)
	if err != nil {
		return "", err
	}
	length := len(t)
	for _, s := range t {
		length += len(s)
	}
	if length > maxText {
		return "", errLong
	}
	return f(args...), nil
}

// verbs are those of a format that printf takes: no width beyond two digits, no
// argument twice.
var verbs = regexp.MustCompile(`%([-+# 0]*[0-9]{0,2}(\.[0-9]{1,2})?[svdqtxXfgeo]|%)`)

var errFormat = errors.New("printf takes the verbs s v d q t x X f g e o with a width of at most two digits")

func (r *run) printf(format string, args ...any) (string, error) {
	t, err := r.texts(args...)
	if err != nil {
		return "", err
	}
	if strings.Contains(verbs.ReplaceAllString(format, ""), "%") {
		return "", errFormat
	}
	length := len(format) + 100*strings.Count(format, "%")
	for _, s := range t {
		length += 4 * len(s)
	}
	if length > 8*maxText {
		return "", errLong
	}
	return short(fmt.Sprintf(format, args...))
}
