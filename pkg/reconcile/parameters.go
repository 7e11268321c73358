package reconcile

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render/decrypt"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
)

// parameters are what a render takes from the cluster.
type parameters struct {
	variables substitute.Variables
	keys      decrypt.Keys
	read      []string // what was read, as <kind>/<name>@<resourceVersion>
}

// parameters reads what spec.source.substitute and decryption name. Variables are
// read as the Application's account: whoever may write an Application must not see
// by it what its account may not.
func (t *attempt) parameters(ctx context.Context, a *v1alpha1.Application, client *cluster.Client) (p parameters, err error) {
	if s := a.Spec.Source.Substitute; s != nil {
		var layers []substitute.Layer
		for i, from := range s.From {
			layer, version, err := variables(ctx, a, client, i, from)
			if err != nil {
				return p, fault.As(fault.RenderFailed, err)
			}
			layers = append(layers, layer)
			p.read = append(p.read, from.Kind+"/"+from.Name+"@"+version)
		}
		p.variables = substitute.Merge(s.Vars, layers...)
	}
	p.keys, err = t.keys(ctx, a)
	return p, err
}

// variables reads one ConfigMap or Secret; one that is absent has no version.
func variables(ctx context.Context, a *v1alpha1.Application, client *cluster.Client, i int, from v1alpha1.SubstitutionFrom) (substitute.Layer, string, error) {
	layer := substitute.Layer{Secret: from.Kind == "Secret", Data: map[string]string{}}
	place := catalog.PlaceOf(a, fmt.Sprintf("spec.source.substitute.from[%d]", i))
	live, err := client.Get(ctx, object.ID{Kind: from.Kind, Namespace: a.Namespace, Name: from.Name}, "v1")
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
func (t *attempt) keys(ctx context.Context, a *v1alpha1.Application) (decrypt.Keys, error) {
	d := a.Spec.Source.Decryption
	if d == nil {
		return decrypt.Keys{}, nil
	}
	place := catalog.PlaceOf(a, "spec.source.decryption.secretRef")
	secret, err := t.r.catalog.Secret(ctx, a.Namespace, d.SecretRef.Name, place)
	if err != nil {
		return decrypt.Keys{}, fault.As(fault.SourceRefused, err)
	}
	keys, err := decrypt.ParseKeys(secret)
	if err != nil {
		return keys, fault.Refuse(fault.SourceRefused, place, "Secret %s/%s: %w", a.Namespace, d.SecretRef.Name, err)
	}
	return keys, nil
}
