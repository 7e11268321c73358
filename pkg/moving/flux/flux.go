// Package flux turns the Kustomizations, HelmReleases and sources of Flux into
// Plumb's Applications.
//
// It is pure and reads plain YAML objects: nothing of Flux is imported. Every field
// of the input is either in what it makes or named in a note; an object that cannot
// be converted is a note of level Failed. What a field means was read in the
// documentation of Flux 2 (components kustomize, helm and source, API v1 and v2).
package flux

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// kinds are those that matter, in the order in which they are told of.
var kinds = []string{"Kustomization", "HelmRelease", "HelmChart", "GitRepository", "OCIRepository", "HelmRepository", "Bucket", "Secret", "ConfigMap"}

// others are kinds of Flux that have no counterpart among Plumb's objects.
var others = map[string]string{
	"Alert":                 "who is told of what is alerter.routes of Plumb's configuration",
	"Provider":              "where notifications go is alerter.channels of Plumb's configuration",
	"Receiver":              "webhooks are receiver.hooks of Plumb's configuration",
	"ImageRepository":       "new images are to be spec.images of an Application",
	"ImagePolicy":           "new images are to be spec.images of an Application",
	"ImageUpdateAutomation": "new images are to be spec.images of an Application",
	"ExternalArtifact":      "artifacts of others are read from a registry: oci://",
	"ArtifactGenerator":     "several sources are spec.sources of an Application",
	"Bucket":                "buckets are no source: put the files into Git, or push them to a registry as an artifact (oci://)",
}

// converter is one import.
type converter struct {
	o      moving.Options
	found  map[string]*source       // sources by kind/namespace/name
	other  map[string]*moving.Input // ConfigMaps and Secrets by kind/namespace/name
	copies map[string][]string      // Secrets by namespace/name, and the namespaces that need a copy
	names  map[string]string        // of the Applications of HelmReleases, by namespace/name
	result moving.Result

	refersTo []*moving.Input // sources of the object that is converted now
}

// source is an object that others refer to.
type source struct {
	in   *moving.Input
	used bool
	told bool
}

// Convert makes Plumb's objects of Flux's. Objects of other kinds are passed over.
func Convert(objects []map[string]any, o moving.Options) moving.Result {
	c := &converter{o: o, found: map[string]*source{}, other: map[string]*moving.Input{}, copies: map[string][]string{}, names: map[string]string{}}
	by := map[string][]*moving.Input{}
	for _, object := range sorted(objects) {
		kind := kindOf(object)
		if kind == "" {
			continue
		}
		in := moving.Read(object)
		by[kind] = append(by[kind], in)
		switch kind {
		case "Secret", "ConfigMap":
			c.other[key(kind, in.Namespace(), in.ObjectName())] = in
		case "Kustomization", "HelmRelease":
		default:
			c.found[key(kind, in.Namespace(), in.ObjectName())] = &source{in: in}
		}
	}
	c.name(by)
	for _, in := range by["Kustomization"] {
		c.kustomization(in)
	}
	for _, in := range by["HelmRelease"] {
		c.release(in)
	}
	c.end(by)
	c.result.Sort()
	return c.result
}

// name gives the Application of a HelmRelease another name where a Kustomization has it.
func (c *converter) name(by map[string][]*moving.Input) {
	taken := map[string]bool{}
	for _, in := range by["Kustomization"] {
		taken[c.target(in)+"/"+in.ObjectName()] = true
	}
	for _, in := range by["HelmRelease"] {
		name := in.ObjectName()
		if taken[c.target(in)+"/"+name] {
			name += "-release"
			in.Tell(moving.Info, "became Application %s, since a Kustomization has its name", name)
		}
		c.names[in.Namespace()+"/"+in.ObjectName()] = name
	}
}

