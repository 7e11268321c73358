package reconcile

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
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

// parameters reads what spec.source.substitute and decryption name, variables as the
// Application's account.
func (t *attempt) parameters(ctx context.Context, a *v1alpha1.Application, client *cluster.Client) (parameters, error) {
	p, err := t.r.assembler.Policy.Parameters(ctx, a, func(ctx context.Context, id object.ID) (*unstructured.Unstructured, error) {
		return client.Get(ctx, id, "v1")
	})
	return parameters{variables: p.Variables, keys: p.Keys, read: p.Read}, err
}
