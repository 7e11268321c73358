// Package kustomize builds kustomizations of a tree with kustomize as a library.
//
// It gives what "kustomize build" gives, except that whatever would run or fetch
// something is refused first: remote bases and files, Helm charts, functions, plugins
// and openapi, which would change other renders of the process. It belongs into a
// render child and may import app/v1alpha1, manifest and fault. Errors are permanent
// faults that name file, line and field and quote no Secret's value.
package kustomize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// Tree is what a build reads. Stat follows symlinks; when its Sys is a string, it is
// the path that they lead to.
type Tree interface {
	ReadFile(name string) ([]byte, error)
	Stat(name string) (fs.FileInfo, error)
}

// Params says what to build: the kustomization at Path, changed as Spec says.
type Params struct {
	Path string                   `json:"path"`
	Spec v1alpha1.KustomizeSource `json:"spec"`
}

// Build returns the objects in the order of kustomize. Each names the kustomization
// at Path as its file: kustomize does not tell which of its inputs made an object.
func Build(tree Tree, p Params) ([]manifest.Rendered, error) {
	f := newFilesystem(tree)
	target, err := f.prepare(p)
	if err != nil {
		return nil, err
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(f, target)
	if f.refusal != nil {
		return nil, f.refusal
	}
	file := f.kustomizationOf(p.Path)
	if err != nil {
		return nil, explain(f, file, err)
	}
	out := make([]manifest.Rendered, 0, resources.Size())
	for _, r := range resources.Resources() {
		content, err := r.MarshalJSON()
		if err != nil {
			return nil, explain(f, file, err)
		}
		out = append(out, manifest.Rendered{File: file, Content: content})
	}
	return out, nil
}

// explain turns kustomize's error into a fault without values and without the paths
// that exist in the build only.
func explain(f *filesystem, file string, err error) error {
	message := manifest.Mask(err.Error(), f.secrets())
	message = strings.NewReplacer(mount+"/", "", overlay, "spec.source.kustomize", mount, ".").Replace(message)
	return fault.Refuse(fault.RenderFailed, fault.Place{File: file}, "build kustomization: %s", message)
}

// Where the tree and the overlay stand in the build's file system. They are siblings,
// since kustomize refuses a base that contains its overlay.
const (
	mount   = "/tree"
	overlay = "/overlay"
)

// prepare returns the directory to build: the kustomization itself, or an overlay on
// it when the spec changes something.
func (f *filesystem) prepare(p Params) (string, error) {
	base := path.Join(mount, p.Path)
	k, err := overlayOf(p)
	if err != nil || k == nil {
		return base, err
	}
	// These two work in the outermost kustomization only.
	if content, err := f.ReadFile(path.Join(mount, f.kustomizationOf(p.Path))); err == nil {
		var inner struct {
			SortOptions   *types.SortOptions `json:"sortOptions"`
			BuildMetadata []string           `json:"buildMetadata"`
		}
		if err := yaml.Unmarshal(content, &inner); err == nil {
			k.SortOptions, k.BuildMetadata = inner.SortOptions, inner.BuildMetadata
		}
	}
	content, err := json.Marshal(k)
	if err != nil {
		return "", fmt.Errorf("encode overlay: %w", err)
	}
	f.files[path.Join(overlay, "kustomization.yaml")] = content
	return overlay, f.refusal
}

// overlayOf returns nil when the spec changes nothing.
func overlayOf(p Params) (*types.Kustomization, error) {
	s := p.Spec
	lists := len(s.Images) + len(s.Patches) + len(s.Components) + len(s.Replicas) + len(s.CommonLabels) + len(s.CommonAnnotations)
	if s.NamePrefix+s.NameSuffix+s.Namespace == "" && lists == 0 {
		return nil, nil
	}
	below := path.Join("..", mount, p.Path)
	k := &types.Kustomization{
		NamePrefix: s.NamePrefix, NameSuffix: s.NameSuffix, Namespace: s.Namespace,
		CommonLabels: s.CommonLabels, CommonAnnotations: s.CommonAnnotations, Resources: []string{below},
	}
	for _, r := range s.Replicas {
		k.Replicas = append(k.Replicas, types.Replica{Name: r.Name, Count: r.Count})
	}
	for i, c := range s.Components {
		if problem := remote(c); problem != "" {
			return nil, refuse(fault.Place{Field: fmt.Sprintf("spec.source.kustomize.components[%d]", i)}, "%s", problem)
		}
		k.Components = append(k.Components, path.Join(below, c))
	}
	for i, s := range s.Images {
		image, err := parseImage(s)
		if err != nil {
			return nil, refuse(fault.Place{Field: fmt.Sprintf("spec.source.kustomize.images[%d]", i)}, "%w", err)
		}
		k.Images = append(k.Images, image)
	}
	for _, patch := range s.Patches {
		k.Patches = append(k.Patches, types.Patch{Patch: patch.Patch, Target: selector(patch.Target)})
	}
	return k, nil
}

func selector(s *v1alpha1.KustomizeSelector) *types.Selector {
	if s == nil {
		return nil
	}
	out := &types.Selector{LabelSelector: s.LabelSelector, AnnotationSelector: s.AnnotationSelector}
	out.Group, out.Version, out.Kind = s.Group, s.Version, s.Kind
	out.Name, out.Namespace = s.Name, s.Namespace
	return out
}

// parseImage reads name=newName:newTag, name=newName@digest, name=newName, name:newTag
// and name@digest, as "kustomize edit set image" does.
func parseImage(s string) (types.Image, error) {
	name, target, renamed := strings.Cut(s, "=")
	if !renamed {
		target = name
	}
	image := types.Image{Name: name}
	target, image.Digest, _ = strings.Cut(target, "@")
	if colon := strings.LastIndex(target, ":"); image.Digest == "" && colon > strings.LastIndex(target, "/") {
		target, image.NewTag = target[:colon], target[colon+1:]
	}
	if renamed {
		image.NewName = target
	} else {
		image.Name = target
	}
	if image.Name == "" || target == "" || image == (types.Image{Name: image.Name}) {
		return types.Image{}, errors.New("want name=newName:newTag, name=newName, name:newTag or name@digest")
	}
	return image, nil
}

func refuse(place fault.Place, format string, args ...any) error {
	return fault.Refuse(fault.RenderFailed, place, format, args...)
}
