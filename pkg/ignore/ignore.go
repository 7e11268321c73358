// Package ignore is the fields that Git does not own (spec.ignore): they are no
// difference and no drift, and an apply leaves them as they are in the cluster.
//
// It may import object, fields, fault, app/v1alpha1 and cel-go, and is pure. A rule
// that cannot be right is a permanent fault of Compile that names it; one whose
// expression fails for some object is a permanent fault where it is asked of it.
package ignore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/fields"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Pointer is a JSON pointer to an ignored field.
type Pointer = fields.Pointer

// Rules are the compiled rules of one Application. The zero value ignores nothing.
type Rules struct{ rules []rule }

type rule struct {
	v1alpha1.IgnoreRule
	digest      string // of the rule
	pointers    []Pointer
	expressions []expression
}

// Compile checks the rules. All that is wrong is told, with the index of the rule
// and the field.
func Compile(rules []v1alpha1.IgnoreRule) (Rules, error) {
	var out Rules
	var wrong []error
	for i, r := range rules {
		compiled, err := compile(r, fmt.Sprintf("spec.ignore[%d]", i))
		wrong = append(wrong, err)
		out.rules = append(out.rules, compiled)
	}
	if err := errors.Join(wrong...); err != nil {
		return Rules{}, err
	}
	return out, nil
}

func compile(r v1alpha1.IgnoreRule, field string) (rule, error) {
	out := rule{IgnoreRule: r}
	encoded, err := json.Marshal(r)
	wrong := []error{err}
	sum := sha256.Sum256(encoded)
	out.digest = hex.EncodeToString(sum[:])
	for name, glob := range map[string]string{"name": r.Name, "namespace": r.Namespace} {
		if _, err := path.Match(glob, ""); err != nil {
			wrong = append(wrong, refuse(field+"."+name, "is no glob: %v", err))
		}
	}
	for i, text := range r.Paths {
		p, err := parse(text)
		if err != nil {
			wrong = append(wrong, refuse(fmt.Sprintf("%s.paths[%d]", field, i), "%v", err))
		}
		out.pointers = append(out.pointers, p)
	}
	for i, text := range r.Expressions {
		e, err := newExpression(text, fmt.Sprintf("%s.expressions[%d]", field, i))
		wrong = append(wrong, err)
		out.expressions = append(out.expressions, e)
	}
	return out, errors.Join(wrong...)
}

func refuse(field, format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{Field: field}, format, args...)
}

// Match says whether some rule is about the object.
func (r Rules) Match(id object.ID) bool { return slices.ContainsFunc(r.rules, about(id)) }

func about(id object.ID) func(rule) bool {
	return func(r rule) bool {
		return (r.Kind == "*" || r.Kind == id.Kind && r.Group == id.Group) &&
			globbed(r.Name, id.Name) && globbed(r.Namespace, id.Namespace)
	}
}

func globbed(glob, name string) bool {
	fits, err := path.Match(glob, name)
	return glob == "" || err == nil && fits
}

// Pointers returns what is ignored in the object, sorted; not all of it need be there.
func (r Rules) Pointers(u *unstructured.Unstructured) ([]Pointer, error) {
	static := r.static(object.IDOf(u))
	dynamic, err := r.dynamic(u)
	return sorted(append(static, dynamic...)), err
}

func (r Rules) static(id object.ID) []Pointer {
	var out []Pointer
	for _, rule := range r.rules {
		if about(id)(rule) {
			out = append(out, rule.pointers...)
		}
	}
	return out
}

func (r Rules) dynamic(u *unstructured.Unstructured) ([]Pointer, error) {
	var out []Pointer
	for _, rule := range r.rules {
		if !about(object.IDOf(u))(rule) {
			continue
		}
		for _, e := range rule.expressions {
			found, err := e.pointers(u)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
	}
	return out, nil
}

func sorted(pointers []Pointer) []Pointer {
	slices.SortFunc(pointers, slices.Compare[Pointer])
	return slices.CompactFunc(pointers, slices.Equal[Pointer])
}

// Without returns what is applied for desired so that the live object keeps what
// is ignored in it: see fields.Leave. Without a live object, desired is applied as
// it is. Paths are read in the live object; expressions also in desired, in which
// one that fails gives nothing.
func (r Rules) Without(desired object.Object, live *unstructured.Unstructured) (object.Object, error) {
	if live == nil || !r.Match(desired.ID()) {
		return desired, nil
	}
	ofLive, err := r.Pointers(live)
	if err != nil {
		return desired, err
	}
	ofDesired, err := r.dynamic(&unstructured.Unstructured{Object: desired.Content()})
	if err != nil {
		ofDesired = nil // what Git leaves out is not there to be ignored
	}
	return desired.With(func(u *unstructured.Unstructured) { fields.Leave(u, live, ofLive, sorted(ofDesired)) }), nil
}

// Hide removes what is ignored from two states of an object, which it changes.
func (r Rules) Hide(a, b *unstructured.Unstructured) error {
	ofA, err := r.Pointers(a)
	if err != nil {
		return err
	}
	ofB, err := r.dynamic(b)
	if err != nil {
		return err
	}
	fields.Hide(a, b, ofA, ofB)
	return nil
}

// Fields is fields.Hash without what is ignored, and for an object that a rule is
// about it ends in a mark of these rules: hashes of different rules tell nothing of
// each other (see Comparable). Empty when an expression fails.
func (r Rules) Fields(u *unstructured.Unstructured) string {
	var digests []string
	for _, rule := range r.rules {
		if about(object.IDOf(u))(rule) {
			digests = append(digests, rule.digest)
		}
	}
	if len(digests) == 0 {
		return fields.Hash(u)
	}
	pointers, err := r.Pointers(u)
	hash := fields.Hash(u, pointers...)
	if err != nil || hash == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(digests, "\n")))
	return hash + separator + hex.EncodeToString(sum[:4])
}

const separator = "-"

// Comparable says whether two values of Fields were made by the same rules.
func Comparable(a, b string) bool {
	_, ofA, _ := strings.Cut(a, separator)
	_, ofB, _ := strings.Cut(b, separator)
	return ofA == ofB
}
