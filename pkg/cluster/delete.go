package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// DeleteOptions guard one deletion and say what becomes of the dependents.
type DeleteOptions struct {
	// UID and ResourceVersion, when set, must be those of the live object; else ErrChanged.
	UID             types.UID
	ResourceVersion string
	// Propagation is how what depends on the object goes; empty: background.
	Propagation v1alpha1.Propagation
}

var propagations = map[v1alpha1.Propagation]metav1.DeletionPropagation{
	"":                             metav1.DeletePropagationBackground,
	v1alpha1.PropagationBackground: metav1.DeletePropagationBackground,
	v1alpha1.PropagationForeground: metav1.DeletePropagationForeground,
	v1alpha1.PropagationOrphan:     metav1.DeletePropagationOrphan,
}

// Delete begins the deletion of an object; a finalizer may keep it for longer (Gone
// waits for the end). Absent: nil. Changed: ErrChanged.
func (c *Client) Delete(ctx context.Context, id object.ID, version string, options DeleteOptions) error {
	propagation, known := propagations[options.Propagation]
	if !known {
		return fault.Refuse("", fault.Place{Object: id.Human()}, "delete: no propagation is called %q", options.Propagation)
	}
	body, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:          metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		PropagationPolicy: &propagation,
		Preconditions:     preconditions(options.UID, options.ResourceVersion),
	})
	if err != nil {
		return fmt.Errorf("encode delete of %s: %w", id.Human(), err)
	}
	err = c.onKind(ctx, id, version, func(k kind) error {
		return c.do(ctx, action{"delete", id, c.identity}, c.verb("DELETE").AbsPath(k.path(id.Namespace), id.Name).Body(body), nil)
	})
	if _, absent := hasStatus(err, http.StatusNotFound); absent || isUnknownKind(err) {
		return nil
	}
	if _, changed := hasStatus(err, http.StatusConflict); changed {
		return fault.Retry("", "delete %s: %w", id.Human(), ErrChanged)
	}
	return err
}

func preconditions(uid types.UID, resourceVersion string) *metav1.Preconditions {
	p := &metav1.Preconditions{}
	if uid != "" {
		p.UID = &uid
	}
	if resourceVersion != "" {
		p.ResourceVersion = &resourceVersion
	}
	return p
}

// Gone waits, by a watch, until no object of that name has this uid any more.
// When ctx ends first, the error names what holds the object.
func (c *Client) Gone(ctx context.Context, id object.ID, uid types.UID) error {
	held := "nothing that it tells of"
	err := c.Until(ctx, []object.ID{id}, func(_ object.ID, u *unstructured.Unstructured) (bool, error) {
		if u == nil || u.GetUID() != uid {
			return true, nil
		}
		held = holders(u)
		return false, nil
	})
	if isUnknownKind(err) {
		return nil
	}
	if err != nil && errors.Is(err, context.Cause(ctx)) {
		return fault.Retry("", "delete %s: it is still there, held by %s: %w", id.Human(), held, context.Cause(ctx))
	}
	return err
}

func holders(u *unstructured.Unstructured) string {
	switch finalizers := u.GetFinalizers(); {
	case u.GetDeletionTimestamp() == nil:
		return "nobody: it is not being deleted"
	case len(finalizers) > 0:
		return "the finalizers " + strings.Join(finalizers, ", ")
	}
	return "its grace period"
}
