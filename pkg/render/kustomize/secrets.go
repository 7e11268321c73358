package kustomize

import (
	"encoding/base64"
	"strings"

	"go.yaml.in/yaml/v3"
)

// secrets collects, for masking an error, what may be a Secret's value among the
// files that were read: kustomize quotes patches, literals and whole documents.
func (f *filesystem) secrets() []string {
	var out []string
	for _, content := range f.files {
		_ = eachDocument(content, func(n *yaml.Node) error {
			out = append(out, sensitive(n, false, 0)...)
			return nil
		})
		for line := range strings.Lines(string(content)) { // of env files
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.ContainsAny(key, " :") {
				out = append(out, value)
			}
		}
	}
	return out
}

// sensitive returns the scalars below data, stringData and secretGenerator, and those
// of patches and inline documents, which may be of Secrets.
func sensitive(n *yaml.Node, inside bool, depth int) []string {
	n = follow(n)
	if depth > 64 {
		return nil
	}
	var out []string
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := strings.ToLower(follow(n.Content[i]).Value)
			secret := key == "data" || key == "stringdata" || key == "secretgenerator" || key == "literals" || key == "value"
			out = append(out, sensitive(n.Content[i+1], inside || secret, depth+1)...)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			out = append(out, sensitive(item, inside, depth+1)...)
		}
	case yaml.ScalarNode:
		if strings.Contains(n.Value, "\n") {
			_ = eachDocument([]byte(n.Value), func(inner *yaml.Node) error {
				out = append(out, sensitive(inner, inside, depth+1)...)
				return nil
			})
		}
		if inside {
			out = append(out, forms(n.Value)...)
		}
	}
	return out
}

// forms are the ways in which one value may appear.
func forms(s string) []string {
	out := []string{s}
	if _, value, ok := strings.Cut(s, "="); ok {
		out = append(out, value)
	}
	if plain, err := base64.StdEncoding.DecodeString(s); err == nil && len(plain) > 0 {
		out = append(out, string(plain))
	}
	for line := range strings.Lines(s) {
		out = append(out, strings.TrimSpace(line))
	}
	return append(out, base64.StdEncoding.EncodeToString([]byte(s)))
}
