package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// fieldManager owns what Git says. It is v1alpha1.FieldManager, which lives a floor above the wire.
const fieldManager = "plumb"

// ApplyOptions guard one apply.
type ApplyOptions struct {
	// UID, when set, must be the uid of the live object; else ErrReplaced.
	UID types.UID
	// DryRun asks for the answer without the change.
	DryRun bool
}

// Apply applies the object server-side as manager plumb, taking conflicting
// fields over, and returns the object as it is now. A field that the API does
// not know is refused. A kind that is not served is a permanent ErrUnknownKind.
func (c *Client) Apply(ctx context.Context, o object.Object, options ApplyOptions) (*unstructured.Unstructured, error) {
	id := o.ID()
	if err := checkName(id); err != nil {
		return nil, err
	}
	body, err := applyBody(o, options.UID)
	if err != nil {
		return nil, err
	}
	live := &unstructured.Unstructured{}
	err = c.onServed(ctx, o.GroupVersionKind(), func(k kind) error {
		if k.namespaced && id.Namespace == "" {
			return fault.Refuse("", o.Place(), "apply: no namespace is set")
		}
		req := c.verb("PATCH").AbsPath(k.path(id.Namespace), id.Name).Body(body).
			SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).
			Param("fieldManager", fieldManager).Param("force", "true").
			Param("fieldValidation", metav1.FieldValidationStrict)
		if options.DryRun {
			req.Param("dryRun", metav1.DryRunAll)
		}
		return c.do(ctx, action{"apply", id, c.identity}, req, &live.Object)
	})
	if options.UID != "" && replaced(err) {
		return nil, fault.Retry("", "apply %s: %w", id.Human(), ErrReplaced)
	}
	if err != nil {
		return nil, err
	}
	return live, nil
}

// replaced reports that the uid did not fit: 409 when there is no object of that
// name, and 422 at metadata.uid when there is another.
func replaced(err error) bool {
	if _, conflict := hasStatus(err, http.StatusConflict); conflict {
		return true
	}
	var refused *apiError
	if !errors.As(err, &refused) || refused.status.Code != http.StatusUnprocessableEntity || refused.status.Details == nil {
		return false
	}
	return slices.ContainsFunc(refused.status.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
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

func applyBody(o object.Object, uid types.UID) ([]byte, error) {
	u := o.Unstructured()
	for _, field := range serverSide {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	if isSecret(o.ID()) {
		if err := foldStringData(u.Object); err != nil {
			return nil, fault.Refuse("", o.Place(), "%w", err)
		}
	}
	if uid != "" {
		u.SetUID(uid)
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

// FieldsHash is the hash of Plumb's own entry in managedFields: it moves with
// every edit of a field that Git owns, whoever made it, and never with what
// others own or with status. It is empty when Plumb owns nothing.
func FieldsHash(u *unstructured.Unstructured) string {
	entries, _, _ := unstructured.NestedSlice(u.Object, "metadata", "managedFields")
	for _, e := range entries {
		entry, ok := e.(map[string]any)
		if !ok || entry["manager"] != fieldManager || entry["operation"] != "Apply" || entry["subresource"] != nil {
			continue
		}
		fields, err := json.Marshal([]any{entry["apiVersion"], entry["fieldsV1"]}) // maps are written sorted
		if err != nil {
			return ""
		}
		sum := sha256.Sum256(fields)
		return hex.EncodeToString(sum[:16])
	}
	return ""
}
