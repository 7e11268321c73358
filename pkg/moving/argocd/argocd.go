// Package argocd turns the Applications, ApplicationSets, AppProjects and
// repository Secrets of Argo CD into Plumb's.
//
// It is pure and reads plain YAML objects: nothing of Argo CD is imported. Every
// field of the input is either in what it makes or named in a note; an object that
// cannot be converted is a note of level Failed. What a field means was read in the
// documentation of Argo CD 3 (operator manual, "Application Specification Reference").
package argocd

import (
	"cmp"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/moving"
)

// converter is one import.
type converter struct {
	o          moving.Options
	repos      []*repository
	projects   map[string]*project // by name
	knownHosts string
	sets       map[string]bool // namespace/name of sets that were converted
	names      map[string]int  // Applications asked for by how many sources
	result     moving.Result
}

// Convert makes Plumb's objects of Argo CD's. Objects of other kinds are passed over.
func Convert(objects []map[string]any, o moving.Options) moving.Result {
	c := &converter{o: o, projects: map[string]*project{}, sets: map[string]bool{}}
	kinds := map[string][]*moving.Input{}
	for _, object := range sorted(objects) {
		if kind := kindOf(object); kind != "" {
			kinds[kind] = append(kinds[kind], moving.Read(object))
		}
	}
	c.read(kinds)
	for _, in := range kinds["ApplicationSet"] {
		c.set(in)
	}
	for _, in := range kinds["Application"] {
		c.application(in)
	}
	c.end(kinds)
	c.result.Sort()
	return c.result
}

// read takes in what Applications refer to.
func (c *converter) read(kinds map[string][]*moving.Input) {
	for _, in := range kinds["ConfigMap"] {
		c.knownHosts = cmp.Or(in.At("data", "ssh_known_hosts").Text(), c.knownHosts)
	}
	for _, in := range kinds["Secret"] {
		c.repos = append(c.repos, newRepository(in))
	}
	for _, in := range kinds["AppProject"] {
		c.projects[in.ObjectName()] = newProject(in)
	}
}

// end tells what is left to say of projects and Secrets once all use of them is known.
func (c *converter) end(kinds map[string][]*moving.Input) {
	for _, in := range kinds["AppProject"] {
		c.projects[in.ObjectName()].end()
		c.tell(in)
	}
	for i, in := range kinds["Secret"] {
		c.secrets(c.repos[i])
		c.tell(in)
	}
	if len(kinds["Application"])+len(kinds["ApplicationSet"]) > 0 {
		c.result.Notes = append(c.result.Notes, general...)
	}
}

func (c *converter) tell(in *moving.Input) {
	c.result.Notes = append(c.result.Notes, in.Notes()...)
}

// general is what holds for every import.
var general = []moving.Note{
	{Level: moving.Info, Text: "an Application whose path holds Applications of Argo CD (app of apps) goes on applying those: put what is printed here in their place in Git"},
	{Level: moving.Info, Text: "annotations of the manifests in Git: what Argo CD reads (argocd.argoproj.io/sync-wave, /hook, /hook-delete-policy, /sync-options, /compare-options) " +
		"means nothing to Plumb; write plumb.dev/wave, /hook, /hook-delete, /prune, /replace, /apply instead, see docs/moving-in.md"},
}

// kindOf is the kind of an object that matters here.
func kindOf(object map[string]any) string {
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	meta, _ := object["metadata"].(map[string]any)
	labels, _ := meta["labels"].(map[string]any)
	switch kind {
	case "Application", "ApplicationSet", "AppProject":
		if strings.HasPrefix(version, "argoproj.io/") {
			return kind
		}
	case "Secret":
		if t := labels["argocd.argoproj.io/secret-type"]; t == "repository" || t == "repo-creds" {
			return kind
		}
	case "ConfigMap":
		if meta["name"] == "argocd-ssh-known-hosts-cm" {
			return kind
		}
	}
	return ""
}

// sorted is by name, so that the order of the input does not matter.
func sorted(objects []map[string]any) []map[string]any {
	out := slices.Clone(objects)
	slices.SortStableFunc(out, func(a, b map[string]any) int { return cmp.Compare(moving.Name(a), moving.Name(b)) })
	return out
}

// namespace is where what is made of an object lives.
func (c *converter) namespace(in *moving.Input) string {
	return cmp.Or(c.o.Namespace, in.Namespace(), "argocd")
}
