package cluster

import (
	"context"
	"errors"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Validate checks an object against the schema that the cluster publishes for
// its kind, without sending it: types, required and unknown fields, enums,
// formats, bounds, and items that are there twice. What does not fit is a
// permanent fault that names file, line, object and field and repeats no value.
// A kind that the cluster does not serve is a permanent ErrUnknownKind. A kind
// that publishes no schema passes: the API server will judge it.
func (c *Client) Validate(ctx context.Context, o object.Object) error {
	if err := checkName(o.ID()); err != nil {
		return located(o, err)
	}
	gvk := o.GroupVersionKind()
	if _, err := c.cluster.kinds.find(ctx, gvk); err != nil {
		return located(o, err)
	}
	schemas := c.cluster.schemas
	asked := schemas.now()
	n, err := schemas.find(ctx, gvk)
	if err != nil {
		return located(o, err)
	}
	if n != nil && len(judge(n, o)) == 0 {
		return nil
	}
	// The schema may have changed since it was read: no refusal by an old one.
	if n, err = schemas.fresh(ctx, gvk, asked); err != nil {
		return located(o, err)
	}
	return refusal(o, judge(n, o))
}

// judge leaves status out: who applies a manifest does not write it, and the
// API server drops it.
func judge(n *node, o object.Object) []problem {
	if n == nil {
		return nil
	}
	content := o.Content()
	if _, ok := content["status"]; ok {
		bare := make(map[string]any, len(content))
		for name, value := range content {
			if name != "status" {
				bare[name] = value
			}
		}
		content = bare
	}
	var c checker
	c.check("", n, content)
	return c.problems
}

func refusal(o object.Object, problems []problem) error {
	if len(problems) == 0 {
		return nil
	}
	place := o.Place()
	place.Field = problems[0].field
	text := []string{problems[0].text}
	for _, p := range problems[1:] {
		text = append(text, p.field+": "+p.text)
	}
	return fault.Refuse("", place, "%s", strings.Join(text, "; "))
}

// located adds where the object stands to a fault that does not know it.
func located(o object.Object, err error) error {
	class, wait := fault.ClassOf(err)
	place := o.Place()
	var known *fault.Error
	if errors.As(err, &known) && known.Place != (fault.Place{}) {
		place.Field = known.Place.Field
		err = known.Err
	}
	return &fault.Error{Class: class, After: wait, Place: place, Err: err}
}
