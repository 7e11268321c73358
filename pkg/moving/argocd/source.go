package argocd

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// reference is a source with a ref, to which value files refer.
type reference struct {
	at   moving.Field
	ref  string // as Argo CD has it
	name string // as a name of spec.sources has to be
	used bool
}

var notInNames = regexp.MustCompile(`[^a-z0-9-]+`)

func (s *spec) reference(f moving.Field) reference {
	at := f.At("ref")
	ref := at.Text()
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(ref), "-"), "-")
	name = strings.Trim(name[:min(len(name), 60)], "-")
	if name == "" || name == "chart" {
		name = "source" + strings.TrimPrefix("-"+name, "--")
		name = strings.TrimSuffix(name, "-")
	}
	if name != ref {
		at.Tell(moving.Info, "became %s, as names of spec.sources are", name)
	}
	return reference{at: f, ref: ref, name: name}
}

// source turns one rendered source into that of an Application.
func (s *spec) source(f moving.Field, a *v1alpha1.Application) {
	if f.At("chart").Given() {
		s.chart(f, a)
	} else {
		s.tree(f, &a.Spec.Source)
		a.Spec.Source.Path = f.At("path").Directory()
	}
	s.renderer(f, a)
	s.referred(f, a)
}

// tree is where the files of a source come from.
func (s *spec) tree(f moving.Field, out *v1alpha1.Source) {
	url := f.At("repoURL")
	if text := url.Text(); strings.HasPrefix(text, "oci://") {
		out.Repo = url.ChartRepo()
		out.Ref, out.Semver = moving.Tag(f.At("targetRevision").Text())
	} else {
		out.Repo = url.Repo()
		out.Ref, out.Semver = revision(f.At("targetRevision"))
	}
	out.SecretRef = s.c.secretFor(out.Repo, s.namespace)
}

// revision is a ref, or a range over tags, which Argo CD writes in the same field.
func revision(f moving.Field) (ref, versions string) {
	text := f.Text()
	switch {
	case text == "HEAD":
		f.Tell(moving.Info, "is what no ref means")
		return "", ""
	case moving.Ranged(text):
		return "", text
	}
	return text, ""
}

// chart is one of a Helm repository or of a registry. A chart of a registry is a
// source of its own; one of a Helm repository is found from a source in Git.
func (s *spec) chart(f moving.Field, a *v1alpha1.Application) {
	url, name := f.At("repoURL").Text(), f.At("chart").Text()
	if strings.HasPrefix(url, "oci://") || !strings.Contains(url, "://") && !strings.Contains(url, "{{") {
		registry := strings.TrimSuffix(strings.TrimPrefix(url, "oci://"), "/")
		a.Spec.Source.Repo = "oci://" + registry + "/" + name
		a.Spec.Source.Ref, a.Spec.Source.Semver = moving.Tag(f.At("targetRevision").Text())
		a.Spec.Source.SecretRef = s.c.secretFor(registry, s.namespace)
		a.Spec.Source.Helm = &v1alpha1.HelmSource{}
		return
	}
	a.Spec.Source.Helm = &v1alpha1.HelmSource{Chart: name, Repo: f.At("repoURL").ChartRepo(), Version: f.At("targetRevision").Text()}
	a.Spec.Source.Helm.SecretRef = s.c.secretFor(url, s.namespace)
	s.home(f, a)
}

// home is the Git source of an Application whose chart is in a Helm repository.
func (s *spec) home(f moving.Field, a *v1alpha1.Application) {
	s.homeOf, a.Spec.Source.Path = "", "."
	for _, file := range f.At("helm", "valueFiles").Each() {
		if r := s.referTo(file.Text()); r != nil {
			r.used, s.homeOf = true, r.at.Path
			s.tree(r.at, &a.Spec.Source)
			return
		}
	}
	if s.c.o.Repo == "" {
		return // a chart needs nothing beside it
	}
	a.Spec.Source.Repo, a.Spec.Source.Ref = s.c.o.Repo, s.c.o.Ref
	s.in.Tell(moving.Info, "spec.source.repo is that of --repo: Argo CD has the chart without a Git repository")
}

// referTo finds the source that a value file names.
func (s *spec) referTo(file string) *reference {
	name, _, _ := strings.Cut(strings.TrimPrefix(file, "$"), "/")
	if i := slices.IndexFunc(s.refs, func(r reference) bool { return r.ref == name }); strings.HasPrefix(file, "$") && i >= 0 {
		return &s.refs[i]
	}
	return nil
}

