package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// ErrExists: somebody else has an object of that name.
var ErrExists = errors.New("an object of that name exists")

// CreateAs creates an object by server-side apply as the given field manager. One
// that is there already is a permanent ErrExists, and stays as it was: server-side
// apply has no way to ask for a creation, so what it added is taken back.
func (c *Client) CreateAs(ctx context.Context, manager string, o object.Object) (*unstructured.Unstructured, error) {
	live, created, err := c.applyAs(ctx, manager, o, "", false)
	_, conflict := hasStatus(err, http.StatusConflict)
	if err == nil && created {
		return live, nil
	}
	if err == nil {
		bare := &unstructured.Unstructured{}
		bare.SetGroupVersionKind(o.GroupVersionKind())
		bare.SetNamespace(o.ID().Namespace)
		bare.SetName(o.ID().Name)
		_, _, err = c.applyAs(ctx, manager, object.New(bare, "", 0), live.GetUID(), true)
	}
	if err == nil || conflict {
		return nil, fault.Refuse(fault.OwnershipConflict, fault.Place{}, "create %s: %w", o.ID().Human(), ErrExists)
	}
	return nil, err
}

// ApplyAs is Apply as the given field manager, for the live object with this uid
// only; else ErrReplaced.
func (c *Client) ApplyAs(ctx context.Context, manager string, o object.Object, uid types.UID) (*unstructured.Unstructured, error) {
	live, _, err := c.applyAs(ctx, manager, o, uid, true)
	if replaced(err) {
		return nil, fault.Retry("", "apply %s: %w", o.ID().Human(), ErrReplaced)
	}
	return live, err
}

// applyAs says whether the object was made by this request.
func (c *Client) applyAs(ctx context.Context, manager string, o object.Object, uid types.UID, force bool) (live *unstructured.Unstructured, created bool, err error) {
	id := o.ID()
	if err := checkName(id); err != nil {
		return nil, false, err
	}
	body, err := applyBody(o, ApplyOptions{UID: uid})
	if err != nil {
		return nil, false, err
	}
	live = &unstructured.Unstructured{}
	err = c.onServed(ctx, o.GroupVersionKind(), func(k kind) error {
		result := c.verb("PATCH").AbsPath(k.path(id.Namespace), id.Name).Body(body).
			SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).
			Param("fieldManager", manager).Param("force", fmt.Sprint(force)).
			Param("fieldValidation", metav1.FieldValidationStrict).Do(ctx)
		a := action{"apply", id, c.identity}
		if err := result.Error(); err != nil {
			return classify(a, err)
		}
		var code int
		result.StatusCode(&code)
		created = code == http.StatusCreated
		raw, err := result.Raw()
		if err != nil {
			return classify(a, err)
		}
		if json.Unmarshal(raw, &live.Object) != nil {
			return fault.Retry("", "%s: %w", a, errAnswer)
		}
		return nil
	})
	return live, created, err
}
