package generate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"
)

// documents are the mappings of a YAML or JSON text: each document is one, and each
// element of a document that is a list.
func documents(raw []byte) ([]map[string]any, error) {
	var all []map[string]any
	in := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for n := 1; ; n++ {
		text, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		value, err := document(text)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		found, err := mappingsOf(value)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		all = append(all, found...)
	}
}

func mappingsOf(value any) ([]map[string]any, error) {
	switch v := withoutNull(value).(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return []map[string]any{v}, nil
	case []any:
		var all []map[string]any
		for i, e := range v {
			m, ok := e.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("element %d is no mapping of parameters", i)
			}
			all = append(all, m)
		}
		return all, nil
	}
	return nil, errors.New("want a mapping of parameters, or a list of them")
}

var errAlias = errors.New("aliases are not accepted; write the value out")

// document reads one YAML document as JSON values. Aliases are refused before they
// are followed: a few lines of them are gigabytes.
func document(text []byte) (any, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return nil, err
	}
	if line := aliasIn(&node); line > 0 {
		return nil, fmt.Errorf("line %d: %w", line, errAlias)
	}
	asJSON, err := kyaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	var v any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &v); err != nil {
		return nil, err
	}
	return v, nil
}

func aliasIn(n *yaml.Node) (line int) {
	if n.Kind == yaml.AliasNode {
		return n.Line
	}
	for _, c := range n.Content {
		if line := aliasIn(c); line > 0 {
			return line
		}
	}
	return 0
}
