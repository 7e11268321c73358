package decrypt

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// format reads a file. ok is false for one that SOPS has not encrypted.
type format struct {
	parse func(data []byte) (d document, ok bool, err error)
}

// formatOf goes by the extension, as sops does, else by what the file looks like.
func formatOf(name string, data []byte) format {
	switch path.Ext(name) {
	case ".yaml", ".yml":
		return format{parseYAML}
	case ".json":
		return format{func(b []byte) (document, bool, error) { return parseJSON(b, false) }}
	case ".env":
		return format{parseEnv}
	case ".ini":
		return format{parseINI}
	}
	text := append([]byte("\n"), data...)
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")):
		return format{func(b []byte) (document, bool, error) { return parseJSON(b, true) }}
	case bytes.Contains(text, []byte("\nsops_mac=")):
		return format{parseEnv}
	case bytes.Contains(text, []byte("\n[sops]")):
		return format{parseINI}
	}
	return format{parseYAML}
}

// take removes the sops block of a top-level map.
func take(m *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == "sops" && m.Content[i].Kind == yaml.ScalarNode && m.Content[i+1].Kind == yaml.MappingNode {
			meta := m.Content[i+1]
			m.Content = append(m.Content[:i:i], m.Content[i+2:]...)
			return meta
		}
	}
	return nil
}

// signed is true for a sops block, and not for some other map of that name.
func signed(meta *yaml.Node) bool {
	if meta == nil {
		return false
	}
	for i := 0; i+1 < len(meta.Content); i += 2 {
		if meta.Content[i].Value == "mac" {
			return strings.HasPrefix(meta.Content[i+1].Value, mark)
		}
	}
	return false
}

// parseYAML reads a stream of documents, of which each has the block. What is not
// YAML is left to its reader: a template may hold anything.
func parseYAML(data []byte) (document, bool, error) {
	d := document{emit: emitYAML}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		if err := decoder.Decode(&n); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return document{}, false, nil
		}
		if len(n.Content) != 1 || n.Content[0].Kind != yaml.MappingNode {
			if len(d.trees) == 0 {
				return document{}, false, nil
			}
			return document{}, false, errors.New("one of its documents is not a map")
		}
		tree := n.Content[0]
		meta := take(tree)
		if len(d.trees) == 0 {
			d.meta = meta
		}
		d.trees = append(d.trees, tree)
	}
	return d, signed(d.meta), nil
}

func emitYAML(trees []*yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	for _, tree := range trees {
		strip(tree)
		if err := encoder.Encode(tree); err != nil {
			return nil, errors.New("the plaintext cannot be written as YAML")
		}
	}
	if err := encoder.Close(); err != nil {
		return nil, errors.New("the plaintext cannot be written as YAML")
	}
	return out.Bytes(), nil
}

// strip drops comments, of which some are encrypted.
func strip(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	for _, c := range n.Content {
		strip(c)
	}
}

// parseJSON reads one JSON object. With binary, one that holds nothing but data is
// the envelope of a file of any form.
func parseJSON(data []byte, binary bool) (document, bool, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	tree, err := jsonNode(decoder, 0)
	if err != nil || tree.Kind != yaml.MappingNode {
		return document{}, false, nil
	}
	d := document{meta: take(tree), trees: []*yaml.Node{tree}, emit: emitJSON}
	if binary && len(tree.Content) == 2 && tree.Content[0].Value == "data" {
		d.emit = emitBinary
	}
	return d, signed(d.meta), nil
}

func jsonNode(decoder *json.Decoder, depth int) (*yaml.Node, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}
	switch t := token.(type) {
	case json.Delim:
		if depth > maxDepth {
			return nil, errors.New("nested too deeply")
		}
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if t == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for decoder.More() {
			item, err := jsonNode(decoder, depth+1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
		}
		_, err := decoder.Token()
		return n, err
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
		if _, err := t.Int64(); err == nil {
			n.Tag = "!!int"
		}
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(t)
	case nil:
		n.Tag, n.Value = "!!null", "null"
	case string:
		n.Value = t
	}
	return n, nil
}

func emitJSON(trees []*yaml.Node) ([]byte, error) {
	var out, pretty bytes.Buffer
	if err := writeJSON(&out, trees[0]); err != nil {
		return nil, err
	}
	if err := json.Indent(&pretty, out.Bytes(), "", "  "); err != nil {
		return nil, errors.New("the plaintext cannot be written as JSON")
	}
	return append(pretty.Bytes(), '\n'), nil
}

func writeJSON(out *bytes.Buffer, n *yaml.Node) error {
	ends := map[yaml.Kind]string{yaml.MappingNode: "{}", yaml.SequenceNode: "[]"}[n.Kind]
	if ends == "" {
		return writeScalar(out, n)
	}
	out.WriteByte(ends[0])
	for i, item := range n.Content {
		switch {
		case i == 0:
		case n.Kind == yaml.MappingNode && i%2 == 1:
			out.WriteByte(':')
		default:
			out.WriteByte(',')
		}
		if err := writeJSON(out, item); err != nil {
			return err
		}
	}
	out.WriteByte(ends[1])
	return nil
}

func writeScalar(out *bytes.Buffer, n *yaml.Node) error {
	value, err := decode(n)
	if err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return errors.New("the plaintext cannot be written as JSON")
	}
	out.Write(text)
	return nil
}

func emitBinary(trees []*yaml.Node) ([]byte, error) {
	value, err := decode(trees[0].Content[1])
	if err != nil {
		return nil, err
	}
	text, ok := value.(string)
	if !ok {
		return nil, errors.New("the data of its envelope are not text")
	}
	return []byte(text), nil
}
