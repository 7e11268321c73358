// Package manifest turns YAML and JSON text into Kubernetes objects: strictly,
// within limits, and with the line of every object.
//
// It owns the reading of manifests for all renderers. It may import object and
// fault. Every error is a permanent fault with reason RenderFailed that names
// file and line, and never quotes a value.
package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Limits that no sane manifest reaches. An object over 1.5 MiB does not fit into
// etcd; the rest bounds what parsing may cost.
const (
	MaxDepth      = 100       // nesting of maps and sequences
	MaxNodes      = 2_000_000 // values of all files of one render, aliases expanded
	maxDocument   = 4 << 20   // bytes of one document
	maxSeparators = 400_000   // characters in one document that may start a node
)

// Parser reads the files of one render; its limits hold for all of them together.
type Parser struct {
	MaxObjects int // 0: no limit
	// Lenient reads as Helm does: of duplicate keys the last wins, and text is YAML
	// whatever its name. Otherwise duplicates are refused.
	Lenient bool

	nodes, objects int
}

// Parse returns the objects of a file, Lists flattened. A name that ends in .json
// is read as JSON, any other as a YAML stream of YAML 1.1 scalars, as kubectl does.
func (p *Parser) Parse(file string, data []byte) (out []object.Object, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, refuse(fault.Place{File: file}, "parse file: the parser gave up on it")
		}
	}()
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if at := invalidUTF8(data); at >= 0 {
		line := 1 + bytes.Count(data[:at], []byte("\n"))
		return nil, refuse(fault.Place{File: file, Line: line}, "the file is not UTF-8; save it as UTF-8")
	}
	if path.Ext(file) == ".json" && !p.Lenient {
		return p.parseJSON(file, data)
	}
	for _, d := range split(data) {
		objects, err := p.parseYAML(file, d)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// Of makes an object of decoded content after the checks that Parse makes.
// It takes content over.
func Of(content map[string]any, file string, line int) (object.Object, error) {
	place := fault.Place{File: file, Line: line}
	if err := check(content, place); err != nil {
		return object.Object{}, err
	}
	return object.New(&unstructured.Unstructured{Object: content}, file, line), nil
}

func refuse(place fault.Place, format string, args ...any) error {
	return fault.Refuse(fault.RenderFailed, place, format, args...)
}

func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// spend counts values against MaxNodes.
func (p *Parser) spend(place fault.Place, depth int) error {
	if p.nodes++; p.nodes > MaxNodes {
		return refuse(place, "the manifests hold more than %d values, aliases expanded; split them or drop the aliases", MaxNodes)
	}
	if depth > MaxDepth {
		return refuse(place, "values are nested deeper than %d levels", MaxDepth)
	}
	return nil
}

// value is a decoded map with the line it begins on and those of its items.
type value struct {
	content map[string]any
	line    int
	items   []int // lines of content["items"], when known
}

// flatten turns a List into its items, nested Lists too, and checks every object.
func (p *Parser) flatten(file string, v value) ([]object.Object, error) {
	kind, _ := v.content["kind"].(string)
	items, isList := v.content["items"].([]any)
	if !isList || !strings.HasSuffix(kind, "List") || nameOf(v.content) != "" {
		o, err := Of(v.content, file, v.line)
		if err != nil {
			return nil, err
		}
		if p.objects++; p.MaxObjects > 0 && p.objects > p.MaxObjects {
			return nil, refuse(o.Place(), "the source holds more than %d objects; split the Application", p.MaxObjects)
		}
		return []object.Object{o}, nil
	}
	var out []object.Object
	for i, item := range items {
		line := v.line
		if i < len(v.items) {
			line = v.items[i]
		}
		content, ok := item.(map[string]any)
		if !ok {
			return nil, refuse(fault.Place{File: file, Line: line, Field: fmt.Sprintf("items[%d]", i)}, "an item of a %s must be an object", kind)
		}
		inherit(content, v.content, kind)
		objects, err := p.flatten(file, value{content: content, line: line})
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// inherit gives an item of a typed list (ConfigMapList) the kind it may leave out.
func inherit(item, list map[string]any, kind string) {
	if _, has := item["kind"]; has || kind == "List" {
		return
	}
	item["kind"] = strings.TrimSuffix(kind, "List")
	if _, has := item["apiVersion"]; !has {
		item["apiVersion"] = list["apiVersion"]
	}
}

func nameOf(content map[string]any) string {
	metadata, _ := content["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	return name
}

// Rendered is what a renderer in a child gives: an object as JSON and its file.
type Rendered struct {
	File    string          `json:"file,omitempty"`
	Content json.RawMessage `json:"content"`
	// Standing is the content without what was drawn at random; empty: the same.
	Standing json.RawMessage `json:"standing,omitempty"`
}

// Object decodes r and makes the checks that Parse makes.
func (r Rendered) Object() (object.Object, error) {
	var content map[string]any
	if err := utiljson.Unmarshal(r.Content, &content); err != nil {
		return object.Object{}, refuse(fault.Place{File: r.File}, "a rendered object is not JSON")
	}
	o, err := Of(content, r.File, 0)
	if err != nil || len(r.Standing) == 0 {
		return o, err
	}
	var standing map[string]any
	if err := utiljson.Unmarshal(r.Standing, &standing); err != nil {
		return object.Object{}, refuse(o.Place(), "the standing content of a rendered object is not JSON")
	}
	return o.Standing(standing), nil
}
