package cluster

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// ErrImmutable: the change is of fields that only a new object can have.
var ErrImmutable = errors.New("immutable fields cannot be changed")

// ImmutableError is an ErrImmutable with the fields, as the API server names them.
type ImmutableError struct {
	Object object.ID
	Fields []string // spec.selector; spec where it says no more
	text   string
}

func (e *ImmutableError) Error() string {
	return e.text + "; " + advice(e.Object.GroupKind())
}

func (e *ImmutableError) Unwrap() error { return ErrImmutable }

// precious are kinds that Plumb never makes anew: what is in them would be lost.
var precious = []schema.GroupKind{namespaceKind, crdKind, {Kind: "PersistentVolumeClaim"}, {Kind: "PersistentVolume"}}

func advice(kind schema.GroupKind) string {
	if slices.Contains(precious, kind) {
		return "take the change back in the source, or use another name: Plumb never makes a " + kind.Kind + " anew"
	}
	return "take the change back in the source, use another name, or let Plumb delete the object and create it anew by the annotation " +
		v1alpha1.Group + "/replace: allowed"
}

// fixed are the words of the API server and of admission for a field that cannot
// change (k8s.io/kubernetes pkg/apis/*/validation).
var fixed = regexp.MustCompile(`(?i)\bimmutable\b|may not (be )?changed? (once|after|in an update)|cannot change roleRef|` +
	`updates to .* (are|is) forbidden|updates may not change fields|(can ?not|must not|may not) be (changed|updated|modified)`)

// immutable gives err its meaning when all that the API server objects to is a
// change of fields that cannot change: then a new object would be accepted.
func immutable(o object.Object, err error) error {
	var refused *apiError
	if !errors.As(err, &refused) || refused.status.Code != http.StatusUnprocessableEntity || refused.status.Details == nil {
		return err
	}
	causes := refused.status.Details.Causes
	if len(causes) == 0 || slices.ContainsFunc(causes, func(c metav1.StatusCause) bool { return !fixed.MatchString(withoutValue(afterForm(c.Message))) }) {
		return err
	}
	e := &ImmutableError{Object: o.ID(), text: refused.text}
	for _, c := range causes {
		if !slices.Contains(e.Fields, c.Field) {
			e.Fields = append(e.Fields, c.Field)
		}
	}
	place := o.Place()
	place.Field = strings.Join(e.Fields, ", ")
	return &fault.Error{Class: fault.Permanent, Place: place, Err: e}
}

// afterForm cuts the form of a cause that quotes no value.
func afterForm(message string) string {
	detail, _ := strings.CutPrefix(message, "Forbidden: ")
	return detail
}
