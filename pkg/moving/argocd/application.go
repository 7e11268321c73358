package argocd

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// spec is the spec of one Application of Argo CD, on its way to one or more of ours.
type spec struct {
	c          *converter
	in         *moving.Input
	at         moving.Field // of the spec
	name       string       // of the Application, a template in a set
	namespace  string
	template   bool
	orphan     bool
	dest       destination
	refs       []reference
	renderings []moving.Field // of sources that are rendered
	homeOf     string         // path of the reference that became spec.source, for a fetched chart
}

type destination struct{ server, name, namespace string }

// inCluster are the names under which Argo CD knows the cluster that it runs in.
var inCluster = []string{"https://kubernetes.default.svc", "in-cluster"}

func (c *converter) application(in *moving.Input) {
	if set := c.madeBy(in); set != "" {
		c.result.Notes = append(c.result.Notes, moving.Note{Level: moving.Info, Object: in.Name,
			Text: "is made by ApplicationSet " + set + ", which is imported; left out"})
		return
	}
	s := &spec{c: c, in: in, at: in.At("spec"), name: in.ObjectName(), namespace: c.namespace(in)}
	s.orphan = !s.cascades()
	meta := metadata{labels: in.At("metadata", "labels").TextMap(), annotations: annotations(in.At("metadata", "annotations"))}
	made := s.convert()
	if !in.Broken() {
		for _, a := range made {
			a.Labels, a.Annotations = meta.labels, meta.annotations
			c.add(in, a)
		}
	}
	c.tell(in)
}

type metadata struct{ labels, annotations map[string]string }

func (c *converter) add(in *moving.Input, made any) {
	object, err := moving.Object(made)
	if err != nil {
		in.Tell(moving.Failed, "%v", err)
		return
	}
	c.result.Add(in, object)
}

// madeBy names the set of this import that the Application belongs to.
func (c *converter) madeBy(in *moving.Input) string {
	for _, owner := range in.At("metadata", "ownerReferences").Each() {
		name := owner.At("name").Text()
		if owner.At("kind").Text() == "ApplicationSet" && c.sets[in.Namespace()+"/"+name] {
			return name
		}
	}
	return ""
}

const cascade = "resources-finalizer.argocd.argoproj.io"

// cascades says whether the objects go when the Application is deleted.
func (s *spec) cascades() bool {
	found := false
	for _, f := range s.in.At("metadata", "finalizers").Each() {
		if name := f.Text(); name == cascade || strings.HasPrefix(name, cascade+"/") {
			found = true
			f.Tell(moving.Info, "became deletionPolicy: delete; take this finalizer away before you delete Argo CD's Application, or its objects go with it")
		} else {
			f.Tell(moving.Lost, "this finalizer is left out")
		}
	}
	return found
}

// convert makes one Application for each source that is rendered.
func (s *spec) convert() []*v1alpha1.Application {
	s.destination()
	if !s.wanted() {
		return nil
	}
	s.sources()
	common := s.common()
	var made []*v1alpha1.Application
	for i, f := range s.renderings {
		a := common.DeepCopy()
		if i > 0 {
			a.Name = fmt.Sprintf("%s-%d", s.name, i+1)
		}
		s.source(f, a)
		if i > 0 {
			s.another(f, a)
		}
		made = append(made, a)
	}
	return made
}

// another is what the second and later of several sources need, which are
// Applications of their own.
func (s *spec) another(f moving.Field, a *v1alpha1.Application) {
	h := a.Spec.Source.Helm
	if h != nil && h.ReleaseName == "" {
		h.ReleaseName = s.name
	}
	chart := ""
	if src := a.Spec.Source; h == nil && src.Kustomize == nil && src.Directory == nil && src.Jsonnet == nil {
		chart = "; if it is a chart, set spec.source.helm.releaseName: " + s.name
	}
	s.in.Tell(moving.Info, "%s became Application %s: one Application renders one source%s", f.Path, a.Name, chart)
}

func (s *spec) common() *v1alpha1.Application {
	a := moving.NewApplication(s.namespace, s.name)
	a.Spec.Destination.Namespace = s.dest.namespace
	a.Spec.ServiceAccountName = s.c.o.Account
	if s.orphan {
		a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
	}
	s.project(a)
	s.policy(a)
	s.ignore(a)
	s.at.At("info").Tell(moving.Lost, "has no counterpart; write it as annotations of the Application")
	s.at.At("revisionHistoryLimit").Tell(moving.Lost, "the status keeps the last ten revisions")
	s.at.At("sourceHydrator").Tell(moving.Lost, "has no counterpart: Plumb renders the dry source itself; point spec.source at it")
	return a
}

