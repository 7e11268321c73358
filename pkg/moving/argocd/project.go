package argocd

import (
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// project is an AppProject: its windows and accounts go to its Applications, its
// limits become RBAC.
type project struct {
	in   *moving.Input
	used map[string]bool // windows that some Application got
}

func newProject(in *moving.Input) *project { return &project{in: in, used: map[string]bool{}} }

// windows are the sync windows that hold for the Application.
func (p *project) windows(s *spec) []v1alpha1.Window {
	var out []v1alpha1.Window
	for _, f := range p.in.At("spec", "syncWindows").Each() {
		if !p.matches(f, s) {
			continue
		}
		if w, is := p.window(f); is {
			out = append(out, w)
		}
		p.used[f.Path] = true
	}
	return out
}

// matches says whether a window is for the Application: by any of the names that it
// has globs for, or by all of them.
func (p *project) matches(f moving.Field, s *spec) bool {
	var met, given int
	for field, names := range map[string][]string{
		"applications": {s.name}, "namespaces": {s.dest.namespace}, "clusters": {s.dest.server, s.dest.name},
	} {
		globs := f.At(field).Texts()
		if len(globs) == 0 {
			continue
		}
		given++
		if slices.ContainsFunc(globs, func(glob string) bool {
			return glob == "*" || !s.template && slices.ContainsFunc(names, func(n string) bool { fits, err := path.Match(glob, n); return err == nil && fits && n != "" })
		}) {
			met++
		}
	}
	if f.At("useAndOperator").Bool() {
		return given > 0 && met == given
	}
	return met > 0
}

func (p *project) window(f moving.Field) (v1alpha1.Window, bool) {
	w := v1alpha1.Window{Kind: f.At("kind").Text(), Schedule: strings.Join(strings.Fields(f.At("schedule").Text()), " "), TimeZone: f.At("timeZone").Text()}
	length, err := time.ParseDuration(f.At("duration").Text())
	w.Duration.Duration = length
	wrong := ""
	switch {
	case w.Kind != "allow" && w.Kind != "deny":
		wrong = "the kind is neither allow nor deny"
	case len(strings.Fields(w.Schedule)) != 5:
		wrong = "the schedule is not one of five fields"
	case err != nil || length < time.Second || length > 24*time.Hour:
		wrong = "the duration is not one from 1s to 24h"
	}
	switch {
	case p.used[f.Path]: // told when it was first met
	case wrong != "":
		f.Tell(moving.Lost, "the window is left out: %s", wrong)
	default:
		p.tellWindow(f)
	}
	return w, wrong == ""
}

func (p *project) tellWindow(f moving.Field) {
	if manual := f.At("manualSync"); manual.Bool() {
		manual.Tell(moving.Lost, "a window holds for syncs that a person asks for, too")
	} else {
		manual.Tell(moving.Info, "a window holds for syncs that a person asks for, too")
	}
	f.At("description").Tell(moving.Info, "is for people only and left out")
	f.At("syncOverrun").Tell(moving.Info, "a sync that has begun is carried to its end")
	for _, field := range []string{"applications", "namespaces", "clusters", "useAndOperator"} {
		f.At(field).Tell(moving.Info, "the window stands in each Application that it is for")
	}
}

// account is the ServiceAccount that the project gives the Application's destination.
func (p *project) account(s *spec) string {
	for _, f := range p.in.At("spec", "destinationServiceAccounts").Each() {
		server, namespace := f.At("server").Text(), f.At("namespace").Text()
		fits, err := path.Match(namespace, s.dest.namespace)
		if err != nil || !fits && namespace != s.dest.namespace || server != "*" && server != s.dest.server {
			continue
		}
		account := f.At("defaultServiceAccount")
		name := account.Text()
		if ns, rest, found := strings.Cut(name, ":"); found {
			if name = rest; ns != s.namespace {
				account.Tell(moving.Lost, "serviceAccountName is an account of the Application's namespace: make %s in %s", name, s.namespace)
			}
		} else if s.dest.namespace != s.namespace {
			account.Tell(moving.Lost, "serviceAccountName is an account of the Application's namespace: make %s in %s, and let it write to %s", name, s.namespace, s.dest.namespace)
		}
		return name
	}
	return ""
}

// limits are what a project allows, and what stands for it here.
var limits = map[string]string{
	"sourceRepos":                     "which namespaces may use which repositories is git.sources of Plumb's configuration",
	"destinations":                    "where an Application may write is RBAC of its serviceAccountName",
	"clusterResourceWhitelist":        "which kinds an Application may write is RBAC of its serviceAccountName",
	"clusterResourceBlacklist":        "which kinds an Application may write is RBAC of its serviceAccountName, which only allows",
	"namespaceResourceWhitelist":      "which kinds an Application may write is RBAC of its serviceAccountName",
	"namespaceResourceBlacklist":      "which kinds an Application may write is RBAC of its serviceAccountName, which only allows",
	"sourceNamespaces":                "an Application lives in any namespace that joined (docs/install.md)",
	"roles":                           "who may change or sync an Application is RBAC of the cluster on applications.plumb.dev",
	"signatureKeys":                   "becomes spec.source.verify of each Application, with a Secret of the keys themselves",
	"orphanedResources":               "objects that no Application owns are not looked for",
	"permitOnlyProjectScopedClusters": "each cluster runs its own worker",
	"description":                     "there are no projects",
}

// end tells of what no Application took.
func (p *project) end() {
	spec := p.in.At("spec")
	for _, field := range slices.Sorted(maps.Keys(limits)) {
		spec.At(field).Tell(moving.Lost, "%s", limits[field])
	}
	for _, f := range spec.At("syncWindows").Each() {
		if !p.used[f.Path] {
			f.Tell(moving.Lost, "no Application of the input is known to be in this window")
		}
	}
	for _, f := range spec.At("destinationServiceAccounts").Each() {
		f.Rest("no Application of the input has this destination")
	}
	for _, f := range []moving.Field{p.in.At("metadata", "labels"), p.in.At("metadata", "annotations"), p.in.At("metadata", "finalizers")} {
		f.Tell(moving.Info, "there are no projects")
	}
}
