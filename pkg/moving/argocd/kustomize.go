package argocd

import (
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

func (s *spec) kustomize(f moving.Field) *v1alpha1.KustomizeSource {
	out := &v1alpha1.KustomizeSource{
		NamePrefix: f.At("namePrefix").Text(), NameSuffix: f.At("nameSuffix").Text(), Namespace: f.At("namespace").Text(),
		Images:       f.At("images").Texts(),
		CommonLabels: f.At("commonLabels").TextMap(), CommonAnnotations: f.At("commonAnnotations").TextMap(),
	}
	for _, c := range f.At("components").Each() {
		out.Components = append(out.Components, component(c))
	}
	for _, p := range f.At("patches").Each() {
		if patch := patch(p); patch.Patch != "" {
			out.Patches = append(out.Patches, patch)
		}
	}
	for _, r := range f.At("replicas").Each() {
		out.Replicas = append(out.Replicas, v1alpha1.KustomizeReplicas{Name: r.At("name").Text(), Count: max(r.At("count").Int(), 0)})
	}
	s.labels(f, out)
	s.kustomizeRest(f)
	return out
}

// labels are put on the objects alone when Argo CD is told to leave selectors.
func (s *spec) labels(f moving.Field, out *v1alpha1.KustomizeSource) {
	alone, templates := f.At("labelWithoutSelector"), f.At("labelIncludeTemplates")
	if alone.Bool() && len(out.CommonLabels) > 0 {
		out.Patches = append(out.Patches, moving.Label(out.CommonLabels, nil))
		out.CommonLabels = nil
	} else {
		alone.Tell(moving.Info, "is the default")
	}
	if templates.Bool() {
		templates.Tell(moving.Lost, "labels of spec.source.kustomize are on the objects alone; patch the Pod templates")
	} else {
		templates.Tell(moving.Info, "is the default")
	}
}

func (s *spec) kustomizeRest(f moving.Field) {
	for _, name := range []string{"forceCommonLabels", "forceCommonAnnotations"} {
		f.At(name).Tell(moving.Info, "those of the Application always win over those of the kustomization")
	}
	f.At("commonAnnotationsEnvsubst").Tell(moving.Lost, "there are no variables of the build; write the values")
	f.At("ignoreMissingComponents").Tell(moving.Lost, "a component that is missing is an error")
	f.At("version").Tell(moving.Lost, "kustomize is part of Plumb, in one version")
	for _, name := range []string{"kubeVersion", "apiVersions"} {
		f.At(name).Tell(moving.Lost, "the version and the APIs are those of the cluster")
	}
}

// component is a path inside the repository; a remote one is refused.
func component(f moving.Field) string {
	text := f.Text()
	if strings.Contains(text, ":") || strings.HasPrefix(text, "/") || text == "" {
		f.Tell(moving.Failed, "must be a relative path in the repository: nothing is fetched while rendering")
	}
	return text
}

func patch(f moving.Field) v1alpha1.KustomizePatch {
	out := v1alpha1.KustomizePatch{Patch: f.At("patch").Text()}
	f.At("path").Tell(moving.Lost, "a patch in a file belongs into the kustomization; write it into patch")
	f.At("options").Tell(moving.Lost, "options of a patch belong into the kustomization")
	t := f.At("target")
	selector := v1alpha1.KustomizeSelector{
		Group: t.At("group").Text(), Version: t.At("version").Text(), Kind: t.At("kind").Text(), Name: t.At("name").Text(),
		Namespace: t.At("namespace").Text(), LabelSelector: t.At("labelSelector").Text(), AnnotationSelector: t.At("annotationSelector").Text(),
	}
	if selector != (v1alpha1.KustomizeSelector{}) {
		out.Target = &selector
	}
	if out.Patch == "" {
		f.Rest("is a patch without its text")
	}
	return out
}