func (s *spec) destination() {
	at := s.at.At("destination")
	s.dest = destination{at.At("server").Text(), at.At("name").Text(), at.At("namespace").Text()}
	if len(s.dest.namespace) > 63 && !s.template {
		at.At("namespace").Tell(moving.Failed, "is no name of a namespace")
	}
}

// wanted says whether the Application is for the cluster that is imported.
func (s *spec) wanted() bool {
	at, here := s.at.At("destination"), inCluster
	if s.c.o.Destination != "" {
		here = []string{s.c.o.Destination}
	}
	given := slices.DeleteFunc([]string{s.dest.server, s.dest.name}, func(d string) bool { return d == "" })
	switch elsewhere := slices.DeleteFunc(given, func(d string) bool { return slices.Contains(here, d) }); {
	case len(elsewhere) == 0:
		return true
	case s.template && strings.Contains(elsewhere[0], "{{"):
		for _, field := range []string{"server", "name"} {
			at.At(field).Tell(moving.Lost, "is left out: each cluster runs its own worker; apply the ApplicationSet in every one of them")
		}
		return true
	default:
		s.at.Tell(moving.Lost, "is for the cluster %s and left out: Plumb's worker lives in each cluster; "+
			"run this again with --destination %s, and apply the result there", elsewhere[0], elsewhere[0])
		return false
	}
}

// sources tells those that are rendered from those that are only referred to.
func (s *spec) sources() {
	all := s.at.At("sources").Each()
	single := s.at.At("source")
	switch {
	case len(all) == 0 && single.Given():
		all = []moving.Field{single}
	case len(all) == 0:
		s.in.Tell(moving.Failed, "has no source")
		return
	default:
		single.Tell(moving.Info, "is passed over by Argo CD too, where spec.sources is given")
	}
	for _, f := range all {
		named := f.At("ref").Given()
		if named {
			s.refs = append(s.refs, s.reference(f))
		}
		if !named || f.At("path").Given() || f.At("chart").Given() {
			s.renderings = append(s.renderings, f)
		}
		f.At("name").Tell(moving.Info, "is for people only and left out")
	}
	if len(s.renderings) == 0 {
		s.in.Tell(moving.Failed, "has no source that is rendered")
	}
}

// gone are annotations that mean something to Argo CD alone.
var gone = map[string]string{
	"argocd.argoproj.io/manifest-generate-paths":           "Plumb knows what a render reads",
	"argocd.argoproj.io/refresh":                           "plumb sync asks for an attempt",
	"argocd.argoproj.io/sync-wave":                         "the order of Applications is spec.dependsOn",
	"argocd.argoproj.io/tracking-id":                       "Plumb marks what it owns itself",
	"argocd.argoproj.io/skip-reconcile":                    "spec.suspend: true stops syncs",
	"argocd.argoproj.io/application-set-refresh":           "sets are expanded when something changes",
	"argocd.argoproj.io/sync-options":                      "is for the Application as an object of another one; see docs/policies-per-object.md",
	"argocd.argoproj.io/compare-options":                   "is for the Application as an object of another one",
	"argocd.argoproj.io/deletion-approved":                 "has no counterpart",
	"argocd.argoproj.io/ignore-default-labels-annotations": "has no counterpart",
}

// annotations are those that stay.
func annotations(f moving.Field) map[string]string {
	var out map[string]string
	for _, name := range f.Names() {
		at := f.At(name)
		why, known := gone[name]
		switch {
		case name == "kubectl.kubernetes.io/last-applied-configuration":
			continue
		case known:
			at.Tell(moving.Lost, "is left out: %s", why)
			continue
		case strings.HasPrefix(name, "notifications.argoproj.io/"), strings.HasPrefix(name, "notified.notifications.argoproj.io"):
			at.Tell(moving.Lost, "is left out: notifications are alerter.routes of Plumb's configuration")
			continue
		case strings.HasPrefix(name, "argocd-image-updater.argoproj.io/"):
			at.Tell(moving.Lost, "is left out: new images are to be spec.images")
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = at.Text()
	}
	return out
}

// project is what the AppProject means for the Application.
func (s *spec) project(a *v1alpha1.Application) {
	at := s.at.At("project")
	name := cmp.Or(at.Text(), "default")
	p, known := s.c.projects[name]
	switch {
	case name == "default" && !known:
		at.Tell(moving.Info, "there are no projects: what an Application may do is RBAC of its serviceAccountName")
		return
	case !known:
		at.Tell(moving.Lost, "the AppProject %s is not in the input: its windows are lost, and its limits become RBAC of the Application's serviceAccountName", name)
		return
	}
	at.Tell(moving.Info, "what the AppProject %s limits becomes RBAC of the Application's serviceAccountName", name)
	a.Spec.Sync.Windows = p.windows(s)
	if account := p.account(s); account != "" && a.Spec.ServiceAccountName == "" {
		a.Spec.ServiceAccountName = account
	}
}
