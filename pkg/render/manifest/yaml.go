package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// document is one part of a YAML stream and the count of lines before it.
type document struct {
	text   []byte
	before int
}

// split cuts a stream at its document markers. YAML 1.2 (9.1.2) lets "---" at the
// start of a line be nothing else, whatever scalar it interrupts. Documents are
// parsed one by one so that a parser never holds the nodes of a whole file.
func split(data []byte) []document {
	var out []document
	start, line, first := 0, 0, 0
	for at := 0; at < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if isMarker(data[at:end]) && !onlyPreamble(data[start:at]) {
			out = append(out, document{data[start:at], first})
			start, first = at, line
		}
		at = end
	}
	return append(out, document{data[start:], first})
}

func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// onlyPreamble is true for what may stand before the first marker of a document:
// blank lines, comments and directives.
func onlyPreamble(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

func (p *Parser) parseYAML(file string, d document) ([]object.Object, error) {
	place := fault.Place{File: file, Line: d.before + 1}
	if err := weigh(place, d.text); err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(d.text))
	var out []object.Object
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, syntax(file, d.before, err)
		}
		objects, err := p.document(file, d.before, &node)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
}

// weigh bounds what parsing a document may allocate before it is parsed: a node
// costs some 200 bytes, and no node starts without one of these characters.
func weigh(place fault.Place, text []byte) error {
	if len(text) > maxDocument {
		return refuse(place, "the document is larger than %d bytes; no object of that size can be stored", maxDocument)
	}
	n := 0
	for _, c := range text {
		switch c {
		case ',', '[', '{', '\n', ':', '-', '?':
			n++
		}
	}
	if n > maxSeparators {
		return refuse(place, "the document holds more than %d values; split it", maxSeparators)
	}
	return nil
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	// fromZero are the errors whose lines the library counts from zero.
	fromZero = regexp.MustCompile(`^did not find expected (<|node content|'-' indicator|key|',')`)
	quoted   = regexp.MustCompile("'[^']*'|\"[^\"]*\"|`[^`]*`")
)

// syntax gives a parser's error its place. Quoted parts may be values and go.
func syntax(file string, before int, err error) error {
	m := yamlLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	place, message := fault.Place{File: file, Line: before + 1}, "not YAML"
	if m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			place.Line = before + n
		}
		if fromZero.MatchString(m[2]) {
			place.Line++
		}
		message = quoted.ReplaceAllStringFunc(m[2], unlessMark)
	}
	return refuse(place, "parse YAML: %s", message)
}

// unlessMark hides a quoted part that is more than one of YAML's own marks.
func unlessMark(part string) string {
	if len(part) == len("'}'") && strings.Contains("-?:,[]{}", part[1:2]) {
		return part
	}
	return "…"
}

func (p *Parser) document(file string, before int, node *yaml.Node) ([]object.Object, error) {
	if node.Kind == yaml.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	if node.Kind == 0 || node.ShortTag() == "!!null" {
		return nil, nil
	}
	b := builder{p: p, file: file, before: before}
	if node.Kind != yaml.MappingNode {
		return nil, refuse(b.place(node), "this is not a Kubernetes object: the document is not a map")
	}
	content, err := b.mapping(node, 0)
	if err != nil {
		return nil, err
	}
	return p.flatten(file, value{content: content, line: before + node.Line, items: itemLines(node, before)})
}

func itemLines(node *yaml.Node, before int) []int {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value != "items" || node.Content[i+1].Kind != yaml.SequenceNode {
			continue
		}
		var lines []int
		for _, item := range node.Content[i+1].Content {
			lines = append(lines, before+item.Line)
		}
		return lines
	}
	return nil
}

// builder turns nodes into the values that JSON has.
type builder struct {
	p      *Parser
	file   string
	before int
}

func (b builder) place(n *yaml.Node) fault.Place {
	return fault.Place{File: b.file, Line: b.before + n.Line}
}

func (b builder) value(n *yaml.Node, depth int) (any, error) {
	if err := b.p.spend(b.place(n), depth); err != nil {
		return nil, err
	}
	switch n.Kind {
	case yaml.AliasNode:
		return b.value(n.Alias, depth+1)
	case yaml.MappingNode:
		return b.mapping(n, depth+1)
	case yaml.SequenceNode:
		return b.sequence(n, depth+1)
	}
	v, err := scalar(n)
	if err != nil {
		return nil, refuse(b.place(n), "%w", err)
	}
	return v, nil
}

func (b builder) sequence(n *yaml.Node, depth int) (any, error) {
	out := make([]any, 0, len(n.Content))
	for _, item := range n.Content {
		v, err := b.value(item, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (b builder) mapping(n *yaml.Node, depth int) (map[string]any, error) {
	out := make(map[string]any, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, node := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merges = append(merges, node)
			continue
		}
		name, err := keyOf(key)
		if err != nil {
			return nil, refuse(b.place(key), "%w", err)
		}
		if _, twice := out[name]; twice && !b.p.Lenient {
			return nil, refuse(b.place(key), "the key %s stands twice in this map; remove one of the two", clip(name))
		}
		if out[name], err = b.value(node, depth); err != nil {
			return nil, err
		}
	}
	for _, m := range merges {
		if err := b.merge(out, m, depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// merge adds the keys of "<<": what stands in the map itself wins, and among
// several maps the earlier.
func (b builder) merge(into map[string]any, n *yaml.Node, depth int) error {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			if err := b.merge(into, item, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return refuse(b.place(n), "a merge key takes a map or a sequence of maps")
	}
	if err := b.p.spend(b.place(n), depth); err != nil {
		return err
	}
	from, err := b.mapping(n, depth+1)
	if err != nil {
		return err
	}
	for key, v := range from {
		if _, has := into[key]; !has {
			into[key] = v
		}
	}
	return nil
}

func clip(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return fmt.Sprintf("%q", s)
}
