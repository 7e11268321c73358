package decrypt

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// parseEnv reads KEY=value lines, the block as keys that begin with sops_.
func parseEnv(data []byte) (document, bool, error) {
	tree := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	flat := map[string]string{}
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return document{}, false, nil
		}
		value = strings.ReplaceAll(value, `\n`, "\n")
		if name, ours := strings.CutPrefix(key, "sops_"); ours {
			flat[name] = value
			continue
		}
		k, v := textNode(key), textNode(value)
		k.Line, v.Line = i+1, i+1
		tree.Content = append(tree.Content, k, v)
	}
	meta, err := unflatten(flat)
	if err != nil {
		return document{}, false, err
	}
	return document{meta: meta, trees: []*yaml.Node{tree}, emit: emitEnv}, signed(meta), nil
}

func emitEnv(trees []*yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	content := trees[0].Content
	for i := 0; i+1 < len(content); i += 2 {
		value, err := decode(content[i+1])
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%s=%s\n", content[i].Value, strings.ReplaceAll(string(macBytes(value)), "\n", `\n`))
	}
	return out.Bytes(), nil
}

// parseINI reads sections of key = value lines, the block as the section sops.
func parseINI(data []byte) (document, bool, error) {
	tree := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	flat := map[string]string{}
	section := ""
	var into *yaml.Node
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == ';' || line[0] == '#':
			continue
		case line[0] == '[' && line[len(line)-1] == ']':
			section = strings.TrimSpace(line[1 : len(line)-1])
			into = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			if section != "sops" {
				tree.Content = append(tree.Content, textNode(section), into)
			}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || into == nil {
			return document{}, false, nil
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if strings.HasPrefix(value, "`") || strings.HasPrefix(value, `"`) {
			return document{}, false, fmt.Errorf("line %d: quoted values of ini files are not read; encrypt the file as binary", i+1)
		}
		if section == "sops" {
			flat[key] = strings.ReplaceAll(value, `\n`, "\n")
			continue
		}
		v := textNode(value)
		v.Line = i + 1
		into.Content = append(into.Content, textNode(key), v)
	}
	meta, err := unflatten(flat)
	if err != nil {
		return document{}, false, err
	}
	return document{meta: meta, trees: []*yaml.Node{tree}, emit: emitINI}, signed(meta), nil
}

func emitINI(trees []*yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	sections := trees[0].Content
	for i := 0; i+1 < len(sections); i += 2 {
		fmt.Fprintf(&out, "[%s]\n", sections[i].Value)
		content := sections[i+1].Content
		for j := 0; j+1 < len(content); j += 2 {
			value, err := decode(content[j+1])
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&out, "%s = %s\n", content[j].Value, quoteINI(string(macBytes(value))))
		}
	}
	return out.Bytes(), nil
}

// quoteINI quotes as gopkg.in/ini.v1 does, with which sops writes.
func quoteINI(s string) string {
	switch {
	case strings.ContainsAny(s, "\n`"):
		return `"""` + s + `"""`
	case strings.ContainsAny(s, "#;"):
		return "`" + s + "`"
	case strings.TrimSpace(s) != s:
		return `"` + s + `"`
	}
	return s
}

// unflatten undoes what sops/v3/stores does to metadata in flat formats:
// age__list_0__map_enc is age[0].enc.
func unflatten(flat map[string]string) (*yaml.Node, error) {
	root := map[string]any{}
	for name, value := range flat {
		at := root
		parts := strings.Split(strings.ReplaceAll(name, "__list_", "__map_#"), "__map_")
		for _, part := range parts[:len(parts)-1] {
			next, ok := at[part].(map[string]any)
			if !ok {
				if _, taken := at[part]; taken {
					return nil, errors.New("its sops metadata contradict themselves")
				}
				next = map[string]any{}
				at[part] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = value
	}
	n := &yaml.Node{}
	if err := n.Encode(listsOf(root)); err != nil {
		return nil, errors.New("its sops metadata cannot be read")
	}
	return n, nil
}

// listsOf turns maps whose keys are #0, #1, … into lists.
func listsOf(m map[string]any) any {
	for key, value := range m {
		if below, ok := value.(map[string]any); ok {
			m[key] = listsOf(below)
		}
	}
	var list []any
	for {
		item, ok := m["#"+strconv.Itoa(len(list))]
		if !ok {
			break
		}
		list = append(list, item)
	}
	if len(list) > 0 && len(list) == len(m) {
		return list
	}
	return m
}
