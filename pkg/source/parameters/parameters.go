// Package parameters reads what a render takes beside the tree: variables and keys.
//
// It stands apart from source, so that who only follows sources links no renderer.
// It may import source and render.
package parameters

import (
	"context"
	"encoding/base64"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/decrypt"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// Parameters are what a render takes beside the tree.
type Parameters struct {
	Variables substitute.Variables
	Keys      decrypt.Keys
	Read      []string // what was read of the cluster, as <kind>/<name>@<resourceVersion>
}

// Read reads a ConfigMap or Secret as the Application's account: whoever may write an
// Application must not see by it what its account may not. Absent: nil, nil.
type Read func(ctx context.Context, id object.ID) (*unstructured.Unstructured, error)

// Of reads what spec.source.substitute and decryption name. Errors are
// RenderFailed or SourceRefused, name the field and quote no value.
func Of(ctx context.Context, a *v1alpha1.Application, secrets source.Secrets, read Read) (Parameters, error) {
	var out Parameters
	if s := a.Spec.Source.Substitute; s != nil {
		var layers []substitute.Layer
		for i, from := range s.From {
			layer, version, err := variables(ctx, a, read, i, from)
			if err != nil {
				return out, fault.As(fault.RenderFailed, err)
			}
			layers = append(layers, layer)
			out.Read = append(out.Read, from.Kind+"/"+from.Name+"@"+version)
		}
		out.Variables = substitute.Merge(s.Vars, layers...)
	}
	var err error
	out.Keys, err = keys(ctx, a, secrets)
	return out, err
}

// variables reads one ConfigMap or Secret; one that is absent has no version.
func variables(ctx context.Context, a *v1alpha1.Application, read Read, i int, from v1alpha1.SubstitutionFrom) (substitute.Layer, string, error) {
	layer := substitute.Layer{Secret: from.Kind == "Secret", Data: map[string]string{}}
	place := catalog.PlaceOf(a, fmt.Sprintf("spec.source.substitute.from[%d]", i))
	live, err := read(ctx, object.ID{Kind: from.Kind, Namespace: a.Namespace, Name: from.Name})
	switch {
	case err != nil:
		return layer, "", fmt.Errorf("read variables: %w", err)
	case live == nil && from.Optional:
		return layer, "", nil
	case live == nil:
		return layer, "", fault.Refuse(fault.RenderFailed, place, "%s %s/%s does not exist; create it, or say optional: true", from.Kind, a.Namespace, from.Name)
	}
	data, _ := live.Object["data"].(map[string]any)
	for key, value := range data {
		text, _ := value.(string)
		if layer.Secret {
			plain, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return layer, "", fault.Refuse(fault.RenderFailed, place, "the value of key %q is not base64", key)
			}
			text = string(plain)
		}
		layer.Data[key] = text
	}
	return layer, live.GetResourceVersion(), nil
}

// keys reads the private keys that decrypt the source.
func keys(ctx context.Context, a *v1alpha1.Application, secrets source.Secrets) (decrypt.Keys, error) {
	d := a.Spec.Source.Decryption
	if d == nil {
		return decrypt.Keys{}, nil
	}
	place := catalog.PlaceOf(a, "spec.source.decryption.secretRef")
	secret, err := secrets.Secret(ctx, a.Namespace, d.SecretRef.Name, place)
	if err != nil {
		return decrypt.Keys{}, fault.As(fault.SourceRefused, err)
	}
	parsed, err := decrypt.ParseKeys(secret)
	if err != nil {
		return parsed, fault.Refuse(fault.SourceRefused, place, "Secret %s/%s: %w", a.Namespace, d.SecretRef.Name, err)
	}
	return parsed, nil
}

// Request is the render of what was assembled.
func Request(m source.Assembly, a *v1alpha1.Application, p Parameters, c render.Capabilities) render.Request {
	return render.Request{
		Tree: m.Tree, ChartPath: m.Chart, Source: a.Spec.Source, Name: a.Name, Namespace: a.TargetNamespace(),
		Capabilities: c, Variables: p.Variables, Keys: p.Keys,
	}
}
