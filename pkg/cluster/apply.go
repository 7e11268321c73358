package cluster

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/fields"
	"github.com/plumb-gitops/plumb/pkg/object"
)

const fieldManager = fields.Manager

// ApplyOptions guard one apply.
type ApplyOptions struct {
	// UID, when set, must be the uid of the live object; else ErrReplaced.
	UID types.UID
	// Absent: there must be no such object; else ErrReplaced.
	Absent bool
	// DryRun asks for the answer without the change.
	DryRun bool
	// Takeover, when set, is the live object as it was read: what former declarers
	// own of it (see fields.Takeover) becomes Plumb's first, so that what Git does
	// not say any more goes.
	Takeover *unstructured.Unstructured
	// Guard is asked before every write after the first; nil allows them.
	Guard func() error
}

// Applied is the object after an apply, and who lost fields to it.
type Applied struct {
	*unstructured.Unstructured
	Losers []Loser
}

// Apply applies the object server-side as manager plumb, taking conflicting
// fields over, and returns the object as it is now. A field that the API does
// not know is refused. A kind that is not served is a permanent ErrUnknownKind,
// a change of what cannot change a permanent *ImmutableError.
//
// It is one request, one more when there are conflicts, and two more when there is
// something to take over.
func (c *Client) Apply(ctx context.Context, o object.Object, options ApplyOptions) (Applied, error) {
	if err := checkName(o.ID()); err != nil {
		return Applied{}, err
	}
	body, err := applyBody(o, options)
	if err != nil {
		return Applied{}, err
	}
	a := applying{client: c, object: o, body: body, ApplyOptions: options}
	if options.Takeover == nil {
		return a.settle(ctx)
	}
	return a.taking(ctx)
}

// applying is one Apply.
type applying struct {
	ApplyOptions
	client *Client
	object object.Object
	body   []byte
	writes int
}

// taking applies after the takeover. An object from before there were managed
// fields has its former declarer only after its first apply.
func (a *applying) taking(ctx context.Context) (Applied, error) {
	if a.DryRun {
		applied, err := a.settle(ctx)
		if err == nil {
			applied.Unstructured, err = a.released(ctx, applied.Unstructured)
		}
		return applied, err
	}
	if err := a.takeOver(ctx, a.Takeover); err != nil {
		return Applied{}, err
	}
	applied, err := a.settle(ctx)
	if err != nil || !fields.NeedsTakeover(applied.Unstructured) {
		return applied, err
	}
	if err := a.takeOver(ctx, applied.Unstructured); err != nil {
		return Applied{}, err
	}
	again, err := a.settle(ctx)
	again.Losers = append(applied.Losers, again.Losers...)
	return again, err
}

// settle applies without force, to hear of conflicts, and then with it.
func (a *applying) settle(ctx context.Context) (Applied, error) {
	live, err := a.send(ctx, false)
	losers := losersOf(err)
	if len(losers) > 0 {
		live, err = a.send(ctx, true)
	}
	switch {
	case (a.UID != "" || a.Absent) && replaced(err):
		err = fault.Retry("", "apply %s: %w", a.object.ID().Human(), ErrReplaced)
	case err != nil:
		err = immutable(a.object, err)
	}
	if err != nil {
		return Applied{}, err
	}
	return Applied{live, losers}, nil
}

func (a *applying) send(ctx context.Context, force bool) (*unstructured.Unstructured, error) {
	if err := a.allowed(); err != nil {
		return nil, err
	}
	c, id := a.client, a.object.ID()
	live := &unstructured.Unstructured{}
	err := c.onServed(ctx, a.object.GroupVersionKind(), func(k kind) error {
		if k.namespaced && id.Namespace == "" {
			return fault.Refuse("", a.object.Place(), "apply: no namespace is set")
		}
		req := c.verb("PATCH").AbsPath(k.path(id.Namespace), id.Name).Body(a.body).
			SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).
			Param("fieldManager", fieldManager).Param("force", strconv.FormatBool(force)).
			Param("fieldValidation", metav1.FieldValidationStrict)
		if a.DryRun {
			req.Param("dryRun", metav1.DryRunAll)
		}
		return c.do(ctx, action{"apply", id, c.identity}, req, &live.Object)
	})
	return live, err
}

// allowed asks the guard, which the caller itself asked before the first write.
func (a *applying) allowed() error {
	a.writes++
	if a.writes == 1 || a.Guard == nil {
		return nil
	}
	return a.Guard()
}

// replaced reports that a precondition did not hold. The uid: 409 when there is no object of
// that name, and 422 at metadata.uid when there is another. Absence: 409 when there is one.
func replaced(err error) bool {
	var refused *apiError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.status.Code {
	case http.StatusConflict:
		return true // with force, no field is in conflict
	case http.StatusUnprocessableEntity:
		return refused.status.Details != nil &&
			slices.ContainsFunc(refused.status.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
	}
	return false
}

// onServed is onKind for exactly this version, as writing needs it.
func (c *Client) onServed(ctx context.Context, gvk schema.GroupVersionKind, act func(kind) error) error {
	k, err := c.cluster.kinds.find(ctx, gvk)
	if err != nil {
		return err
	}
	if err = act(k); !isGoneRoute(err) {
		return err
	}
	c.cluster.kinds.forget(k.gv)
	if k, err = c.cluster.kinds.find(ctx, gvk); err != nil {
		return err
	}
	return act(k)
}

// serverSide are the parts of metadata that only the API server sets. A
// manifest exported from a cluster brings them along; uid and resourceVersion
// would even be taken as preconditions.
var serverSide = []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink",
	"deletionTimestamp", "deletionGracePeriodSeconds"}

// never is a resourceVersion that no object has any more: the API server begins to count
// with it. With it an apply creates an object, but does not change one.
const never = "1"

func applyBody(o object.Object, options ApplyOptions) ([]byte, error) {
	u := o.Unstructured()
	for _, field := range serverSide {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	if isSecret(o.ID()) {
		if err := foldStringData(u.Object); err != nil {
			return nil, fault.Refuse("", o.Place(), "%w", err)
		}
	}
	if options.UID != "" {
		u.SetUID(options.UID)
	}
	if options.Absent {
		u.SetResourceVersion(never)
	}
	body, err := json.Marshal(u.Object)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", o.ID().Human(), err)
	}
	return body, nil
}

// foldStringData moves stringData into data. It is write-only in the API, so
// the managed fields would follow neither its edits nor its removal.
func foldStringData(secret map[string]any) error {
	plain, found, err := unstructured.NestedStringMap(secret, "stringData")
	if err != nil {
		return fmt.Errorf("stringData: every value must be a string") // err quotes the value
	}
	if !found {
		return nil
	}
	data, _, err := unstructured.NestedMap(secret, "data")
	if err != nil {
		return fmt.Errorf("data: must be a map of strings")
	}
	if data == nil {
		data = make(map[string]any, len(plain))
	}
	for key, value := range plain {
		data[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	secret["data"] = data
	delete(secret, "stringData")
	return nil
}

// FieldsHash is fields.Hash of all that Plumb owns.
func FieldsHash(u *unstructured.Unstructured) string { return fields.Hash(u) }
