package fields

import (
	"errors"
	"reflect"
	"strconv"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Pointer is a JSON pointer (RFC 6901), unescaped.
type Pointer []string

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// ParsePointer reads a pointer to a field; the pointer to the whole document is none.
func ParsePointer(s string) (Pointer, error) {
	tokens, rooted := strings.CutPrefix(s, "/")
	if !rooted {
		return nil, errors.New("want a JSON pointer, which begins with /")
	}
	for i, c := range s {
		if c == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			return nil, errors.New("~ stands only in ~0 (for ~) and ~1 (for /)")
		}
	}
	p := Pointer(strings.Split(tokens, "/"))
	for i := range p {
		p[i] = unescape.Replace(p[i])
	}
	return p, nil
}

func (p Pointer) String() string {
	var b strings.Builder
	for _, token := range p {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	return b.String()
}

// reach is how far a pointer leads.
type reach int

const (
	nowhere reach = iota // an object on the way, or the element of a list, is not there
	exact                // to a field of its own, which may be absent
	inside               // into a map or list that is one field; the path ends at that
)

// resolve follows a pointer through an object and gives the path that the managed
// fields have for it: an element of a list goes there by its key or its value, and
// its index says nothing.
func resolve(object any, known *fieldpath.Set, p Pointer) (path fieldpath.Path, to reach) {
	for _, token := range p {
		if single(object, known, path) {
			return path, inside
		}
		switch v := object.(type) {
		case map[string]any:
			object, path = v[token], append(path, fieldpath.FieldNameElement(token))
		case []any:
			i, is := index(token, len(v))
			if !is {
				return path, nowhere
			}
			below := at(known, path)
			if below.Empty() {
				return path, inside // nobody says how its elements are told apart
			}
			element, found := elementOf(v[i], i, below)
			if !found {
				return path, nowhere
			}
			object, path = v[i], append(path, element)
		default:
			return path, nowhere
		}
	}
	return path, exact
}

// single says whether a map or a list is owned as one field: somebody owns it, and
// nobody anything in it.
func single(object any, known *fieldpath.Set, path fieldpath.Path) bool {
	v := reflect.ValueOf(object)
	if len(path) == 0 || (v.Kind() != reflect.Map && v.Kind() != reflect.Slice) || v.Len() == 0 {
		return false
	}
	return known.Has(path) && at(known, path).Empty()
}

// at is what a set holds below a path.
func at(set *fieldpath.Set, path fieldpath.Path) *fieldpath.Set {
	for _, element := range path {
		set = set.WithPrefix(element)
	}
	return set
}

func index(token string, length int) (int, bool) {
	i, err := strconv.Atoi(token)
	return i, err == nil && i >= 0 && i < length && strconv.Itoa(i) == token
}

// elementOf finds how the managed fields below a list call one of its elements.
func elementOf(item any, i int, below *fieldpath.Set) (found fieldpath.PathElement, ok bool) {
	try := func(element fieldpath.PathElement) {
		if !ok && names(element, item, i) {
			found, ok = element, true
		}
	}
	below.Members.Iterate(try)
	below.Children.Iterate(try)
	return found, ok
}

// names says whether a path element means this item of a list. A part of its key
// that the item does not have is a default.
func names(element fieldpath.PathElement, item any, i int) bool {
	switch {
	case element.Key != nil:
		m, isMap := item.(map[string]any)
		if !isMap {
			return false
		}
		known := 0
		for _, part := range *element.Key {
			have, is := m[part.Name]
			if is && !equal(have, part.Value) {
				return false
			}
			if is {
				known++
			}
		}
		return known > 0
	case element.Value != nil:
		return equal(item, *element.Value)
	case element.Index != nil:
		return *element.Index == i
	}
	return false
}

func equal(have any, want value.Value) bool {
	return value.Equals(value.NewValueInterface(have), want)
}

// find looks an element of a list up by its path element; one with the whole key
// goes before one with a part of it.
func find(list []any, element fieldpath.PathElement) int {
	if element.Key != nil {
		for i, item := range list {
			if m, is := item.(map[string]any); is && names(element, item, i) && hasAll(m, element) {
				return i
			}
		}
	}
	for i, item := range list {
		if names(element, item, i) {
			return i
		}
	}
	return -1
}

func hasAll(m map[string]any, element fieldpath.PathElement) bool {
	for _, part := range *element.Key {
		if _, is := m[part.Name]; !is {
			return false
		}
	}
	return true
}
