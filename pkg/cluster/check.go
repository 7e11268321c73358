package cluster

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// problem is one thing that does not fit. Its text never holds a value.
type problem struct{ field, text string }

// maxProblems bounds how much one object is told about at a time.
const maxProblems = 10

// checker collects what of a value does not fit a schema.
type checker struct{ problems []problem }

func (c *checker) add(field, format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, problem{field, fmt.Sprintf(format, args...)})
	}
}

// check follows the value, so that recursive schemas end. Null is the absence
// of a value, as the API server takes it in nearly all places.
func (c *checker) check(field string, n *node, value any) {
	if value == nil || len(c.problems) >= maxProblems {
		return
	}
	got := kindOf(value)
	if !fits(n, got, value) {
		c.add(field, "want %s, got %s", wanted(n), got)
		return
	}
	switch v := value.(type) {
	case map[string]any:
		c.object(field, n, v)
	case []any:
		c.list(field, n, v)
	case string:
		c.text(field, n, v)
	}
	if n.bounds != nil {
		c.bounds(field, n.bounds, value)
	}
}

func (c *checker) object(field string, n *node, object map[string]any) {
	for _, name := range n.required {
		if _, ok := object[name]; !ok {
			c.add(join(field, name), "is required")
		}
	}
	for _, name := range sortedKeys(object) {
		switch child, known := n.fields[name]; {
		case known:
			c.check(join(field, name), child, object[name])
		case n.values != nil:
			c.check(key(field, name), n.values, object[name])
		case n.closed && !(n.embedded && (name == "apiVersion" || name == "kind" || name == "metadata")):
			c.add(join(field, name), "unknown field%s", meant(n, name))
		}
	}
}

// meant helps with the mistake that is hardest to see.
func meant(n *node, name string) string {
	for known := range n.fields {
		if strings.EqualFold(known, name) {
			return ", it is written " + known
		}
	}
	return ""
}

func (c *checker) list(field string, n *node, list []any) {
	seen := map[string]int{}
	for i, item := range list {
		at := field + "[" + strconv.Itoa(i) + "]"
		if n.items != nil {
			c.check(at, n.items, item)
		}
		id, ok := identity(n, item)
		if !ok {
			continue
		}
		if first, twice := seen[id]; twice {
			c.add(at, "is the same item as [%d]%s", first, by(n))
		}
		seen[id] = i
	}
}

// identity is what must be unique in a list that is a set or a map.
func identity(n *node, item any) (string, bool) {
	var parts []any
	switch object, isObject := item.(map[string]any); {
	case n.set:
		parts = []any{item}
	case len(n.keys) > 0 && isObject:
		for _, name := range n.keys {
			value, ok := object[name]
			if !ok && n.items != nil && n.items.fields[name] != nil {
				value = n.items.fields[name].preset
			}
			parts = append(parts, value)
		}
	default:
		return "", false
	}
	encoded, err := json.Marshal(parts)
	return string(encoded), err == nil
}

func by(n *node) string {
	if len(n.keys) == 0 {
		return ""
	}
	return " by " + strings.Join(n.keys, ", ")
}

// text checks the formats that the API server fails to decode otherwise.
func (c *checker) text(field string, n *node, text string) {
	var err error
	switch n.format {
	case "byte":
		_, err = base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(text))
		if err != nil {
			c.add(field, "is not base64")
		}
	case "date-time":
		if _, err = time.Parse(time.RFC3339Nano, text); err != nil {
			c.add(field, "is not a time as in 2006-01-02T15:04:05Z")
		}
	}
}

func (c *checker) bounds(field string, b *bounds, value any) {
	// The empty string stands for "not set" in many built-in kinds, whatever their enum says.
	if b.enum != nil && value != "" && !slices.ContainsFunc(b.enum, func(e any) bool { return same(e, value) }) {
		c.add(field, "must be one of %s", enumerate(b.enum))
	}
	switch v := value.(type) {
	case string:
		c.between(field, "characters", utf8.RuneCountInString(v), b.minLength, b.maxLength)
		if b.pattern != nil && !b.pattern.MatchString(v) {
			c.add(field, "must match %s", b.pattern)
		}
	case []any:
		c.between(field, "items", len(v), b.minItems, b.maxItems)
	case int64, float64:
		c.number(field, b, v)
	}
	for _, n := range b.all {
		c.check(field, n, value)
	}
	if b.any != nil && !slices.ContainsFunc(b.any, func(n *node) bool { return conforms(field, n, value) }) {
		c.add(field, "fits none of the alternatives of its schema")
	}
}

func conforms(field string, n *node, value any) bool {
	var c checker
	c.check(field, n, value)
	return len(c.problems) == 0
}

func (c *checker) between(field, what string, got int, least, most *int) {
	if least != nil && got < *least {
		c.add(field, "has %d %s, at least %d are needed", got, what, *least)
	}
	if most != nil && got > *most {
		c.add(field, "has %d %s, at most %d are allowed", got, what, *most)
	}
}

func (c *checker) number(field string, b *bounds, value any) {
	n := number(value)
	if b.min != nil && n < *b.min {
		c.add(field, "must be at least %v", *b.min)
	}
	if b.max != nil && n > *b.max {
		c.add(field, "must be at most %v", *b.max)
	}
}

func kindOf(value any) string {
	switch v := value.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case int64:
		return "integer"
	case float64:
		if v == math.Trunc(v) {
			return "integer" // 5.0 is sent as 5
		}
	}
	return "number"
}

func fits(n *node, got string, value any) bool {
	switch {
	case n.format == "int-or-string":
		return got == "integer" || got == "string"
	case n.kind == "integer" && n.format == "int32":
		return got == "integer" && math.Abs(number(value)) <= math.MaxInt32
	case n.kind == "number":
		return got == "number" || got == "integer"
	}
	return n.kind == "" || n.kind == got
}

func wanted(n *node) string {
	switch {
	case n.format == "int-or-string":
		return "integer or string"
	case n.kind == "integer" && n.format == "int32":
		return "integer of 32 bits"
	}
	return n.kind
}

func number(value any) float64 {
	if i, ok := value.(int64); ok {
		return float64(i)
	}
	f, _ := value.(float64)
	return f
}

func same(a, b any) bool {
	if kindOf(a) == "integer" && kindOf(b) == "integer" {
		return number(a) == number(b)
	}
	x, err := json.Marshal(a)
	if err != nil {
		return false
	}
	y, err := json.Marshal(b)
	return err == nil && string(x) == string(y)
}

func enumerate(values []any) string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, ", ")
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

func key(field, name string) string { return field + "[" + name + "]" }
