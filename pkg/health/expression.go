package health

import (
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// maxText is the longest expression, as in the schema of the Application.
	maxText = 4096
	// maxCost bounds one evaluation, in steps of CEL: about ten milliseconds. It
	// runs for every event of an object.
	maxCost = 100_000
)

// expression is one CEL expression over the variable object; the zero value is none.
type expression struct {
	field   string
	program cel.Program
}

// environment is plain CEL with optional values. The string functions of cel-go
// are left out: their cost is counted after they made what they make.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(cel.Variable("object", cel.DynType), cel.OptionalTypes())
})

func newExpression(text, field string) (expression, error) {
	if text == "" {
		return expression{}, nil
	}
	if len(text) > maxText {
		return expression{}, refuse(field, "has %d bytes, at most %d are allowed", len(text), maxText)
	}
	env, err := environment()
	if err != nil {
		return expression{}, fmt.Errorf("set up CEL: %w", err)
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return expression{}, refuse(field, "is no CEL expression over object: %v", issues.Err())
	}
	// A field of the object may be a bool; that is seen when it is there.
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return expression{}, refuse(field, "gives %s; want true or false", t)
	}
	program, err := env.Program(checked, cel.CostLimit(maxCost))
	if err != nil {
		return expression{}, refuse(field, "cannot be evaluated: %v", err)
	}
	return expression{field: field, program: program}, nil
}

// holds says whether the expression is true of the object. The error names the
// field of the rule.
func (e expression) holds(u *unstructured.Unstructured) (bool, error) {
	if e.program == nil {
		return false, nil
	}
	value, _, err := e.program.Eval(map[string]any{"object": u.Object})
	if err != nil {
		return false, fmt.Errorf("%s: %s", e.field, reason(err))
	}
	is, isBool := value.Value().(bool)
	if !isBool {
		return false, fmt.Errorf("%s gives %s, not true or false", e.field, value.Type().TypeName())
	}
	return is, nil
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
