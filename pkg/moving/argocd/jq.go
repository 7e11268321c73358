package argocd

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// hop is one step of a path of jq: a name, an index, or every element, of which
// only those whose field equals a text when where is given.
type hop struct {
	name  string
	index int // -1: none
	every bool
	where []string // names of the field
	is    string   // text that it equals
	not   bool
}

var errJQ = errors.New("want names, [], [0] and select(.field == \"text\")")

// translate turns a path of jq into a JSON pointer, or, where it goes through all
// elements of a list, into CEL of spec.ignore.
func translate(text string) (pointer, expression string, err error) {
	hops, err := jq(text)
	if err != nil {
		return "", "", err
	}
	plain := true
	for _, h := range hops {
		plain = plain && !h.every
		pointer += "/" + h.token()
	}
	if plain {
		return pointer, "", nil
	}
	expression, _ = cel("object", nil, hops, 0)
	return "", expression, nil
}

func (h hop) token() string {
	if h.index >= 0 {
		return strconv.Itoa(h.index)
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(h.name)
}

// cel is the expression for the hops below a value; it gives a list of pointers or,
// when many is false, one.
func cel(value string, before []string, hops []hop, depth int) (expression string, many bool) {
	for i, h := range hops {
		if !h.every {
			value, before = value+access(h), append(before, literal(h))
			continue
		}
		index, element := fmt.Sprintf("i%d", depth), fmt.Sprintf("e%d", depth)
		inner, nested := cel(element, append(before, index), hops[i+1:], depth+1)
		list := value
		if strings.Contains(value, ".?") || strings.Contains(value, "[?") {
			list += ".orValue([])"
		}
		out := fmt.Sprintf("%s.transformList(%s, %s, %s%s)", list, index, element, condition(h, element), inner)
		if nested {
			out += ".flatten()"
		}
		return out, true
	}
	return "pointer([" + strings.Join(before, ", ") + "])", false
}

func condition(h hop, element string) string {
	if h.where == nil {
		return ""
	}
	value := element
	for _, name := range h.where {
		value += access(hop{name: name, index: -1})
	}
	equals := "=="
	if h.not {
		equals = "!="
	}
	return fmt.Sprintf("%s.orValue(null) %s %s, ", value, equals, strconv.Quote(h.is))
}

var celName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// access reads a field that need not be there.
func access(h hop) string {
	switch {
	case h.index >= 0:
		return fmt.Sprintf("[?%d]", h.index)
	case celName.MatchString(h.name):
		return ".?" + h.name
	}
	return "[?" + strconv.Quote(h.name) + "]"
}

func literal(h hop) string {
	if h.index >= 0 {
		return strconv.Itoa(h.index)
	}
	return strconv.Quote(h.name)
}

var (
	jqName   = regexp.MustCompile(`^\.([A-Za-z_][A-Za-z0-9_]*)`)
	jqQuoted = regexp.MustCompile(`^\.?\[?("(?:[^"\\]|\\["\\/])*")\]?`)
	jqIndex  = regexp.MustCompile(`^\.?\[([0-9]{1,6})\]`)
	jqEvery  = regexp.MustCompile(`^\.?\[\]`)
	jqSelect = regexp.MustCompile(`^select\(\s*((?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s*(==|!=)\s*("(?:[^"\\]|\\["\\/])*")\s*\)`)
)

// jq reads the forms of a path that translate knows.
func jq(text string) ([]hop, error) {
	rest := strings.TrimSpace(text)
	if len(rest) > 1024 || !strings.HasPrefix(rest, ".") {
		return nil, errJQ
	}
	var hops []hop
	for rest != "" {
		h, length, err := next(rest, hops)
		if err != nil {
			return nil, err
		}
		if h != nil {
			hops = append(hops, *h)
		}
		rest = strings.TrimSpace(rest[length:])
	}
	if len(hops) == 0 {
		return nil, errJQ
	}
	return hops, nil
}

// next reads one step; none where it only says more of the one before.
func next(rest string, hops []hop) (*hop, int, error) {
	if m := jqSelect.FindStringSubmatch(rest); m != nil {
		if len(hops) == 0 || !hops[len(hops)-1].every || hops[len(hops)-1].where != nil {
			return nil, 0, errJQ
		}
		is, err := strconv.Unquote(m[3])
		last := &hops[len(hops)-1]
		last.where, last.not, last.is = strings.Split(m[1][1:], "."), m[2] == "!=", is
		return nil, len(m[0]), err
	}
	if m := jqName.FindStringSubmatch(rest); m != nil {
		return &hop{name: m[1], index: -1}, len(m[0]), nil
	}
	if m := jqIndex.FindStringSubmatch(rest); m != nil {
		index, err := strconv.Atoi(m[1])
		return &hop{index: index}, len(m[0]), err
	}
	if m := jqEvery.FindString(rest); m != "" {
		return &hop{every: true, index: -1}, len(m), nil
	}
	if m := jqQuoted.FindStringSubmatch(rest); m != nil && strings.Contains(m[0], "[") == strings.HasSuffix(m[0], "]") {
		name, err := strconv.Unquote(m[1])
		return &hop{name: name, index: -1}, len(m[0]), err
	}
	if rest[0] == '?' || rest[0] == '|' && len(hops) > 0 {
		return nil, 1, nil
	}
	return nil, 0, errJQ
}
