package argocd

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"
)

// translator turns the templates of Argo CD's sets into those of ours.
type translator struct {
	goTemplate    bool
	clusters, git bool     // which generators the set has
	prefixes      []string // pathParamPrefix of its git generators
	moved         bool     // the dot is no longer all parameters
}

// each translates every text within v. The error names the place and the template.
func (t translator) each(place string, v any) (any, error) {
	switch v := v.(type) {
	case string:
		out, err := t.text(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inner, err := t.each(place+"."+name, v[name])
			if err != nil {
				return nil, err
			}
			out[name] = inner
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			inner, err := t.each(fmt.Sprintf("%s[%d]", place, i), v[i])
			if err != nil {
				return nil, err
			}
			out[i] = inner
		}
		return out, nil
	}
	return v, nil
}

func (t translator) text(s string) (string, error) {
	if !strings.Contains(s, "{{") {
		return s, nil
	}
	if !t.goTemplate {
		return t.plain(s)
	}
	tree := parse.New("template")
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(s, "{{", "}}", map[string]*parse.Tree{}); err != nil {
		return "", fmt.Errorf("is no Go template: %v", err)
	}
	if err := t.list(tree.Root); err != nil {
		return "", err
	}
	return tree.Root.String(), nil
}

var (
	tag       = regexp.MustCompile(`\{\{\s*([^{}]*?)\s*\}\}`)
	parameter = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_./-]+)?(\[[0-9]+\])?$`)
	segment   = regexp.MustCompile(`^(.*)\[([0-9]+)\]$`)
)

// plain translates the templates that sets without goTemplate have: {{name}} alone.
func (t translator) plain(s string) (string, error) {
	var failed error
	out := tag.ReplaceAllStringFunc(s, func(found string) string {
		name := tag.FindStringSubmatch(found)[1]
		if !parameter.MatchString(name) {
			return `{{ "{{" }}` + strings.TrimPrefix(found, "{{") // Argo CD leaves it as it is
		}
		replaced, err := t.parameter(name)
		if err != nil {
			failed = err
		}
		return "{{ " + replaced + " }}"
	})
	return out, failed
}

func (t translator) parameter(name string) (string, error) {
	if m := segment.FindStringSubmatch(name); m != nil {
		ident, err := t.ident(append(strings.Split(m[1], "."), "segments"))
		return "index " + dotted(ident) + " " + m[2], err
	}
	parts := strings.Split(name, ".")
	if t.clusters && len(parts) > 2 && parts[0] == "metadata" {
		parts = append(parts[:2], strings.Join(parts[2:], ".")) // the name of a label holds dots
	}
	if last := len(parts) - 1; t.git && parts[last] == "path" && last == t.prefixLength(parts) {
		parts = append(parts, "path")
	}
	ident, err := t.ident(parts)
	if err != nil {
		return "", err
	}
	return dotted(ident), nil
}

// prefixLength is how many parts come before path: one, where there is a prefix.
func (t translator) prefixLength(parts []string) int {
	if len(parts) > 1 && slices.Contains(t.prefixes, parts[0]) {
		return 1
	}
	return 0
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// dotted writes a place in the parameters; a name that is none in Go is looked up.
func dotted(ident []string) string {
	if ident[0] == normalizedName {
		return "normalize .cluster.name"
	}
	out := ""
	for i, part := range ident {
		if !identifier.MatchString(part) {
			if out == "" {
				out = "."
			}
			return fmt.Sprintf("index %s %s", out, quotedAll(ident[i:]))
		}
		out += "." + part
	}
	return out
}

func quotedAll(parts []string) string {
	var out []string
	for _, p := range parts {
		out = append(out, fmt.Sprintf("%q", p))
	}
	return strings.Join(out, " ")
}

// normalizedName stands for the name of a cluster as a DNS label, which a function
// gives here.
const normalizedName = "\x00normalized"

// ident translates a place in the parameters of Argo CD.
func (t translator) ident(parts []string) ([]string, error) {
	if t.git && len(parts) > 1 && slices.Contains(t.prefixes, parts[0]) && parts[1] == "path" {
		return append([]string{parts[0]}, parts[2:]...), nil // pathParameter takes the place of path
	}
	if !t.clusters {
		return parts, nil
	}
	switch {
	case parts[0] == "name" && len(parts) == 1:
		return []string{"cluster", "name"}, nil
	case parts[0] == "nameNormalized":
		return []string{normalizedName}, nil
	case parts[0] == "metadata" && len(parts) > 1 && parts[1] == "labels":
		return append([]string{"cluster"}, parts[1:]...), nil
	case parts[0] == "server", parts[0] == "metadata", parts[0] == "project":
		return nil, fmt.Errorf("the parameter %s of clusters has no counterpart; use a label of the cluster", strings.Join(parts, "."))
	}
	return parts, nil
}

// functions are those of templates here, by their names in Argo CD (sprig).
var functions = map[string]string{
	"lower": "lower", "upper": "upper", "trim": "trim", "trimPrefix": "trimPrefix", "trimSuffix": "trimSuffix", "replace": "replace",
	"trunc": "trunc", "normalize": "normalize", "quote": "quote", "toJson": "toJson", "splitList": "split", "join": "join",
	"index": "index", "hasKey": "has", "get": "get", "default": "default", "contains": "contains", "hasPrefix": "hasPrefix",
	"hasSuffix": "hasSuffix", "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "and": "and", "or": "or",
	"not": "not", "len": "len", "slice": "slice", "print": "print", "println": "println", "printf": "printf", "toString": "print",
}

// list translates the nodes of a template in place.
func (t translator) list(l *parse.ListNode) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if err := t.node(n); err != nil {
			return err
		}
	}
	return nil
}

func (t translator) node(n parse.Node) error {
	switch n := n.(type) {
	case *parse.ActionNode:
		return t.pipe(n.Pipe)
	case *parse.IfNode:
		return t.branch(&n.BranchNode)
	case *parse.WithNode:
		return t.branch(&n.BranchNode)
	case *parse.RangeNode:
		return t.branch(&n.BranchNode)
	case *parse.TemplateNode:
		return fmt.Errorf("define and template have no counterpart")
	}
	return nil
}

func (t translator) branch(b *parse.BranchNode) error {
	if err := t.pipe(b.Pipe); err != nil {
		return err
	}
	inner := t
	if b.NodeType != parse.NodeIf {
		inner.moved = true
	}
	if err := inner.list(b.List); err != nil {
		return err
	}
	return t.list(b.ElseList)
}

func (t translator) pipe(p *parse.PipeNode) error {
	if p == nil {
		return nil
	}
	for _, command := range p.Cmds {
		for i, arg := range command.Args {
			replaced, err := t.arg(arg)
			if err != nil {
				return err
			}
			command.Args[i] = replaced
		}
		if name, is := command.Args[0].(*parse.IdentifierNode); is && name.Ident == "get" && len(command.Args) == 3 {
			command.Args = append(command.Args, &parse.StringNode{NodeType: parse.NodeString, Quoted: `""`})
		}
	}
	return nil
}

func (t translator) arg(n parse.Node) (parse.Node, error) {
	switch n := n.(type) {
	case *parse.IdentifierNode:
		ours, known := functions[n.Ident]
		if !known {
			return nil, fmt.Errorf("the function %s has no counterpart; see docs/applicationset.md", n.Ident)
		}
		n.Ident = ours
	case *parse.FieldNode:
		if t.moved {
			return n, nil
		}
		ident, err := t.ident(n.Ident)
		if err != nil {
			return nil, err
		}
		if n.Ident = ident; ident[0] == normalizedName {
			return normalizedCluster(), nil
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			ident, err := t.ident(n.Ident[1:])
			if err != nil {
				return nil, err
			}
			if ident[0] == normalizedName {
				return normalizedCluster(), nil
			}
			n.Ident = append([]string{"$"}, ident...)
		}
	case *parse.PipeNode:
		return n, t.pipe(n)
	case *parse.ChainNode:
		inner, err := t.arg(n.Node)
		n.Node = inner
		return n, err
	}
	return n, nil
}

// normalizedCluster is (normalize .cluster.name).
func normalizedCluster() parse.Node {
	field := &parse.FieldNode{NodeType: parse.NodeField, Ident: []string{"cluster", "name"}}
	command := &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{parse.NewIdentifier("normalize"), field}}
	return &parse.PipeNode{NodeType: parse.NodePipe, Cmds: []*parse.CommandNode{command}}
}
