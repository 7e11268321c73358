package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/render/child"
	"github.com/plumb-gitops/plumb/pkg/render/helm"
	"github.com/plumb-gitops/plumb/pkg/render/jsonnet"
	"github.com/plumb-gitops/plumb/pkg/render/kustomize"
)

// jobOf says to a child what the request asks for, at the path root.
func jobOf(q Request, root, renderer string) child.Job {
	if renderer == Kustomize {
		p := kustomize.Params{Path: root}
		if q.Source.Kustomize != nil {
			p.Spec = *q.Source.Kustomize
		}
		return child.Job{Kustomize: &p}
	}
	if renderer == Jsonnet {
		p := jsonnet.Params{Path: root}
		if q.Source.Jsonnet != nil {
			p.Spec = *q.Source.Jsonnet
		}
		return child.Job{Jsonnet: &p}
	}
	spec := q.Source.Helm
	if spec == nil {
		spec = &v1alpha1.HelmSource{}
	}
	p := helm.Params{
		Path: root, Base: root, ReleaseName: spec.ReleaseName, Namespace: q.Namespace,
		ValueFiles: spec.ValueFiles, IgnoreMissing: spec.IgnoreMissingValueFiles, SkipCRDs: spec.SkipCRDs,
		KubeVersion: q.Capabilities.KubeVersion, APIVersions: q.Capabilities.APIVersions,
	}
	if q.ChartPath != "" {
		p.Path = q.ChartPath
	}
	if p.ReleaseName == "" {
		p.ReleaseName = q.Name
	}
	if spec.Values != nil {
		p.Values = spec.Values.Raw
	}
	return child.Job{Helm: &p}
}

// poisonKey names the job and all of the tree: only a change anywhere in it can make
// a render that killed its child behave. Empty when the tree has no hash.
func poisonKey(q Request, job child.Job) (string, error) {
	hashed, ok := q.Tree.(interface {
		Hash(path string) (hash string, ok bool)
	})
	if !ok {
		return "", nil
	}
	hash, ok := hashed.Hash(".")
	if !ok {
		return "", nil
	}
	params, err := json.Marshal(job)
	if err != nil {
		return "", fmt.Errorf("encode job: %w", err)
	}
	sum := sha256.Sum256(append(params, hash+q.Keys.ID()...))
	return hex.EncodeToString(sum[:]), nil
}
