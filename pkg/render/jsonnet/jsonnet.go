// Package jsonnet evaluates Jsonnet files of a tree to Kubernetes objects. Imports
// stay in the tree, there are no native functions, and nothing is fetched. It belongs
// into a render child, whose limits end what does not end by itself, and may import
// app/v1alpha1, manifest and fault. Errors are permanent faults that name file and line
// of Jsonnet's own stack.
package jsonnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/google/go-jsonnet"
	"github.com/google/go-jsonnet/ast"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// Tree is what files and imports are read from. Stat follows symlinks.
type Tree interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
}

// Params says what to evaluate: the .jsonnet files at Path, as Spec says.
type Params struct {
	Path string                 `json:"path"`
	Spec v1alpha1.JsonnetSource `json:"spec"`
}

// Evaluate returns the objects of the files in the order of their names. A file gives
// an object, a List, or lists and maps of these, however nested; null gives nothing.
func Evaluate(tree Tree, p Params) ([]manifest.Rendered, error) {
	files, err := filesOf(tree, p)
	if err != nil {
		return nil, err
	}
	vm, failure := newVM(tree, p)
	var out []manifest.Rendered
	for _, file := range files {
		text, err := vm.EvaluateFile(file)
		if err != nil {
			return nil, failure.explain(file)
		}
		c := collector{file: file}
		if err := c.read(text); err != nil {
			return nil, err
		}
		out = append(out, c.out...)
	}
	return out, nil
}

func filesOf(tree Tree, p Params) ([]string, error) {
	if p.Spec.File != "" {
		name := path.Join(p.Path, p.Spec.File)
		if !fs.ValidPath(name) || path.IsAbs(p.Spec.File) {
			return nil, refuse(fault.Place{Field: "spec.source.jsonnet.file"}, "the path leaves the repository")
		}
		if _, err := tree.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return nil, refuse(fault.Place{File: name, Field: "spec.source.jsonnet.file"}, "there is no such file")
		} else if err != nil {
			return nil, fmt.Errorf("look for %s: %w", name, err)
		}
		return []string{name}, nil
	}
	entries, err := tree.ReadDir(p.Path)
	if err != nil {
		return nil, fmt.Errorf("list directory: %w", err)
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() && path.Ext(e.Name()) == ".jsonnet" && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, path.Join(p.Path, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, refuse(fault.Place{File: p.Path}, "the directory has no .jsonnet file; check spec.source.path or name it with spec.source.jsonnet.file")
	}
	return out, nil
}

// maxTrace is how many frames of a stack an error tells.
const maxTrace = 8

func newVM(tree Tree, p Params) (*jsonnet.VM, *failure) {
	vm := jsonnet.MakeVM()
	vm.SetTraceOut(io.Discard)
	vm.Importer(newImporter(tree, p))
	f := &failure{}
	vm.ErrorFormatter = f
	s := p.Spec
	for _, set := range []struct {
		values map[string]string
		into   func(key, value string)
	}{{s.TLA, vm.TLAVar}, {s.TLACode, vm.TLACode}, {s.Ext, vm.ExtVar}, {s.ExtCode, vm.ExtCode}} {
		for _, key := range slices.Sorted(maps.Keys(set.values)) {
			set.into(key, set.values[key])
		}
	}
	return vm, f
}

// failure keeps the error of the interpreter, which otherwise gives it as text only.
type failure struct{ err error }

func (f *failure) Format(err error) string                  { f.err = err; return err.Error() }
func (f *failure) SetMaxStackTraceSize(int)                 {}
func (f *failure) SetColorFormatter(jsonnet.ColorFormatter) {}

// explain places the error at the innermost line of the tree, and tells the others.
func (f *failure) explain(file string) error {
	place := fault.Place{File: file}
	message := f.err.Error()
	var frames []string
	var static interface{ Loc() ast.LocationRange }
	switch err := f.err.(type) {
	case jsonnet.RuntimeError:
		message = err.Msg
		for _, frame := range slices.Backward(err.StackTrace) {
			if at := frame.Loc.FileName; fs.ValidPath(at) && at != "." && frame.Loc.Begin.Line > 0 {
				frames = append(frames, fmt.Sprintf("%s:%d", at, frame.Loc.Begin.Line))
			}
		}
		frames = slices.Compact(frames)
	default:
		if errors.As(err, &static) && static.Loc().FileName != "" {
			at := static.Loc()
			message = strings.TrimSpace(strings.TrimPrefix(message, at.String()))
			frames = []string{fmt.Sprintf("%s:%d", at.FileName, at.Begin.Line)}
		}
	}
	if len(frames) > 0 {
		name, line, _ := strings.Cut(frames[0], ":")
		place.File = name
		_, _ = fmt.Sscan(line, &place.Line)
		frames = frames[1:]
	}
	message = strings.Join(strings.Fields(message), " ")
	if len(frames) > maxTrace {
		frames = append(frames[:maxTrace:maxTrace], fmt.Sprintf("%d more", len(frames)-maxTrace))
	}
	if len(frames) > 0 {
		message = clip(message) + " (from " + strings.Join(frames, ", ") + ")"
	}
	return refuse(place, "evaluate Jsonnet: %s", clip(message))
}

func clip(s string) string {
	const most = 2048
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func refuse(place fault.Place, format string, args ...any) error {
	return fault.Refuse(fault.RenderFailed, place, format, args...)
}

// collector finds the objects in what a file gave.
type collector struct {
	file string
	out  []manifest.Rendered
}

func (c *collector) read(text string) error {
	var v any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return refuse(fault.Place{File: c.file}, "evaluate Jsonnet: the result is not JSON")
	}
	return c.visit(v, "$", 0)
}

func (c *collector) visit(v any, at string, depth int) error {
	if depth > manifest.MaxDepth {
		return refuse(fault.Place{File: c.file, Field: clipPath(at)}, "values are nested deeper than %d levels", manifest.MaxDepth)
	}
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		for i, item := range v {
			if err := c.visit(item, fmt.Sprintf("%s[%d]", at, i), depth+1); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		return c.visitMap(v, at, depth)
	}
	return refuse(fault.Place{File: c.file, Field: clipPath(at)},
		"here stands %s; want Kubernetes objects, with apiVersion and kind, or lists and maps of them", kindOf(v))
}

func (c *collector) visitMap(m map[string]any, at string, depth int) error {
	kind, hasKind := m["kind"].(string)
	_, hasVersion := m["apiVersion"].(string)
	if !hasKind || !hasVersion {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if err := c.visit(m[key], at+"."+key, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if items, isList := m["items"].([]any); isList && strings.HasSuffix(kind, "List") && m["metadata"] == nil {
		return c.visit(items, at+".items", depth+1)
	}
	content, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", clipPath(at), err)
	}
	c.out = append(c.out, manifest.Rendered{File: c.file, Content: content})
	return nil
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	}
	return "a number"
}

func clipPath(at string) string {
	const most = 256
	if len(at) > most {
		return strings.ToValidUTF8(at[:most], "") + "…"
	}
	return at
}
