package kustomize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// forbidden fields of a kustomization, with what to do about each. Names are compared
// as encoding/json does, which reads kustomizations: without regard to case.
var forbidden = map[string]string{
	"openapi":                     "a schema of one's own would change other renders; remove it",
	"helmCharts":                  "kustomize would run helm; make the chart an Application of its own",
	"helmGlobals":                 "kustomize would run helm; make the chart an Application of its own",
	"helmChartInflationGenerator": "kustomize would run helm; make the chart an Application of its own",
}

// Fields whose strings kustomize loads as files or, in resources and their like, as
// repositories.
var (
	paths   = []string{"resources", "bases", "components", "crds", "configurations"}
	plugins = []string{"generators", "transformers", "validators"}
	// loaded are the fields, at any depth, of everything else that names files.
	loaded = []string{"path", "paths", "files", "envs", "env", "targetFilePath", "patchesStrategicMerge"}
	// harmless are fields below which "path" is a place in an object.
	harmless = []string{"fieldSpecs", "fields", "targets", "source", "literals", "patch", "jsonOp"}
)

// scan refuses a kustomization, or a plugin's configuration, that would run or fetch
// something. Other files pass.
func (f *filesystem) scan(file string, content []byte) error {
	isPlugin := f.plugins[file]
	if !isPlugin && !slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(file)) {
		return nil
	}
	return eachDocument(content, func(node *yaml.Node) error {
		s := scanner{files: f, file: file}
		if isPlugin {
			return s.plugin(node, "")
		}
		return s.kustomization(node)
	})
}

// eachDocument leaves text that is not YAML to kustomize, which refuses it.
func eachDocument(content []byte, visit func(*yaml.Node) error) error {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var node yaml.Node
		if err := decoder.Decode(&node); errors.Is(err, io.EOF) || err != nil || len(node.Content) == 0 {
			return nil
		}
		if err := visit(node.Content[0]); err != nil {
			return err
		}
	}
}

// Limits of a scan, which follows aliases.
const (
	maxDepth   = 64
	maxVisited = 200_000
)

type scanner struct {
	files *filesystem
	file  string
	line  int // added to lines, for YAML within YAML
	depth int
}

func (s scanner) refuse(n *yaml.Node, field, problem string) error {
	return refuse(fault.Place{File: s.file, Line: s.line + n.Line, Field: field}, "%s", problem)
}

