package cluster

import (
	"context"
	"fmt"
	"slices"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/version"

	"github.com/plumb-gitops/plumb/pkg/object"
)

// Capabilities is what a chart may ask of a cluster.
type Capabilities struct {
	// Version is as in v1.37.2; Major and Minor are its parts.
	Version, Major, Minor string
	// APIVersions are the group versions and, as Helm has it, the kinds: apps/v1, apps/v1/Deployment. Sorted.
	APIVersions []string
}

// aggregated is the discovery document of all groups in one answer (Kubernetes 1.30 and later).
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// Capabilities asks the cluster for its version and all that it serves, by
// three requests; the answer is worth keeping for a while.
func (c *Cluster) Capabilities(ctx context.Context) (Capabilities, error) {
	own := c.As(Identity{})
	var info version.Info
	if err := own.read(ctx, "/version", &info); err != nil {
		return Capabilities{}, fmt.Errorf("read version: %w", err)
	}
	out := Capabilities{Version: info.GitVersion, Major: info.Major, Minor: info.Minor}
	for _, path := range []string{"/api", "/apis"} {
		var list apidiscoveryv2.APIGroupDiscoveryList
		req := own.verb("GET").AbsPath(path).SetHeader("Accept", aggregated)
		if err := own.do(ctx, action{"read", object.ID{Kind: path}, own.identity}, req, &list); err != nil {
			return Capabilities{}, fmt.Errorf("list served kinds: %w", err)
		}
		for _, group := range list.Items {
			out.APIVersions = append(out.APIVersions, apiVersions(group)...)
		}
	}
	slices.Sort(out.APIVersions)
	out.APIVersions = slices.Compact(out.APIVersions)
	return out, nil
}

func apiVersions(group apidiscoveryv2.APIGroupDiscovery) []string {
	var out []string
	for _, v := range group.Versions {
		gv := v.Version
		if group.Name != "" {
			gv = group.Name + "/" + v.Version
		}
		out = append(out, gv)
		for _, r := range v.Resources {
			if r.ResponseKind != nil {
				out = append(out, gv+"/"+r.ResponseKind.Kind)
			}
		}
	}
	return out
}