// referred adds the sources that the Application's value files name.
func (s *spec) referred(f moving.Field, a *v1alpha1.Application) {
	for i := range s.refs {
		r := &s.refs[i]
		prefix := "$" + r.name + "/"
		if h := a.Spec.Source.Helm; h == nil || !slices.ContainsFunc(h.ValueFiles, func(v string) bool { return strings.HasPrefix(v, prefix) }) {
			continue
		}
		r.used = true
		out := v1alpha1.Source{}
		s.tree(r.at, &out)
		a.Spec.Sources = append(a.Spec.Sources, v1alpha1.NamedSource{Name: r.name, Repo: out.Repo, Ref: out.Ref, Semver: out.Semver, SecretRef: out.SecretRef})
	}
	if f.Path != s.renderings[len(s.renderings)-1].Path {
		return
	}
	for _, r := range s.refs {
		if !r.used && !slices.ContainsFunc(s.renderings, func(f moving.Field) bool { return f.Path == r.at.Path }) {
			r.at.Rest("no value file refers to this source; left out")
		}
		r.at.At("ref").Skip()
	}
}

// renderer is how the source is rendered.
func (s *spec) renderer(f moving.Field, a *v1alpha1.Application) {
	f.At("plugin").Tell(moving.Failed, "has no counterpart: nothing of a repository runs here. Render in CI, commit the result, and point spec.source at that")
	switch {
	case a.Spec.Source.Helm != nil, f.At("helm").Given():
		s.helm(f, a)
	case f.At("kustomize").Given():
		a.Spec.Source.Kustomize = s.kustomize(f.At("kustomize"))
	case f.At("directory").Given():
		s.directory(f.At("directory"), &a.Spec.Source)
	}
}

// directory is a directory of YAML, or of Jsonnet where it has settings of that.
func (s *spec) directory(f moving.Field, out *v1alpha1.Source) {
	if len(f.At("jsonnet").Names()) > 0 {
		out.Jsonnet = jsonnet(f.At("jsonnet"))
		for _, name := range []string{"recurse", "include", "exclude"} {
			f.At(name).Tell(moving.Lost, "the .jsonnet files of the path are rendered, none below it and no YAML beside them")
		}
		return
	}
	out.Directory = &v1alpha1.DirectorySource{Recurse: f.At("recurse").Bool()}
	out.Directory.Include = glob(f.At("include"), out.Directory.Recurse)
	out.Directory.Exclude = glob(f.At("exclude"), out.Directory.Recurse)
	if f.At("recurse").Given() && !out.Directory.Recurse {
		f.At("recurse").Tell(moving.Info, "is the default")
	}
}

// glob reads a pattern. In Argo CD a star crosses slashes; here ** does, and a
// pattern without a slash is for the file's name.
func glob(f moving.Field, recurse bool) string {
	text := f.Text()
	opened := strings.Split(text, "{")
	for _, part := range opened[1:] {
		if !strings.Contains(part, "}") {
			f.Tell(moving.Lost, "braces that nest or stay open are not known; left out")
			return ""
		}
	}
	segments := strings.Split(text, "/")
	for i, segment := range segments {
		if segment == "*" && len(segments) > 1 && i < len(segments)-1 {
			segments[i] = "**"
		}
	}
	switch {
	case recurse && len(segments) > 1:
		f.Tell(moving.Info, "a star stays within a directory here, and ** crosses them; compare with plumb render")
	case recurse && !strings.HasPrefix(text, "*") && text != "":
		f.Tell(moving.Info, "a pattern without a slash is for the name of a file in any directory here; compare with plumb render")
	}
	return strings.Join(segments, "/")
}

func jsonnet(f moving.Field) *v1alpha1.JsonnetSource {
	out := &v1alpha1.JsonnetSource{}
	out.TLA, out.TLACode = variables(f.At("tlas"))
	out.Ext, out.ExtCode = variables(f.At("extVars"))
	for _, lib := range f.At("libs").Each() {
		out.Libs = append(out.Libs, lib.Directory())
	}
	return out
}

// variables are texts, and Jsonnet expressions.
func variables(f moving.Field) (texts, code map[string]string) {
	texts, code = map[string]string{}, map[string]string{}
	for _, v := range f.Each() {
		name, value := v.At("name").Text(), v.At("value").Text()
		if isCode := v.At("code"); isCode.Bool() {
			code[name] = value
		} else {
			isCode.Tell(moving.Info, "is the default")
			texts[name] = value
		}
	}
	return texts, code
}

// relative is a file below the root of the repository, as seen from a directory in it.
func relative(from, file string) string {
	up := strings.Repeat("../", len(strings.Split(path.Clean(from), "/")))
	if path.Clean(from) == "." {
		up = ""
	}
	return cmp.Or(up+strings.TrimLeft(path.Clean(file), "/"), ".")
}