// each visits the pairs of a map, those of merge keys too.
func (s scanner) each(n *yaml.Node, visit func(key, value *yaml.Node) error) error {
	n = follow(n)
	if s.depth++; s.depth > maxDepth {
		return s.refuse(n, "", "nested too deeply")
	}
	if s.files.visited++; s.files.visited > maxVisited {
		return s.refuse(n, "", "the kustomizations hold too many values, aliases expanded")
	}
	if n.Kind == yaml.SequenceNode { // of a merge key
		for _, item := range n.Content {
			if err := s.each(item, visit); err != nil {
				return err
			}
		}
		return nil
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		key, value := follow(n.Content[i]), follow(n.Content[i+1])
		var err error
		if key.ShortTag() == "!!merge" {
			err = s.each(value, visit)
		} else {
			err = visit(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func named(key *yaml.Node, names []string) (string, bool) {
	for _, name := range names {
		if strings.EqualFold(key.Value, name) {
			return name, true
		}
	}
	return "", false
}

func (s scanner) kustomization(n *yaml.Node) error {
	return s.each(n, func(key, value *yaml.Node) error {
		for name, why := range forbidden {
			if strings.EqualFold(key.Value, name) {
				return s.refuse(key, name, "not allowed here: "+why)
			}
		}
		if field, ok := named(key, paths); ok {
			if s.files.plugins[path.Dir(s.file)] { // a directory of plugins
				return s.plugins(value, field)
			}
			return s.strings(value, field)
		}
		if field, ok := named(key, plugins); ok {
			return s.plugins(value, field)
		}
		return s.field(key, value, "")
	})
}

// field looks below any other field for strings that kustomize loads.
func (s scanner) field(key, value *yaml.Node, prefix string) error {
	field := strings.TrimPrefix(prefix+"."+key.Value, ".")
	if _, ok := named(key, harmless); ok {
		return nil
	}
	if _, ok := named(key, loaded); ok {
		return s.strings(value, field)
	}
	return s.below(value, field)
}

func (s scanner) below(n *yaml.Node, field string) error {
	if s.depth++; s.depth > maxDepth {
		return s.refuse(n, field, "nested too deeply")
	}
	n = follow(n)
	if n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			if err := s.below(item, fmt.Sprintf("%s[%d]", field, i)); err != nil {
				return err
			}
		}
		return nil
	}
	return s.each(n, func(key, value *yaml.Node) error { return s.field(key, value, field) })
}

// strings checks a string or a list of them.
func (s scanner) strings(n *yaml.Node, field string) error {
	n = follow(n)
	if n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			if err := s.strings(follow(item), fmt.Sprintf("%s[%d]", field, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if problem := remote(n.Value); n.Kind == yaml.ScalarNode && problem != "" {
		return s.refuse(n, field, problem)
	}
	if n.Kind == yaml.MappingNode {
		return s.below(n, field)
	}
	return nil
}

// plugins checks inline configurations now and marks files for when they are read.
func (s scanner) plugins(n *yaml.Node, field string) error {
	if err := s.strings(n, field); err != nil {
		return err
	}
	for i, item := range n.Content {
		item, name := follow(item), fmt.Sprintf("%s[%d]", field, i)
		if !strings.Contains(item.Value, "\n") && !strings.HasPrefix(item.Value, "{") {
			s.files.plugins[path.Join(path.Dir(s.file), item.Value)] = true
			continue
		}
		inner := s
		inner.line += item.Line
		err := eachDocument([]byte(item.Value), func(n *yaml.Node) error { return inner.plugin(n, name) })
		if err != nil {
			return err
		}
	}
	return nil
}

// plugin lets builtin ones pass: any other is a program or a container image.
func (s scanner) plugin(n *yaml.Node, field string) error {
	var version, kind string
	err := s.each(n, func(key, value *yaml.Node) error {
		switch key.Value {
		case "apiVersion":
			version = value.Value
		case "kind":
			kind = value.Value
		}
		return s.field(key, value, field)
	})
	switch {
	case err != nil:
		return err
	case version != "builtin":
		return s.refuse(n, field, fmt.Sprintf("%s is no builtin of kustomize: programs and containers are not run", kind))
	case kind == "HelmChartInflationGenerator":
		return s.refuse(n, field, "kustomize would run helm; make the chart an Application of its own")
	}
	return nil
}

var (
	scheme   = regexp.MustCompile(`(?i)^\s*(https?:|[a-z][a-z0-9+.-]*:(//|:))`)
	userHost = regexp.MustCompile(`^\s*[a-zA-Z][a-zA-Z0-9-]*@`)
	github   = regexp.MustCompile(`(?i)^\s*github\.com[/:]`)
	query    = regexp.MustCompile(`\?[^\n]*(ref|version|timeout|submodules)=`)
)

// remote says what is wrong with a string that kustomize would not find in the tree,
// whatever its file system: empty for one that stays local. "key=" of generators'
// files is looked past. What it misses a child still cannot fetch.
func remote(s string) string {
	if strings.Contains(strings.TrimSpace(s), "\n") {
		return "" // inline YAML
	}
	for _, s := range []string{s, s[strings.Index(s, "=")+1:]} {
		switch {
		case scheme.MatchString(s), userHost.MatchString(s), github.MatchString(s), query.MatchString(s):
			return "remote sources are not fetched; vendor the files into the repository"
		case strings.HasPrefix(strings.TrimSpace(s), "/"):
			return "the path is absolute; name it relative to this file"
		}
	}
	return ""
}
