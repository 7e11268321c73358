package cluster

import (
	"encoding/json"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// openAPI is the part of an OpenAPI v3 schema that Kubernetes publishes and a
// local check can judge.
type openAPI struct {
	Ref        string              `json:"$ref"`
	Type       string              `json:"type"`
	Format     string              `json:"format"`
	Properties map[string]*openAPI `json:"properties"`
	Additional json.RawMessage     `json:"additionalProperties"`
	Items      *openAPI            `json:"items"`
	Required   []string            `json:"required"`
	Enum       []any               `json:"enum"`
	Default    any                 `json:"default"`
	AllOf      []*openAPI          `json:"allOf"`
	AnyOf      []*openAPI          `json:"anyOf"`
	OneOf      []*openAPI          `json:"oneOf"`
	Pattern    string              `json:"pattern"`
	Minimum    *float64            `json:"minimum"`
	Maximum    *float64            `json:"maximum"`
	MinLength  *int                `json:"minLength"`
	MaxLength  *int                `json:"maxLength"`
	MinItems   *int                `json:"minItems"`
	MaxItems   *int                `json:"maxItems"`

	IntOrString bool     `json:"x-kubernetes-int-or-string"`
	Preserve    bool     `json:"x-kubernetes-preserve-unknown-fields"`
	Embedded    bool     `json:"x-kubernetes-embedded-resource"`
	ListType    string   `json:"x-kubernetes-list-type"`
	ListKeys    []string `json:"x-kubernetes-list-map-keys"`
	Kinds       []struct {
		Group   string `json:"group"`
		Version string `json:"version"`
		Kind    string `json:"kind"`
	} `json:"x-kubernetes-group-version-kind"`
}

// node is a compiled schema: references are pointers, and what nearly no
// schema has is set aside in bounds.
type node struct {
	kind     string // of JSON; empty: any
	format   string
	fields   map[string]*node
	values   *node // of a map
	items    *node
	required []string
	closed   bool // a field that is not in fields is unknown
	embedded bool
	set      bool
	keys     []string // of a list that is a map
	preset   any
	bounds   *bounds
}

type bounds struct {
	enum                 []any
	pattern              *regexp.Regexp
	min, max             *float64
	minLength, maxLength *int
	minItems, maxItems   *int
	all, any             []*node
}

// compile gives the schemas of the kinds of one group version.
func compile(gv schema.GroupVersion, schemas map[string]*openAPI) map[string]*node {
	c := compiler{schemas: schemas, done: map[string]*node{}}
	kinds := map[string]*node{}
	for name, s := range schemas {
		if s == nil {
			continue
		}
		for _, k := range s.Kinds {
			// DeleteOptions and its like name every group; only a kind proper has metadata.
			if k.Group == gv.Group && k.Version == gv.Version && s.Properties["metadata"] != nil {
				kinds[k.Kind] = c.named(name)
			}
		}
	}
	return kinds
}

type compiler struct {
	schemas map[string]*openAPI
	done    map[string]*node
}

var anything = &node{}

func (c compiler) named(name string) *node {
	if n, ok := c.done[name]; ok {
		return n
	}
	s := c.schemas[name]
	if s == nil {
		return anything
	}
	n := &node{}
	c.done[name] = n // before its fields: schemas may be recursive
	c.fill(n, s)
	return n
}

func (c compiler) node(s *openAPI) *node {
	if s == nil {
		return anything
	}
	if s.Ref != "" {
		return c.named(strings.TrimPrefix(s.Ref, "#/components/schemas/"))
	}
	// Kubernetes wraps a reference to hang a default or a description on it.
	if len(s.AllOf) == 1 && s.AllOf[0] != nil && s.AllOf[0].Ref != "" && s.Properties == nil {
		return c.node(s.AllOf[0])
	}
	n := &node{}
	c.fill(n, s)
	return n
}

func (c compiler) fill(n *node, s *openAPI) {
	n.kind, n.format, n.required, n.preset = s.Type, s.Format, s.Required, s.Default
	n.embedded, n.set = s.Embedded, s.ListType == "set"
	if s.ListType == "map" {
		n.keys = s.ListKeys
	}
	if s.IntOrString {
		n.kind, n.format = "", "int-or-string"
	}
	if len(s.Properties) > 0 {
		n.fields = make(map[string]*node, len(s.Properties))
		for name, property := range s.Properties {
			n.fields[name] = c.node(property)
		}
	}
	if s.Items != nil {
		n.items = c.node(s.Items)
	}
	n.values = c.additional(s.Additional)
	n.closed = n.fields != nil && n.values == nil && !s.Preserve && string(s.Additional) != "true"
	n.bounds = c.bounds(s)
}

func (c compiler) additional(raw json.RawMessage) *node {
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	s := &openAPI{}
	if json.Unmarshal(raw, s) != nil {
		return nil
	}
	return c.node(s)
}

// bounds is nil for the schemas, nearly all, that have none.
func (c compiler) bounds(s *openAPI) *bounds {
	b := bounds{enum: s.Enum, min: s.Minimum, max: s.Maximum, minLength: s.MinLength, maxLength: s.MaxLength,
		minItems: s.MinItems, maxItems: s.MaxItems}
	if s.Pattern != "" {
		b.pattern, _ = regexp.Compile(s.Pattern) // what Go cannot read, the API server judges
	}
	b.all = c.branches(s.AllOf)
	b.any = c.branches(append(append([]*openAPI(nil), s.AnyOf...), s.OneOf...))
	if len(s.AnyOf) > 0 && len(s.OneOf) > 0 {
		b.any = nil // one of each: rare, and left to the API server
	}
	if b.enum == nil && b.pattern == nil && b.min == nil && b.max == nil && b.minLength == nil && b.maxLength == nil &&
		b.minItems == nil && b.maxItems == nil && b.all == nil && b.any == nil {
		return nil
	}
	return &b
}

// branches never refuse unknown fields: beside them stands the schema that has the fields.
func (c compiler) branches(schemas []*openAPI) []*node {
	var out []*node
	for _, s := range schemas {
		n := *c.node(s)
		n.closed = false
		out = append(out, &n)
	}
	return out
}
