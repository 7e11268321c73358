package argocd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// maxIndex is the highest index of a list in the name of a parameter, as in Helm.
	maxIndex = 65536
	// maxDepth is how deep the name of a parameter may nest, as in Helm.
	maxDepth = 30
)

var errName = errors.New("the name is not one of Helm's --set")

// set puts a parameter into values as helm --set does, to which Argo CD gives it
// with the commas of its value escaped (Helm documentation, "The Format and
// Limitations of --set"): a.b[0].c names a place, a backslash takes the next
// character as it is, {a,b} is a list. With asText the value is not read as YAML
// would read it.
func set(values map[string]any, name, value string, asText bool) error {
	return place(values, name, read(value, asText))
}

// place puts a value where the name of a parameter says.
func place(values map[string]any, name string, value any) error {
	steps, err := steps(name)
	if err == nil {
		put(values, steps, value)
	}
	return err
}

// step is a key, or an index when key is empty.
type step struct {
	key   string
	index int
}

func steps(name string) ([]step, error) {
	var out []step
	var key strings.Builder
	inKey := true
	flush := func() error {
		if key.Len() == 0 && inKey {
			return errName
		}
		if inKey {
			out = append(out, step{key: key.String()})
		}
		key.Reset()
		return nil
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '\\' && i+1 < len(name):
			i++
			key.WriteByte(name[i])
			inKey = true
		case c == '.':
			if err := flush(); err != nil {
				return nil, err
			}
			inKey = true
		case c == '[':
			if err := flush(); err != nil {
				return nil, err
			}
			closing := strings.IndexByte(name[i:], ']')
			index, err := strconv.Atoi(name[i+1 : i+max(closing, 1)])
			if closing < 0 || err != nil || index < 0 || index > maxIndex {
				return nil, errName
			}
			out = append(out, step{index: index})
			inKey = false
			i += closing
		case c == ',' || c == '=' || c == '{' || c == '}' || !inKey:
			return nil, errName
		default:
			key.WriteByte(c)
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	if len(out) > maxDepth {
		return nil, fmt.Errorf("the name nests deeper than %d", maxDepth)
	}
	return out, nil
}

// put replaces what stands in the way, as Helm does.
func put(in any, path []step, value any) any {
	if len(path) == 0 {
		return value
	}
	if s := path[0]; s.key != "" {
		m, is := in.(map[string]any)
		if !is {
			m = map[string]any{}
		}
		m[s.key] = put(m[s.key], path[1:], value)
		return m
	}
	list, _ := in.([]any)
	for len(list) <= path[0].index {
		list = append(list, nil)
	}
	list[path[0].index] = put(list[path[0].index], path[1:], value)
	return list
}

func read(value string, asText bool) any {
	one := scalar
	if asText {
		one = func(s string) any { return s }
	}
	if !strings.HasPrefix(value, "{") || !strings.HasSuffix(value, "}") {
		return one(unescape(value))
	}
	list := []any{}
	for _, element := range commas(value[1 : len(value)-1]) { // of {} too: [""], as in Helm
		list = append(list, one(unescape(element)))
	}
	return list
}

// commas splits at commas that are not escaped.
func commas(s string) []string {
	var out []string
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ',':
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// scalar is a value as Helm reads it.
func scalar(s string) any {
	switch {
	case strings.EqualFold(s, "true"):
		return true
	case strings.EqualFold(s, "false"):
		return false
	case strings.EqualFold(s, "null"):
		return nil
	case s == "0":
		return int64(0)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && !strings.HasPrefix(s, "0") {
		return n
	}
	return s
}
