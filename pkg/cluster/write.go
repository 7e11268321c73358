package cluster

import (
	"context"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Create creates an object of any type that encodes to JSON.
func (c *Client) Create(ctx context.Context, id object.ID, version string, o any) error {
	return c.write(ctx, "create", id, version, "", o, nil)
}

// UpdateStatus replaces the status of an object whose encoding carries the
// resourceVersion it was read at, and decodes the answer into into.
// An object that moved on is ErrChanged.
func (c *Client) UpdateStatus(ctx context.Context, id object.ID, version string, o, into any) error {
	return c.write(ctx, "update status of", id, version, "status", o, into)
}

// MergePatch changes an object by a JSON merge patch (RFC 7386). With
// metadata.resourceVersion in the patch, an object that moved on is ErrChanged.
func (c *Client) MergePatch(ctx context.Context, id object.ID, version string, patch, into any) error {
	return c.write(ctx, "patch", id, version, "", patch, into)
}

var methods = map[string]string{"create": http.MethodPost, "update status of": http.MethodPut, "patch": http.MethodPatch}

func (c *Client) write(ctx context.Context, verb string, id object.ID, version, subresource string, o, into any) error {
	if err := checkName(id); err != nil {
		return err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode %s: %w", id.Human(), err)
	}
	gvk := schema.GroupVersionKind{Group: id.Group, Version: version, Kind: id.Kind}
	err = c.onServed(ctx, gvk, func(k kind) error {
		req := c.verb(methods[verb]).Body(body).Param("fieldManager", fieldManager)
		switch verb {
		case "create":
			req.AbsPath(k.path(id.Namespace)).SetHeader("Content-Type", "application/json")
		case "patch":
			req.AbsPath(k.path(id.Namespace), id.Name).SetHeader("Content-Type", string(types.MergePatchType))
		default:
			req.AbsPath(k.path(id.Namespace), id.Name, subresource).SetHeader("Content-Type", "application/json")
		}
		return c.do(ctx, action{verb, id, c.identity}, req, into)
	})
	if _, conflict := hasStatus(err, http.StatusConflict); conflict && verb != "create" {
		return fault.Retry("", "%s %s: %w", verb, id.Human(), ErrChanged)
	}
	return err
}
