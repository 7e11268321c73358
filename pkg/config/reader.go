package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// reader walks the nodes of one file and keeps every problem.
type reader struct {
	file     string
	check    bool // whether files named at this point must be there
	problems []problem
	nodes    map[string]*yaml.Node // texts by key, for checks that come later
}

type problem struct {
	line int
	err  error
}

// place is a value in the file and the full key it stands under.
type place struct {
	node *yaml.Node
	key  string
}

// field reads the value at a place into what it closes over.
type field func(r *reader, at place)

// rule says what is wrong with a text, and what to do.
type rule func(r *reader, value string) error

func (r *reader) refuse(at place, format string, args ...any) {
	where := fault.Place{File: r.file, Line: at.node.Line, Field: at.key}
	r.problems = append(r.problems, problem{at.node.Line, fault.Refuse("", where, format, args...)})
}

// seen returns the place of a text that was read before.
func (r *reader) seen(key string) place { return place{r.nodes[key], key} }

// empty reports a value left out as in `key:`, which keeps the default.
func empty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// scalar returns the text of a plain value, or keeps a problem.
func (r *reader) scalar(at place, want, tag string) (string, bool) {
	if empty(at.node) {
		return "", false
	}
	if at.node.Kind != yaml.ScalarNode || tag != "" && at.node.Tag != tag {
		r.refuse(at, "want %s, got %s", want, kindOf(at.node))
		return "", false
	}
	return at.node.Value, true
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias; write the value out"
	}
	return strconv.Quote(n.Value)
}

// text reads a string that keeps all rules.
func text(to *string, rules ...rule) field {
	return func(r *reader, at place) {
		r.nodes[at.key] = at.node
		value, ok := r.scalar(at, "a text", "!!str")
		if !ok {
			return
		}
		for _, keeps := range rules {
			if err := keeps(r, value); err != nil {
				r.refuse(at, "%w", err)
				return
			}
		}
		*to = value
	}
}

// number reads a whole number within bounds.
func number(to *int, least, most int) field {
	return func(r *reader, at place) {
		value, ok := r.scalar(at, "a whole number", "!!int")
		if !ok {
			return
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most {
			r.refuse(at, "%s is out of bounds; give a whole number from %d to %d", value, least, most)
			return
		}
		*to = n
	}
}

// truth reads true or false.
func truth(to *bool) field {
	return func(r *reader, at place) {
		if value, ok := r.scalar(at, "true or false", "!!bool"); ok {
			*to = strings.EqualFold(value, "true")
		}
	}
}

// duration reads a time span as Go writes it.
func duration(to *time.Duration, least, most time.Duration) field {
	return func(r *reader, at place) {
		value, ok := r.scalar(at, "a duration as in 5m", "")
		if !ok {
			return
		}
		d, err := time.ParseDuration(value)
		if err != nil || d < least || d > most {
			r.refuse(at, "%q is not a duration from %s to %s; write it as in 30s or 5m", value, least, most)
			return
		}
		*to = d
	}
}

// list reads a sequence, each item through the field that item gives for it.
func list[T any](to *[]T, item func(*T) field) field {
	return func(r *reader, at place) {
		if empty(at.node) {
			return
		}
		if at.node.Kind != yaml.SequenceNode {
			r.refuse(at, "want a list, got %s", kindOf(at.node))
			return
		}
		items := make([]T, len(at.node.Content))
		for i, n := range at.node.Content {
			under := place{n, fmt.Sprintf("%s[%d]", at.key, i)}
			if empty(n) {
				r.refuse(under, "is empty; give a value or remove it")
				continue
			}
			item(&items[i])(r, under)
		}
		*to = items
	}
}

// texts reads a list of strings that keep all rules.
func texts(to *[]string, rules ...rule) field {
	return list(to, func(s *string) field { return text(s, rules...) })
}

// table reads a mapping of any keys to strings; both keep all rules.
func table(to *map[string]string, rules ...rule) field {
	return func(r *reader, at place) {
		read := map[string]string{}
		for key, under := range r.entries(at) {
			if empty(under.node) {
				r.refuse(under, "is empty; give a value or remove it")
				continue
			}
			var name, value string
			text(&name, rules...)(r, place{key, under.key})
			text(&value, rules...)(r, under)
			read[name] = value
		}
		*to = read
	}
}

// object reads a mapping of known keys; those required must be there.
func object(fields map[string]field, required ...string) field {
	return func(r *reader, at place) {
		seen := map[string]bool{}
		for key, under := range r.entries(at) {
			read, ok := fields[key.Value]
			if !ok {
				r.refuse(place{key, under.key}, "unknown key; %s", known(fields))
				continue
			}
			seen[key.Value] = !empty(under.node)
			read(r, under)
		}
		for _, key := range required {
			if !seen[key] {
				r.refuse(place{at.node, join(at.key, key)}, "is missing; add it")
			}
		}
	}
}

func known(fields map[string]field) string {
	if len(fields) == 0 {
		return "no keys are known here yet, leave it empty"
	}
	return "known here: " + strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// entries yields the pairs of a mapping; a key that stands twice is a problem.
func (r *reader) entries(at place) func(yield func(*yaml.Node, place) bool) {
	return func(yield func(*yaml.Node, place) bool) {
		if empty(at.node) {
			return
		}
		if at.node.Kind != yaml.MappingNode {
			r.refuse(at, "want a mapping of keys to values, got %s", kindOf(at.node))
			return
		}
		lines := map[string]int{}
		for i := 0; i+1 < len(at.node.Content); i += 2 {
			key, value := at.node.Content[i], at.node.Content[i+1]
			under := place{value, join(at.key, key.Value)}
			if first := lines[key.Value]; first > 0 {
				r.refuse(place{key, under.key}, "stands in line %d already; remove one of the two", first)
				continue
			}
			lines[key.Value] = key.Line
			if !yield(key, under) {
				return
			}
		}
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntax turns the parser's error into one with a place.
func syntax(file string, err error) error {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return fault.Refuse("", fault.Place{File: file}, "read YAML: %w", err)
	}
	line, _ := strconv.Atoi(m[1])
	return fault.Refuse("", fault.Place{File: file, Line: line}, "read YAML: %s; mend the syntax", m[2])
}
