package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/plumb-gitops/plumb/integration/demo/registry"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

func startRegistry(t *testing.T) string {
	t.Helper()
	r, err := registry.Start("http://127.0.0.1:1/", "unused")
	must(t, err)
	t.Cleanup(r.Stop)
	return r.Host()
}

// pushChart puts a chart into a registry as helm push does, and returns the digest.
func pushChart(t *testing.T, host, chart, version string, files map[string]string) string {
	t.Helper()
	layer := static.NewLayer(archive(t, files), types.MediaType("application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.helm.config.v1+json")
	image, err := mutate.AppendLayers(image, layer)
	must(t, err)
	ref, err := name.ParseReference(host+"/charts/"+chart+":"+version, name.Insecure)
	must(t, err)
	must(t, remote.Write(ref, image, remote.WithContext(t.Context())))
	digest, err := image.Digest()
	must(t, err)
	return digest.String()
}

// A chart of a registry is the one that its digest names, whatever the tag leads to.
func TestAChartOfARegistryIsPinned(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	host := startRegistry(t)
	digest := pushChart(t, host, "web", "1.2.3", chartFiles("web/", "web", nil))
	repo := s.Repo(t, "acme/config", map[string]string{"web/values.yaml": "value: from-git\n"})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Helm = &v1alpha1.HelmSource{Chart: "web", Repo: "oci://" + host + "/charts", Version: "1.2.3", Digest: digest, ValueFiles: []string{"values.yaml"}}
	s.Create(t, a)
	s.Data(t, ns, "web", map[string]string{"value": "from-git"})
	live := s.Await(t, a.Key(), "live", stack.Ready)
	if got, want := live.Status.Inputs.Sources, (v1alpha1.SourceRevision{Name: "$chart", Revision: "1.2.3@" + digest}); len(got) != 1 || got[0] != want {
		t.Errorf("sources %v, want %v", got, want)
	}
	moved := pushChart(t, host, "web", "1.2.3", chartFiles("web/", "web", map[string]string{"templates/evil.yaml": stack.ConfigMap("evil", "x")}))
	sha := s.Push(t, repo, map[string]string{"web/values.yaml": "value: pushed\n"})
	s.Live(t, a.Key(), sha)
	if owned := s.Owned(t, a.Key(), ns); len(owned) != 1 {
		t.Errorf("the tag's new chart was taken: %v", owned)
	}

	s.Patch(t, a.Key(), `{"spec":{"source":{"helm":{"digest":"sha256:`+strings.Repeat("0", 64)+`"}}}}`)
	tells(t, s.Failed(t, a.Key(), "SourceRefused"), "fetch chart web", host)
	s.Patch(t, a.Key(), fmt.Sprintf(`{"spec":{"source":{"helm":{"version":"2.0.0","digest":%q}}}}`, moved))
	tells(t, s.Await(t, a.Key(), "refused for the version", func(a *v1alpha1.Application) error {
		return lacks(stack.Condition(a, "Ready").Message, "is wanted")
	}), "1.2.3", "2.0.0", "correct version or digest")
	s.Data(t, ns, "web", map[string]string{"value": "pushed"})
}

// A Helm repository whose archive is not the one that is pinned gives nothing.
func TestAChartOfARepositoryIsPinned(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	charts := chartRepository(t, "web")
	repo := s.Repo(t, "acme/config", map[string]string{"web/values.yaml": "value: x\n"})
	a := stack.Application(ns, "web", repo, "web")
	wrong := "sha256:" + strings.Repeat("0", 64)
	a.Spec.Source.Helm = &v1alpha1.HelmSource{Chart: "web", Repo: charts.URL, Version: "1.x", Digest: wrong}
	s.Create(t, a)
	tells(t, s.Failed(t, a.Key(), "SourceRefused"), "version 1.2.3", wrong, "spec.source.helm.digest")
	if owned := s.Owned(t, a.Key(), ns); len(owned) != 0 {
		t.Errorf("objects: %v", owned)
	}
}

// What an artifact cannot have is refused by its field.
func TestWhatAnArtifactCannotHaveIsRefused(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	host := startRegistry(t)
	digest := pushArtifact(t, host, "v1.0.0", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "one")})
	source := func(name string) *v1alpha1.Application {
		a := &v1alpha1.Application{}
		a.APIVersion, a.Kind, a.Namespace, a.Name = v1alpha1.Group+"/"+v1alpha1.Version, "Application", ns, name
		a.Spec.Source = v1alpha1.Source{Repo: "oci://" + host + "/acme/config", Ref: digest, Path: "web"}
		s.Create(t, a)
		return a
	}
	pinned := source("pinned")
	s.Live(t, pinned.Key(), digest)
	s.Patch(t, pinned.Key(), `{"spec":{"source":{"verify":{"secretRef":{"name":"keys"}}}}}`)
	tells(t, s.Failed(t, pinned.Key(), "SourceRefused"), "spec.source.verify", "by its digest instead")
	s.Patch(t, pinned.Key(), `{"spec":{"source":{"verify":null,"submodules":true}}}`)
	tells(t, s.Await(t, pinned.Key(), "refused for submodules", func(a *v1alpha1.Application) error {
		return lacks(stack.Condition(a, "Ready").Message, "submodules")
	}), "spec.source.submodules", "remove the field")
	s.Patch(t, pinned.Key(), `{"spec":{"source":{"submodules":null,"ref":"v9.0.0"}}}`)
	tells(t, s.Await(t, pinned.Key(), "refused for the tag", func(a *v1alpha1.Application) error {
		return lacks(stack.Condition(a, "Ready").Message, "v9.0.0")
	}), host)
}
