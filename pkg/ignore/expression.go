package ignore

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/fields"
	"github.com/plumb-gitops/plumb/pkg/object"
)

const (
	// maxCost bounds one evaluation, in steps of CEL: about a tenth of a second.
	maxCost = 1_000_000
	// maxPointers bounds what one expression may give.
	maxPointers = 1000
)

// expression is one CEL expression over the variable object.
type expression struct {
	field   string
	program cel.Program
}

// environment is cel-go with optional values, lists and two-variable
// comprehensions, and pointer(list): a JSON pointer of names and indexes, escaped. Its
// strings are left out: replace takes its memory before its cost is counted.
func environment() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("object", cel.DynType),
		cel.OptionalTypes(), ext.Lists(ext.ListsMaxRangeSize(maxPointers)), ext.TwoVarComprehensions(),
		cel.Function("pointer", cel.Overload("pointer_list", []*cel.Type{cel.ListType(cel.DynType)}, cel.StringType,
			cel.UnaryBinding(pointerOf))),
	)
}

func pointerOf(list ref.Val) ref.Val {
	tokens, err := list.ConvertToNative(reflect.TypeFor[[]any]())
	if err != nil {
		return types.NewErr("pointer() takes a list of names and indexes")
	}
	var p fields.Pointer
	for _, token := range tokens.([]any) {
		if v, is := token.(ref.Val); is {
			token = v.Value()
		}
		p = append(p, fmt.Sprint(token))
	}
	return types.String(p.String())
}

func newExpression(text, field string) (expression, error) {
	env, err := environment()
	if err != nil {
		return expression{}, fmt.Errorf("set up CEL: %w", err)
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return expression{}, refuse(field, "is no CEL expression over object: %v", issues.Err())
	}
	if t := checked.OutputType(); !gives(t) {
		return expression{}, refuse(field, "gives %s; want a JSON pointer or a list of them", t)
	}
	program, err := env.Program(checked, cel.CostLimit(maxCost))
	if err != nil {
		return expression{}, refuse(field, "cannot be evaluated: %v", err)
	}
	return expression{field: field, program: program}, nil
}

func gives(t *cel.Type) bool {
	wanted := []*cel.Type{cel.StringType, cel.DynType, cel.ListType(cel.StringType), cel.ListType(cel.DynType)}
	return slices.ContainsFunc(wanted, t.IsExactType)
}

func (e expression) pointers(u *unstructured.Unstructured) ([]Pointer, error) {
	value, _, err := e.program.Eval(map[string]any{"object": u.Object})
	if err != nil {
		return nil, e.wrong(u, "%s; guard what need not be there, as in object.?spec.?replicas or has(object.spec)", reason(err))
	}
	var texts []string
	if one, is := value.Value().(string); is {
		texts = []string{one}
	} else if many, err := value.ConvertToNative(reflect.TypeFor[[]string]()); err == nil {
		texts = many.([]string)
	} else {
		return nil, e.wrong(u, "gives %s; want a JSON pointer or a list of them", value.Type().TypeName())
	}
	if len(texts) > maxPointers {
		return nil, e.wrong(u, "gives %d JSON pointers, at most %d are allowed", len(texts), maxPointers)
	}
	var out []Pointer
	for _, text := range texts {
		p, err := parse(text)
		if err != nil {
			return nil, e.wrong(u, "gives a JSON pointer that does not work: %v", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// reason is an evaluation error without what the expression made of the object,
// which may be a secret.
func reason(err error) string {
	for _, known := range []string{"no such key", "no such attribute", "index out of bounds", "cost limit exceeded", "no such overload", "no matching overload"} {
		if strings.Contains(err.Error(), known) {
			return known
		}
	}
	return "the evaluation failed"
}

func (e expression) wrong(u *unstructured.Unstructured, format string, args ...any) error {
	place := fault.Place{Object: object.IDOf(u).Human(), Field: e.field}
	return fault.Refuse(fault.SourceRefused, place, format, args...)
}

// parse reads a pointer and refuses one to what makes the object this one, and
// Plumb's own. Its errors do not quote the text: an expression may make it of a secret.
func parse(text string) (Pointer, error) {
	p, err := fields.ParsePointer(text)
	if err != nil {
		return nil, err
	}
	for _, kept := range []Pointer{{"apiVersion"}, {"kind"}, {"metadata", "name"}, {"metadata", "namespace"},
		{"metadata", "annotations", v1alpha1.OwnerAnnotation}, {"metadata", "labels", v1alpha1.OwnerLabel}} {
		n := min(len(p), len(kept))
		if slices.Equal(p[:n], kept[:n]) {
			return nil, fmt.Errorf("covers %s, which cannot be ignored; name single fields", kept)
		}
	}
	if len(p) > 2 && p[0] == "metadata" && strings.HasPrefix(p[2], v1alpha1.Group+"/") {
		return nil, fmt.Errorf("covers an annotation or label of Plumb's own, which cannot be ignored")
	}
	return p, nil
}
