package cluster

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/object"
)

// EnsureCRD installs or upgrades a CustomResourceDefinition, given as YAML, as
// Plumb's own account, and returns when its kind is served.
func (c *Cluster) EnsureCRD(ctx context.Context, manifest []byte) error {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(manifest, &u.Object); err != nil {
		return fmt.Errorf("decode CustomResourceDefinition: %w", err)
	}
	own, crd := c.As(Identity{}), object.New(u, "", 0)
	if _, err := own.Apply(ctx, crd, ApplyOptions{}); err != nil {
		return err
	}
	return own.Usable(ctx, []object.ID{crd.ID()})
}
