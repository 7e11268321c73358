package generate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

const (
	// maxOutput is how much one template may write, in bytes.
	maxOutput = 256 << 10
	// maxSteps is how many functions and rounds of a range one template may take.
	maxSteps = 10_000
	// maxAllOutput and maxAllSteps are what all templates of an expansion may.
	maxAllOutput = 64 << 20
	maxAllSteps  = 1_000_000
	// maxNesting is how deep what a template stands in may nest.
	maxNesting = 100
)

// budget is what is left to all templates and files of an expansion.
type budget struct{ steps, output, files int }

func newBudget() *budget { return &budget{steps: maxAllSteps, output: maxAllOutput, files: maxFiles} }

// templates carries out the templates of one set of parameters.
type templates struct {
	ctx    context.Context
	values map[string]any
	left   *budget
}

func templated(s string) bool { return strings.Contains(s, "{{") }

// each carries out every string within v and leaves all else as it is, so that no
// parameter can become more than the text of its own field.
func (t templates) each(place string, v any) (any, error) { return t.within(place, v, maxNesting) }

func (t templates) within(place string, v any, depth int) (any, error) {
	if depth == 0 {
		return nil, fmt.Errorf("%s: nested deeper than %d", place, maxNesting)
	}
	switch v := v.(type) {
	case string:
		return t.text(place, v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			filled, err := t.within(place+"."+key, v[key], depth-1)
			if err != nil {
				return nil, err
			}
			out[key] = filled
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			filled, err := t.within(fmt.Sprintf("%s[%d]", place, i), inner, depth-1)
			if err != nil {
				return nil, err
			}
			out[i] = filled
		}
		return out, nil
	}
	return v, nil
}

// text carries out one template; the error names the place.
func (t templates) text(place, text string) (string, error) {
	if !templated(text) {
		return text, nil
	}
	run := &run{ctx: t.ctx, left: maxSteps, all: t.left}
	parsed, err := run.parse(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", place, plainError(err))
	}
	out := &bounded{all: t.left}
	if err := parsed.Execute(out, t.values); err != nil {
		return "", fmt.Errorf("%s: %w", place, plainError(err))
	}
	return out.String(), nil
}

// plainError cuts what text/template says before the position.
func plainError(err error) error {
	text := err.Error()
	if rest, ok := strings.CutPrefix(text, "template: :"); ok {
		return errors.New("template line " + rest)
	}
	return err
}

// bounded is a text that ends with an error when it grows too long.
type bounded struct {
	strings.Builder
	all *budget
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("the template writes more than %d bytes", maxOutput)
	}
	if b.all.output -= len(p); b.all.output < 0 {
		return 0, fmt.Errorf("the templates of the set write more than %d bytes", maxAllOutput)
	}
	return b.Builder.Write(p)
}

// run is the execution of one template.
type run struct {
	ctx  context.Context
	left int
	all  *budget
}

var (
	errSteps    = fmt.Errorf("the template takes more than %d steps", maxSteps)
	errAllSteps = fmt.Errorf("the templates of the set take more than %d steps", maxAllSteps)
)

// step is taken by every function and every round of a range.
func (r *run) step() error {
	if r.left--; r.left < 0 {
		return errSteps
	}
	if r.all.steps--; r.all.steps < 0 {
		return errAllSteps
	}
	return r.ctx.Err()
}

// round is the function that parse puts at the start of every round.
const round = "__round"

func (r *run) parse(text string) (*template.Template, error) {
	functions := r.functions()
	functions[round] = func() (string, error) { return "", r.step() }
	t, err := template.New("").Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return nil, err
	}
	if len(t.Templates()) > 1 || t.Tree == nil {
		return nil, errDefine
	}
	marker, err := template.New("").Funcs(functions).Parse("{{" + round + "}}")
	if err != nil {
		return nil, err
	}
	c := checker{tick: marker.Root.Nodes[0], known: functions}
	return t, c.list(t.Root)
}

var errDefine = errors.New("define, block and template are not available")

// builtins are the functions of text/template that are left as they are. Of the
// others, call runs values, and html, js and urlquery grow without bound in a chain.
var builtins = []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "slice"}

// checker refuses what could run on, and makes every round of a range a step.
type checker struct {
	tick  parse.Node
	known template.FuncMap
}

func (c checker) list(l *parse.ListNode) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if err := c.node(n); err != nil {
			return err
		}
	}
	return nil
}

func (c checker) node(n parse.Node) error {
	switch n := n.(type) {
	case *parse.TemplateNode:
		return errDefine
	case *parse.ActionNode:
		return c.pipe(n.Pipe)
	case *parse.IfNode:
		return c.branch(&n.BranchNode)
	case *parse.WithNode:
		return c.branch(&n.BranchNode)
	case *parse.RangeNode:
		if err := c.branch(&n.BranchNode); err != nil {
			return err
		}
		n.List.Nodes = append([]parse.Node{c.tick}, n.List.Nodes...)
	}
	return nil
}

func (c checker) branch(b *parse.BranchNode) error {
	return errors.Join(c.pipe(b.Pipe), c.list(b.List), c.list(b.ElseList))
}

func (c checker) pipe(p *parse.PipeNode) error {
	if p == nil {
		return nil
	}
	for _, command := range p.Cmds {
		for _, arg := range command.Args {
			if err := c.argument(arg); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c checker) argument(n parse.Node) error {
	switch n := n.(type) {
	case *parse.PipeNode:
		return c.pipe(n)
	case *parse.ChainNode:
		return c.argument(n.Node)
	case *parse.IdentifierNode:
		if _, ours := c.known[n.Ident]; (!ours && !slices.Contains(builtins, n.Ident)) || n.Ident == round {
			return fmt.Errorf("function %q is not available", n.Ident)
		}
	}
	return nil
}
