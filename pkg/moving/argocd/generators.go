package argocd

import (
	"encoding/json"
	"maps"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// generators are those of one set, and what its templates may then refer to.
type generators struct {
	in            *moving.Input
	clusters, git bool
	prefixes      []string // of the parameters of paths
}

func (g *generators) all(f moving.Field) []v1alpha1.Generator {
	var out []v1alpha1.Generator
	for _, one := range f.Each() {
		out = append(out, g.one(one))
	}
	if len(out) == 0 {
		g.in.Tell(moving.Failed, "has no generators")
	}
	return out
}

// one reads a generator of a set.
func (g *generators) one(f moving.Field) v1alpha1.Generator {
	if m := f.At("matrix"); m.Given() {
		m.At("template").Tell(moving.Failed, "a template of a generator has no counterpart; make a set of its own")
		return v1alpha1.Generator{Matrix: g.matrix(m.At("generators"))}
	}
	plain, values := g.plain(f)
	if len(values) == 0 {
		return v1alpha1.Generator{PlainGenerator: plain}
	}
	raw, _ := json.Marshal(map[string]any{"values": values}) // texts encode
	with := v1alpha1.PlainGenerator{List: &v1alpha1.ListGenerator{Elements: []apiextensionsv1.JSON{{Raw: raw}}}}
	return v1alpha1.Generator{Matrix: &v1alpha1.MatrixGenerator{Generators: []v1alpha1.MatrixPart{{PlainGenerator: plain}, {PlainGenerator: with}}}}
}

func (g *generators) matrix(f moving.Field) *v1alpha1.MatrixGenerator {
	out := &v1alpha1.MatrixGenerator{}
	parts := f.Each()
	if len(parts) != 2 {
		f.Tell(moving.Failed, "want two generators")
	}
	for _, part := range parts {
		plain, values := g.plain(part)
		if len(values) > 0 {
			part.Tell(moving.Failed, "values of a generator in a matrix have no counterpart; write them into the template")
		}
		out.Generators = append(out.Generators, v1alpha1.MatrixPart{PlainGenerator: plain})
	}
	return out
}

// unknown are generators that have no counterpart.
var unknown = map[string]string{
	"scmProvider":             "Git hosts are not asked for repositories; list them",
	"pullRequest":             "Git hosts are not asked for pull requests",
	"merge":                   "write the parameters together, as a list or as files in Git",
	"plugin":                  "nothing of anybody else's runs; write its answer as a list or as files in Git",
	"clusterDecisionResource": "a worker knows its own cluster alone; use clusters with labels",
	"matrix":                  "a matrix is made of two generators that are none",
}

// plain reads a generator that is made of no others, and its values.
func (g *generators) plain(f moving.Field) (v1alpha1.PlainGenerator, map[string]string) {
	var out v1alpha1.PlainGenerator
	f.At("selector").Tell(moving.Failed, "a selector over parameters has no counterpart")
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		f.At(name).Tell(moving.Failed, "this generator has no counterpart: %s", unknown[name])
	}
	for _, kind := range []string{"list", "git", "clusters"} {
		f.At(kind, "template").Tell(moving.Failed, "a template of a generator has no counterpart; make a set of its own")
		f.At(kind, "requeueAfterSeconds").Tell(moving.Info, "a set is expanded when something changes")
	}
	switch {
	case f.At("list").Given():
		out.List = g.list(f.At("list"))
	case f.At("git").Given():
		g.fromGit(f.At("git"), &out)
		return out, f.At("git", "values").TextMap()
	case f.At("clusters").Given():
		out.Clusters = g.cluster(f.At("clusters"))
		return out, f.At("clusters", "values").TextMap()
	default:
		f.Rest("is no generator that is known")
		if !g.in.Broken() {
			g.in.Tell(moving.Failed, "%s is no generator that is known", f.Path)
		}
	}
	return out, nil
}

func (g *generators) list(f moving.Field) *v1alpha1.ListGenerator {
	out := &v1alpha1.ListGenerator{Elements: []apiextensionsv1.JSON{}}
	for _, e := range f.At("elements").Each() {
		raw, err := json.Marshal(e.Any())
		if _, is := e.Any().(map[string]any); err != nil || !is {
			e.Tell(moving.Failed, "want a mapping")
			continue
		}
		out.Elements = append(out.Elements, apiextensionsv1.JSON{Raw: raw})
	}
	f.At("elementsYaml").Tell(moving.Failed, "elements that are a template have no counterpart; use files in Git")
	return out
}

func (g *generators) fromGit(f moving.Field, out *v1alpha1.PlainGenerator) {
	g.git = true
	source := v1alpha1.GitSource{Repo: f.At("repoURL").Repo(), Ref: f.At("revision").Text(), PathParameter: f.At("pathParamPrefix").Text()}
	if source.Ref == "HEAD" {
		source.Ref = ""
		f.At("revision").Tell(moving.Info, "is what no ref means")
	}
	if source.PathParameter != "" {
		g.prefixes = append(g.prefixes, source.PathParameter)
	}
	directories, files := f.At("directories").Each(), f.At("files").Each()
	switch {
	case len(directories) > 0:
		out.GitDirectories = &v1alpha1.GitDirectoriesGenerator{GitSource: source}
		out.GitDirectories.Include, out.GitDirectories.Exclude = globs(directories)
	case len(files) > 0:
		out.GitFiles = &v1alpha1.GitFilesGenerator{GitSource: source}
		var excluded []string
		if out.GitFiles.Files, excluded = globs(files); len(excluded) > 0 {
			f.At("files").Tell(moving.Failed, "files cannot be excluded; write patterns that leave them out")
		}
	default:
		f.Tell(moving.Failed, "has neither directories nor files")
	}
}

func globs(fields []moving.Field) (include, exclude []string) {
	for _, f := range fields {
		if out := f.At("exclude"); out.Bool() {
			exclude = append(exclude, f.At("path").Directory())
		} else {
			out.Tell(moving.Info, "is the default")
			include = append(include, f.At("path").Directory())
		}
	}
	return include, exclude
}

func (g *generators) cluster(f moving.Field) *v1alpha1.ClustersGenerator {
	g.clusters = true
	out := &v1alpha1.ClustersGenerator{Selector: f.At("selector", "matchLabels").TextMap()}
	if delete(out.Selector, secretType); f.At("selector", "matchLabels", secretType).Given() {
		f.At("selector", "matchLabels", secretType).Tell(moving.Info, "clusters are no Secrets here")
	}
	f.At("selector", "matchExpressions").Tell(moving.Failed, "labels are compared as a whole; use matchLabels")
	f.At("flatList").Tell(moving.Failed, "a worker knows its own cluster alone")
	f.Names() // none need be there
	g.in.Tell(moving.Info, "%s yields the cluster that the set is in alone, with its name and labels from the configuration: apply the set in every cluster", f.Path)
	return out
}

const secretType = "argocd.argoproj.io/secret-type"