func key(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

// end tells of sources, once it is known who uses them.
func (c *converter) end(by map[string][]*moving.Input) {
	for _, kind := range kinds {
		for _, in := range by[kind] {
			s, isSource := c.found[key(kind, in.Namespace(), in.ObjectName())]
			switch why, none := others[kind]; {
			case none:
				in.At("spec").Tell(moving.Lost, "%s", why)
				in.At("metadata").Rest("has no counterpart")
			case isSource && !s.used:
				in.At("spec").Tell(moving.Lost, "no Kustomization or HelmRelease of the input uses this source; left out")
			}
			if kind != "Kustomization" && kind != "HelmRelease" && kind != "Secret" && kind != "ConfigMap" {
				c.sourceMeta(in)
				c.tell(in)
			}
		}
	}
	for _, kind := range sortedKeys(others) {
		for _, in := range by[kind] {
			if kind == "Bucket" {
				continue
			}
			c.result.Notes = append(c.result.Notes, moving.Note{Level: moving.Lost, Object: in.Name, Text: "has no counterpart: " + others[kind] + "; left out"})
		}
	}
	c.tellCopies()
	if len(by["Kustomization"])+len(by["HelmRelease"]) > 0 {
		c.result.Notes = append(c.result.Notes, general...)
	}
}

// general is what holds for every import.
var general = []moving.Note{
	{Level: moving.Info, Text: "a Kustomization whose path holds objects of Flux goes on applying those: put what is printed here in their place in Git"},
	{Level: moving.Info, Text: "annotations of the manifests in Git: kustomize.toolkit.fluxcd.io/prune, /ssa and /force mean nothing to Plumb; " +
		"write plumb.dev/prune, /apply and /replace instead, see docs/moving-in.md"},
}

func (c *converter) tell(in *moving.Input) {
	c.result.Notes = append(c.result.Notes, in.Notes()...)
}

// sourceMeta is what a source has beside its spec, and what all of them have.
func (c *converter) sourceMeta(in *moving.Input) {
	for _, name := range []string{"labels", "annotations"} {
		in.At("metadata", name).Tell(moving.Info, "sources are part of the Applications; left out")
	}
	for _, f := range in.At("metadata", "finalizers").Each() {
		f.Tell(moving.Info, "sources are part of the Applications; left out")
	}
}

// kindOf is the kind of an object that matters here.
func kindOf(object map[string]any) string {
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	group, _, _ := strings.Cut(version, "/")
	_, none := others[kind]
	switch {
	case strings.HasSuffix(group, ".toolkit.fluxcd.io") && (none || slices.Contains(kinds, kind)):
		return kind
	case version == "v1" && (kind == "Secret" || kind == "ConfigMap"):
		return kind
	}
	return ""
}

// sorted is by name, so that the order of the input does not matter.
func sorted(objects []map[string]any) []map[string]any {
	out := slices.Clone(objects)
	slices.SortStableFunc(out, func(a, b map[string]any) int { return cmp.Compare(moving.Name(a), moving.Name(b)) })
	return out
}

// target is where the Application of an object lives.
func (c *converter) target(in *moving.Input) string {
	return cmp.Or(c.o.Namespace, in.Namespace(), "flux-system")
}

// secret refers to a Secret of the namespace of an object of Flux, from the
// Application's namespace. Flux and Plumb use the same keys, so that a copy will do.
func (c *converter) secret(f moving.Field, from, to string) *v1alpha1.LocalReference {
	name := f.At("name").Text()
	if name != "" && from != to {
		at := from + "/" + name
		if !slices.Contains(c.copies[at], to) {
			c.copies[at] = append(c.copies[at], to)
		}
	}
	return moving.Local(name)
}

// tellCopies makes the Secrets that other namespaces need, or says which to copy.
func (c *converter) tellCopies() {
	for _, at := range sortedKeys(c.copies) {
		namespace, name, _ := strings.Cut(at, "/")
		in := c.other[key("Secret", namespace, name)]
		for _, to := range c.copies[at] {
			note := moving.Note{Level: moving.Lost, Object: "Secret " + at, Text: "copy it to namespace " + to + ", where the Application refers to it"}
			switch {
			case c.o.Secrets && in != nil:
				c.result.Objects = append(c.result.Objects, secret(in, to))
				note.Level, note.Text = moving.Info, "is copied to namespace "+to
			case c.o.Secrets:
				c.result.Want("Secret", namespace, name)
				note.Text += "; it is not in the input"
			}
			c.result.Notes = append(c.result.Notes, note)
		}
	}
}

// secret is a copy in another namespace.
func secret(in *moving.Input, namespace string) map[string]any {
	data := map[string]any{}
	for _, k := range in.At("data").Names() {
		data[k] = in.At("data", k).Text()
	}
	for _, k := range in.At("stringData").Names() {
		data[k] = base64.StdEncoding.EncodeToString([]byte(in.At("stringData", k).Text()))
	}
	return map[string]any{"apiVersion": "v1", "kind": "Secret", "type": cmp.Or(in.At("type").Text(), "Opaque"), "data": data,
		"metadata": map[string]any{"namespace": namespace, "name": in.ObjectName()}}
}
