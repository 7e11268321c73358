package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/fields"
)

// Loser is a field manager that had fields otherwise than Git, and no longer owns
// them. With a subresource it is written as <manager>/<subresource>.
type Loser struct {
	Manager string
	Fields  []string // as the API server writes them: .spec.replicas; sorted
}

// losersOf reads the answer to an apply without force, sorted by manager; nil when
// it is not about conflicts. Causes name fields and never a value.
func losersOf(err error) []Loser {
	var refused *apiError
	if !errors.As(err, &refused) || refused.status.Code != http.StatusConflict || refused.status.Details == nil {
		return nil
	}
	lost := map[string][]string{}
	for _, cause := range refused.status.Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			manager := managerOf(cause.Message)
			lost[manager] = append(lost[manager], cause.Field)
		}
	}
	var out []Loser
	for _, manager := range slices.Sorted(maps.Keys(lost)) {
		slices.Sort(lost[manager])
		out = append(out, Loser{manager, slices.Compact(lost[manager])})
	}
	return out
}

// managerOf reads: conflict with "<manager>"[ with subresource "<name>"][ using …].
func managerOf(message string) string {
	rest, _ := strings.CutPrefix(message, "conflict with ")
	manager, rest := quoted(rest)
	if rest, is := strings.CutPrefix(rest, " with subresource "); is {
		if subresource, _ := quoted(rest); subresource != "" {
			return manager + "/" + subresource
		}
	}
	if manager == "" {
		return "unknown"
	}
	return manager
}

func quoted(text string) (value, rest string) {
	prefix, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", text
	}
	value, _ = strconv.Unquote(prefix)
	return value, text[len(prefix):]
}

// maxTakeovers bounds how often a takeover is tried anew for an object that keeps
// changing; each try reads it.
const maxTakeovers = 4

// takeOver moves what former declarers own to Plumb, of the object just as it was
// read. One that is gone, or another by now, is left to the apply.
func (a *applying) takeOver(ctx context.Context, live *unstructured.Unstructured) error {
	id := a.object.ID()
	for range maxTakeovers {
		entries, needed := fields.Takeover(live)
		if !needed || a.UID != "" && live.GetUID() != a.UID {
			return nil
		}
		err := a.own(ctx, entries, live.GetResourceVersion())
		if _, absent := hasStatus(err, http.StatusNotFound); absent {
			return nil
		}
		if _, changed := hasStatus(err, http.StatusConflict); !changed {
			return err
		}
		live, err = a.client.Get(ctx, id, a.object.GroupVersionKind().Version)
		if err != nil || live == nil {
			return err
		}
	}
	return fault.Retry("", "take over the fields of %s: %w", id.Human(), ErrChanged)
}

// released is the answer to a dry run as it would be after the takeover, with the
// defaults that come anew for what goes. It costs a request when something does.
func (a *applying) released(ctx context.Context, answer *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if !fields.NeedsTakeover(answer) {
		return answer, nil
	}
	after := fields.Released(answer)
	after.SetResourceVersion("") // whatever it is by now
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "", "value": after.Object}})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", a.object.ID().Human(), err)
	}
	c, id := a.client, a.object.ID()
	live := &unstructured.Unstructured{}
	err = c.onServed(ctx, a.object.GroupVersionKind(), func(k kind) error {
		req := c.verb("PATCH").AbsPath(k.path(id.Namespace), id.Name).Body(patch).
			SetHeader("Content-Type", string(types.JSONPatchType)).Param("fieldManager", fieldManager).Param("dryRun", metav1.DryRunAll)
		return c.do(ctx, action{"try the takeover of", id, c.identity}, req, &live.Object)
	})
	if err != nil {
		return nil, err
	}
	live.SetManagedFields(answer.GetManagedFields()) // this was no apply
	return live, nil
}

// own writes the managed fields, and nothing when the object moved on. To replace
// the resourceVersion is to test it: with another one the answer is 409.
func (a *applying) own(ctx context.Context, entries []metav1.ManagedFieldsEntry, version string) error {
	if err := a.allowed(); err != nil {
		return err
	}
	patch, err := json.Marshal([]map[string]any{
		{"op": "replace", "path": "/metadata/managedFields", "value": entries},
		{"op": "replace", "path": "/metadata/resourceVersion", "value": version},
	})
	if err != nil {
		return fmt.Errorf("encode managed fields: %w", err)
	}
	c, id := a.client, a.object.ID()
	return c.onServed(ctx, a.object.GroupVersionKind(), func(k kind) error {
		req := c.verb("PATCH").AbsPath(k.path(id.Namespace), id.Name).Body(patch).
			SetHeader("Content-Type", string(types.JSONPatchType)).Param("fieldManager", fieldManager)
		return c.do(ctx, action{"take over the fields of", id, c.identity}, req, nil)
	})
}
