package generate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// builder makes Applications of elements.
type builder struct {
	ctx  context.Context
	set  *v1alpha1.ApplicationSet
	left *budget
}

func (b builder) build(e element) (Application, error) {
	content, err := b.content(e)
	if err != nil {
		return Application{}, fmt.Errorf("%w (with %s)", err, e.place)
	}
	return Application{Object: &unstructured.Unstructured{Object: content}, Place: e.place}, nil
}

func (b builder) content(e element) (map[string]any, error) {
	t := templates{ctx: b.ctx, values: e.values, left: b.left}
	metadata, err := b.metadata(t)
	if err != nil {
		return nil, err
	}
	var raw map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(b.set.Spec.Template.Spec.Raw, &raw); err != nil {
		return nil, fmt.Errorf("spec.template.spec: want a mapping: %w", err)
	}
	spec, err := t.each("spec.template.spec", raw)
	if err != nil {
		return nil, err
	}
	content := map[string]any{"metadata": metadata, "spec": spec}
	if err := b.patch(t, content); err != nil {
		return nil, err
	}
	name, namespace := metadata["name"], b.set.Namespace
	apiVersion, kind := v1alpha1.GroupVersionKind.ToAPIVersionAndKind()
	content["apiVersion"], content["kind"] = apiVersion, kind
	meta := content["metadata"].(map[string]any)
	meta["name"], meta["namespace"] = name, namespace
	return content, check(content)
}

func (b builder) metadata(t templates) (map[string]any, error) {
	in := b.set.Spec.Template.Metadata
	name, err := t.text("spec.template.metadata.name", in.Name)
	if err != nil {
		return nil, err
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return nil, fmt.Errorf("spec.template.metadata.name: %q is no name: %s; normalize makes one", shortened(name), strings.Join(problems, ", "))
	}
	metadata := map[string]any{"name": name}
	for field, values := range map[string]map[string]string{"labels": in.Labels, "annotations": in.Annotations} {
		if len(values) == 0 {
			continue
		}
		raw := map[string]any{}
		for k, v := range values {
			raw[k] = v
		}
		if metadata[field], err = t.each("spec.template.metadata."+field, raw); err != nil {
			return nil, err
		}
	}
	return metadata, nil
}

func shortened(s string) string { return s[:min(len(s), 300)] }

// patch merges what spec.templatePatch says for these parameters.
func (b builder) patch(t templates, content map[string]any) error {
	text, err := t.text("spec.templatePatch", b.set.Spec.TemplatePatch)
	if err != nil {
		return err
	}
	value, err := document([]byte(text))
	if err != nil {
		return fmt.Errorf("spec.templatePatch: %w", err)
	}
	if value == nil {
		return nil
	}
	patch, ok := value.(map[string]any)
	if !ok {
		return errors.New("spec.templatePatch: want a mapping with spec or metadata")
	}
	if err := patchable(patch); err != nil {
		return err
	}
	mergePatch(content, patch)
	return nil
}

// patchable holds the patch to what a template may say.
func patchable(patch map[string]any) error {
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		if (key != "spec" && key != "metadata") || !isMap {
			return fmt.Errorf("spec.templatePatch: %s: only mappings spec and metadata can be given", key)
		}
		for field := range inner {
			if key == "metadata" && field != "labels" && field != "annotations" {
				return fmt.Errorf("spec.templatePatch: metadata.%s: only labels and annotations can be given", field)
			}
		}
	}
	return nil
}

// mergePatch is a JSON merge patch (RFC 7386).
func mergePatch(into, patch map[string]any) {
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case isMap:
			old, ok := into[key].(map[string]any)
			if !ok {
				old = map[string]any{}
				into[key] = old
			}
			mergePatch(old, inner)
		default:
			into[key] = value
		}
	}
}

// reserved are the annotations with which people ask, and with which a set marks.
const reserved = v1alpha1.Group + "/"

// check refuses what the API would drop or misread: fields that it does not know,
// values of another type, and annotations that are not the template's to set.
func check(content map[string]any) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	a := &v1alpha1.Application{}
	unknown, err := kjson.UnmarshalStrict(raw, a)
	if err := errors.Join(append([]error{err}, unknown...)...); err != nil {
		return fmt.Errorf("Application %s: %w", shortened(a.Name), err)
	}
	for _, names := range []map[string]string{a.Annotations, a.Labels} {
		for name := range names {
			if strings.HasPrefix(name, reserved) {
				return fmt.Errorf("Application %s: %s: names of %s are not for templates", a.Name, name, v1alpha1.Group)
			}
		}
	}
	return nil
}
