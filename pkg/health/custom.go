package health

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Rules judge objects by the spec.health of an Application, and by what this
// package knows where that says nothing. The zero value has no rules of its own.
// It may be used by many at a time.
type Rules struct {
	byKind map[schema.GroupVersionKind]custom
}

// custom is one compiled rule.
type custom struct{ failed, inProgress, current expression }

// Compile checks the rules. All that is wrong is told, with the index of the rule
// and the field; each is a permanent fault.
func Compile(rules []v1alpha1.HealthRule) (Rules, error) {
	out := Rules{byKind: map[schema.GroupVersionKind]custom{}}
	var wrong []error
	for i, r := range rules {
		field := fmt.Sprintf("spec.health[%d]", i)
		group, err := schema.ParseGroupVersion(r.APIVersion)
		if err != nil {
			wrong = append(wrong, refuse(field+".apiVersion", "%q is no API version", r.APIVersion))
			continue
		}
		kind := group.WithKind(r.Kind)
		if _, twice := out.byKind[kind]; twice {
			wrong = append(wrong, refuse(field, "an earlier rule is about %s of %s, too; join them with || or &&", r.Kind, r.APIVersion))
			continue
		}
		compiled, err := compile(r, field)
		wrong = append(wrong, err)
		out.byKind[kind] = compiled
	}
	if err := errors.Join(wrong...); err != nil {
		return Rules{}, err
	}
	return out, nil
}

func compile(r v1alpha1.HealthRule, field string) (custom, error) {
	if cmp.Or(r.Failed, r.InProgress, r.Current) == "" {
		return custom{}, refuse(field, "failed, inProgress or current is required")
	}
	failed, ofFailed := newExpression(r.Failed, field+".failed")
	inProgress, ofInProgress := newExpression(r.InProgress, field+".inProgress")
	current, ofCurrent := newExpression(r.Current, field+".current")
	return custom{failed, inProgress, current}, errors.Join(ofFailed, ofInProgress, ofCurrent)
}

func refuse(field, format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{Field: field}, format, args...)
}

// Of judges a live object by its content alone; nil is Missing. What is being
// deleted, and a status of an older generation, no rule of an Application overrules.
func (r Rules) Of(u *unstructured.Unstructured) Report {
	if u == nil {
		return Report{Status: Missing, Message: "not in the cluster"}
	}
	if u.GetDeletionTimestamp() != nil {
		return terminating(u)
	}
	if stale, is := outdated(u); is {
		return stale
	}
	if rule, has := r.byKind[u.GroupVersionKind()]; has {
		return rule.judge(u)
	}
	return known(u)
}

// judge asks the expressions in the order failed, inProgress, current. One that
// cannot be evaluated is not true, and is told when nothing else decides. Without
// current, what is neither failed nor in progress is judged as if there was no rule.
func (c custom) judge(u *unstructured.Unstructured) Report {
	var untold []string
	for _, step := range []struct {
		expression
		is Status
	}{{c.failed, Degraded}, {c.inProgress, Progressing}, {c.current, Healthy}} {
		is, err := step.holds(u)
		if is {
			return Report{Status: step.is, Message: told(u, step.field+" is true")}
		}
		if err != nil {
			untold = append(untold, err.Error())
		}
	}
	if c.current.program == nil {
		return known(u)
	}
	if untold == nil {
		untold = []string{c.current.field + " is not true"}
	}
	return Report{Status: Progressing, Message: told(u, strings.Join(untold, "; "))}
}

// told adds what the object says of itself where most kinds do.
func told(u *unstructured.Unstructured, message string) string {
	if because := conditionOf(u, "Ready").because(); because != "" {
		return message + ": " + because
	}
	return message
}

// maxCached bounds a Cache; a cluster has few different rules.
const maxCached = 256

// Cache keeps compiled rules by their text. The zero value is ready.
type Cache struct {
	mu     sync.Mutex
	byText map[string]Rules
}

// Compile is the function of that name, once for the same rules.
func (c *Cache) Compile(rules []v1alpha1.HealthRule) (Rules, error) {
	if len(rules) == 0 {
		return Rules{}, nil
	}
	encoded, err := json.Marshal(rules)
	if err != nil {
		return Rules{}, fmt.Errorf("encode health rules: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, has := c.byText[string(encoded)]; has {
		return found, nil
	}
	compiled, err := Compile(rules)
	if err != nil {
		return Rules{}, err
	}
	if c.byText == nil || len(c.byText) == maxCached {
		c.byText = map[string]Rules{}
	}
	c.byText[string(encoded)] = compiled
	return compiled, nil
}
