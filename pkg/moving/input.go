package moving

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
)

// Input is an object of the other tool. It knows which of its fields were read, so
// that Rest can name those that nobody cared for.
type Input struct {
	Name    string // kind, namespace and name
	content map[string]any
	taken   map[string]bool
	notes   []Note
}

// Read begins to read an object.
func Read(content map[string]any) *Input {
	in := &Input{Name: Name(content), content: content, taken: map[string]bool{}}
	for _, kept := range bookkeeping {
		in.At(kept...).Skip()
	}
	return in
}

// bookkeeping is what the API server and controllers write, and says nothing of
// what somebody wanted.
var bookkeeping = [][]string{
	{"apiVersion"}, {"kind"}, {"status"}, {"operation"}, {"type"},
	{"metadata", "name"}, {"metadata", "namespace"}, {"metadata", "uid"}, {"metadata", "resourceVersion"},
	{"metadata", "generation"}, {"metadata", "creationTimestamp"}, {"metadata", "managedFields"}, {"metadata", "selfLink"},
	{"metadata", "deletionTimestamp"}, {"metadata", "deletionGracePeriodSeconds"}, {"metadata", "ownerReferences"},
	{"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"},
}

// Kind, Namespace and ObjectName are those of the object.
func (in *Input) Kind() string { return text(in.content, "kind") }

// Namespace is that of the object.
func (in *Input) Namespace() string { return text(in.content, "metadata", "namespace") }

// ObjectName is metadata.name.
func (in *Input) ObjectName() string { return text(in.content, "metadata", "name") }

// At is a field of the object.
func (in *Input) At(path ...string) Field {
	return Field{in: in, value: in.content}.At(path...)
}

// Tell notes something about the whole object.
func (in *Input) Tell(level Level, format string, args ...any) {
	in.notes = append(in.notes, Note{Level: level, Object: in.Name, Text: fmt.Sprintf(format, args...)})
}

// Broken says whether the object cannot be converted.
func (in *Input) Broken() bool {
	return slices.ContainsFunc(in.notes, func(n Note) bool { return n.Level == Failed })
}

// Notes ends the reading: what was told, and each field that nobody read.
func (in *Input) Notes() []Note {
	in.At().Rest("has no counterpart")
	return in.notes
}

// Field is a place in an object, which may be absent.
type Field struct {
	in    *Input
	Path  string
	value any
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_$-]+$`)

// At goes down by names.
func (f Field) At(names ...string) Field {
	for _, name := range names {
		m, _ := f.value.(map[string]any)
		f = Field{in: f.in, Path: Join(f.Path, name), value: m[name]}
	}
	return f
}

// Join is the path of a name below a path.
func Join(path, name string) string {
	switch {
	case !plainName.MatchString(name):
		return path + "[" + strconv.Quote(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

// Given says whether the field is there and not null.
func (f Field) Given() bool { return f.value != nil }

// Each are the elements of a list.
func (f Field) Each() []Field {
	list, is := f.value.([]any)
	if !is && f.Given() {
		f.wrong("a list")
	}
	if len(list) == 0 {
		f.Skip()
	}
	out := make([]Field, len(list))
	for i, v := range list {
		out[i] = Field{in: f.in, Path: fmt.Sprintf("%s[%d]", f.Path, i), value: v}
	}
	return out
}

// Names are the keys of a map, sorted.
func (f Field) Names() []string {
	m, is := f.value.(map[string]any)
	if !is && f.Given() {
		f.wrong("a mapping")
	}
	if len(m) == 0 {
		f.Skip()
	}
	return slices.Sorted(maps.Keys(m))
}

// Text reads a text; numbers and truth values are texts too, as YAML has them.
func (f Field) Text() string {
	f.Skip()
	switch v := f.value.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool, int64, float64, int:
		return fmt.Sprint(v)
	}
	f.wrong("a text")
	return ""
}

// Peek is the text that is there; the field still has to be read or told of.
func (f Field) Peek() string {
	s, _ := f.value.(string)
	return s
}

// Bool reads a truth value.
func (f Field) Bool() bool {
	f.Skip()
	v, is := f.value.(bool)
	if !is && f.Given() {
		f.wrong("true or false")
	}
	return v
}

// Int reads a whole number.
func (f Field) Int() int64 {
	f.Skip()
	switch v := f.value.(type) {
	case nil:
		return 0
	case int64:
		return v
	case int:
		return int64(v)
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n
		}
	}
	f.wrong("a whole number")
	return 0
}

// Texts reads a list of texts.
func (f Field) Texts() []string {
	var out []string
	for _, e := range f.Each() {
		out = append(out, e.Text())
	}
	return out
}

// TextMap reads a map of texts; nil when it is empty.
func (f Field) TextMap() map[string]string {
	var out map[string]string
	for _, name := range f.Names() {
		if out == nil {
			out = map[string]string{}
		}
		out[name] = f.At(name).Text()
	}
	return out
}

// Any reads all that is there.
func (f Field) Any() any {
	f.Skip()
	return f.value
}

func (f Field) wrong(want string) {
	f.Tell(Lost, "want %s here; left out", want)
}

// Skip takes the field, with all that is in it, as read.
func (f Field) Skip() { f.in.taken[f.Path] = true }

// Tell notes something about the field, which counts as read with all that is in
// it. Nothing is told of a field that is absent.
func (f Field) Tell(level Level, format string, args ...any) {
	if !f.Given() {
		return
	}
	f.in.notes = append(f.in.notes, Note{Level: level, Object: f.in.Name, Fields: f.leaves(nil), Text: fmt.Sprintf(format, args...)})
	f.Skip()
}

// Rest tells of all in the field that was not read yet, each by its path.
func (f Field) Rest(format string, args ...any) {
	rest := f.leaves(f.in.taken)
	if len(rest) == 0 {
		return
	}
	f.in.notes = append(f.in.notes, Note{Level: Lost, Object: f.in.Name, Fields: rest, Text: fmt.Sprintf(format, args...)})
	f.Skip()
}

// leaves are the paths of what is in the field, without what lies in taken.
func (f Field) leaves(taken map[string]bool) []string {
	if taken[f.Path] && taken != nil || !f.Given() {
		return nil
	}
	var out []string
	switch v := f.value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			out = append(out, f.At(name).leaves(taken)...)
		}
		if len(v) > 0 {
			return out
		}
	case []any:
		for i, e := range v {
			out = append(out, Field{in: f.in, Path: fmt.Sprintf("%s[%d]", f.Path, i), value: e}.leaves(taken)...)
		}
		if len(v) > 0 {
			return out
		}
	}
	if f.Path == "" {
		return nil
	}
	return []string{f.Path}
}

// Leaves are the paths of all values of an object, except what the API server and
// controllers write.
func Leaves(content map[string]any) []string {
	in := Read(content)
	return in.At().leaves(in.taken)
}
