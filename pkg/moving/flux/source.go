package flux

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// refer finds the source that a reference names; nil, and told, when it is not there.
func (c *converter) refer(f moving.Field, in *moving.Input) (kind string, s *source) {
	kind = f.At("kind").Text()
	namespace := cmp.Or(f.At("namespace").Text(), in.Namespace())
	name := f.At("name").Text()
	f.At("apiVersion").Tell(moving.Info, "the kind says what it is")
	if why, none := others[kind]; none {
		f.Tell(moving.Failed, "%s has no counterpart: %s", kind, why)
		return kind, nil
	}
	s = c.found[key(kind, namespace, name)]
	if s == nil {
		f.Tell(moving.Failed, "%s %s/%s is not in the input, and says where the files come from", kind, namespace, name)
		return kind, nil
	}
	s.used = true
	c.refersTo = append(c.refersTo, s.in)
	return kind, s
}

// tree is a GitRepository or OCIRepository as the source of an Application.
func (c *converter) tree(kind string, s *source, to string, out *v1alpha1.Source) {
	if kind == "OCIRepository" {
		c.artifact(s, to, out)
	} else {
		c.git(s, to, out)
	}
	s.told = true
}

func (c *converter) git(s *source, to string, out *v1alpha1.Source) {
	spec, again := s.in.At("spec"), s.told
	out.Repo = spec.At("url").Text()
	if !again {
		out.Repo = spec.At("url").Repo()
	}
	ref := spec.At("ref")
	out.Ref, out.Semver = gitRef(ref)
	out.SecretRef = c.secret(spec.At("secretRef"), s.in.Namespace(), to)
	out.Submodules = spec.At("recurseSubmodules").Bool()
	if v := spec.At("verify", "secretRef"); v.Given() {
		out.Verify = &v1alpha1.Verification{SecretRef: *cmp.Or(c.secret(v, s.in.Namespace(), to), &v1alpha1.LocalReference{Name: "keys"})}
	}
	if again {
		return
	}
	if !out.Submodules {
		spec.At("recurseSubmodules").Tell(moving.Info, "is the default")
	}
	switch mode := spec.At("verify", "mode"); strings.ToLower(mode.Text()) {
	case "head", "":
		mode.Tell(moving.Info, "the commit that is applied has to be signed")
	default:
		mode.Tell(moving.Lost, "signatures of tags are not looked at: the commit that is applied has to be signed")
	}
	c.tellSource(spec)
	spec.At("ignore").Tell(moving.Lost, "what is not to be rendered is left out by spec.source.path, directory.include and directory.exclude; .sourceignore is not read")
	for _, f := range spec.At("include").Each() {
		f.Tell(moving.Lost, "another repository is one of spec.sources, at $name in the tree")
	}
	for _, f := range spec.At("sparseCheckout").Each() {
		f.Tell(moving.Info, "only what a render reads is looked at")
	}
}

// gitRef is what Flux takes of a ref: commit before name, name before semver, then
// tag, then branch, then master.
func gitRef(f moving.Field) (ref, versions string) {
	order := []string{"commit", "name", "semver", "tag", "branch"}
	for i, kind := range order {
		at := f.At(kind)
		value := at.Text()
		if value == "" {
			continue
		}
		for _, weaker := range order[i+1:] {
			f.At(weaker).Tell(moving.Info, "is passed over: %s counts", kind)
		}
		if kind == "semver" {
			return "", value
		}
		return value, ""
	}
	return "master", ""
}

// tellSource tells of what all kinds of sources have.
func (c *converter) tellSource(spec moving.Field) {
	spec.At("interval").Tell(moving.Info, "a push is told by a webhook; spec.sync.interval is for those that are missed")
	spec.At("timeout").Tell(moving.Info, "fetching is part of spec.sync.timeout")
	if f := spec.At("suspend"); f.Bool() {
		f.Tell(moving.Lost, "a source cannot be suspended, an Application can: spec.suspend")
	} else {
		f.Tell(moving.Info, "is the default")
	}
	if f := spec.At("provider"); f.Text() != "generic" && f.Given() {
		f.Tell(moving.Lost, "identities of cloud providers are not known: name a Secret with secretRef; a GitHub App's keys there say what they are")
	} else {
		f.Tell(moving.Info, "is the default")
	}
	for _, lost := range [][2]string{
		{"proxySecretRef", "proxies are not known"}, {"certSecretRef", "certificates of hosts are those that the system trusts"},
		{"serviceAccountName", "a registry is shown the Secret of secretRef, or git.credentials"},
	} {
		spec.At(lost[0]).Tell(moving.Lost, "%s", lost[1])
	}
	spec.At("accessFrom").Tell(moving.Lost, "which namespaces may use which repositories is git.sources of Plumb's configuration")
	if f := spec.At("insecure"); f.Bool() {
		f.Tell(moving.Lost, "plain http: name the host in git.insecureHosts of Plumb's configuration")
	} else {
		f.Tell(moving.Info, "is the default")
	}
}

func (c *converter) artifact(s *source, to string, out *v1alpha1.Source) {
	spec, again := s.in.At("spec"), s.told
	if out.Repo = spec.At("url").Text(); !again {
		out.Repo = spec.At("url").ChartRepo()
	}
	ref := spec.At("ref")
	switch digest, versions := ref.At("digest").Text(), ref.At("semver").Text(); {
	case digest != "":
		out.Ref = digest
	case versions != "":
		out.Semver = versions
	default:
		out.Ref = ref.At("tag").Text()
	}
	out.SecretRef = c.secret(spec.At("secretRef"), s.in.Namespace(), to)
	if again {
		return
	}
	if out.Ref != "" && out.Ref == ref.At("digest").Text() {
		ref.At("semver").Tell(moving.Info, "is passed over: digest counts")
		ref.At("tag").Tell(moving.Info, "is passed over: digest counts")
	} else if out.Semver != "" {
		ref.At("tag").Tell(moving.Info, "is passed over: semver counts")
	}
	ref.At("semverFilter").Tell(moving.Lost, "all tags that are versions count")
	spec.At("layerSelector").Tell(moving.Lost, "the layer is found by its media type; see docs/sources.md")
	spec.At("verify").Tell(moving.Lost, "signatures of artifacts are not checked; name the artifact by its digest")
	spec.At("ignore").Tell(moving.Lost, "what is not to be rendered is left out by spec.source.path, directory.include and directory.exclude")
	c.tellSource(spec)
}

// helmRepository is where the charts of a HelmRepository come from.
func (c *converter) helmRepository(s *source, to string) (url string, ref *v1alpha1.LocalReference) {
	spec := s.in.At("spec")
	if url = strings.TrimSuffix(spec.At("url").Text(), "/"); !s.told {
		url = spec.At("url").ChartRepo()
		c.tellSource(spec)
		spec.At("type").Tell(moving.Info, "the URL says what it is")
		if f := spec.At("passCredentials"); f.Bool() {
			f.Tell(moving.Lost, "archives on another host are fetched without the credential")
		} else {
			f.Tell(moving.Info, "is the default")
		}
	}
	s.told = true
	return url, c.secret(spec.At("secretRef"), s.in.Namespace(), to)
}

// relative is a file below the root of the repository, as seen from a directory in it.
func relative(from, file string) string {
	up := ""
	if from = path.Clean(from); from != "." {
		up = strings.Repeat("../", len(strings.Split(from, "/")))
	}
	return up + strings.TrimLeft(path.Clean("/"+file), "/")
}
