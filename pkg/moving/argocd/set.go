package argocd

import (
	"encoding/json"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	kjson "sigs.k8s.io/json"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// set turns an ApplicationSet into one of ours, or into one for each rendered
// source of its template.
func (c *converter) set(in *moving.Input) {
	at := in.At("spec")
	g := &generators{in: in}
	all := g.all(at.At("generators"))
	t := translator{clusters: g.clusters, git: g.git, prefixes: g.prefixes, goTemplate: at.At("goTemplate").Bool()}
	template := at.At("template")
	s := &spec{c: c, in: in, at: template.At("spec"), name: template.At("metadata", "name").Text(), namespace: c.namespace(in), template: true}
	out := c.newSet(in, s)
	out.Spec.Generators = all
	meta := metadata{labels: template.At("metadata", "labels").TextMap(), annotations: annotations(template.At("metadata", "annotations"))}
	if !t.goTemplate {
		in.Tell(moving.Info, "a parameter that is missing is an error, where Argo CD leaves its braces; all elements need all parameters")
	}
	c.setRest(in)
	for i, a := range s.convert() {
		set := out.DeepCopy()
		if i > 0 {
			set.Name = fmt.Sprintf("%s-%d", set.Name, i+1)
		}
		c.addSet(in, set, a, meta, t)
	}
	if !in.Broken() {
		c.sets[in.Namespace()+"/"+in.ObjectName()] = true
	}
	c.tell(in)
}

func (c *converter) newSet(in *moving.Input, s *spec) *v1alpha1.ApplicationSet {
	out := &v1alpha1.ApplicationSet{}
	out.APIVersion, out.Kind = v1alpha1.Group+"/"+v1alpha1.Version, v1alpha1.SetKind.Kind
	out.Namespace, out.Name = s.namespace, in.ObjectName()
	out.Labels, out.Annotations = in.At("metadata", "labels").TextMap(), annotations(in.At("metadata", "annotations"))
	c.setPolicy(in, s, out)
	in.Tell(moving.Info, "where worker.impersonation is required, give the set a spec.serviceAccountName that may create, patch and delete applications.plumb.dev")
	return out
}

// setPolicy is spec.syncPolicy of a set.
func (c *converter) setPolicy(in *moving.Input, s *spec, out *v1alpha1.ApplicationSet) {
	at := in.At("spec", "syncPolicy")
	preserve := at.At("preserveResourcesOnDeletion")
	if s.orphan = preserve.Bool(); !s.orphan {
		preserve.Tell(moving.Info, "is the default")
	}
	switch f := at.At("applicationsSync"); f.Text() {
	case "create-only":
		out.Spec.Sync.Prune = new(bool)
		f.Tell(moving.Lost, "became sync.prune: false; Applications that exist are kept true to the template too")
	case "create-update":
		out.Spec.Sync.Prune = new(bool)
	case "create-delete":
		f.Tell(moving.Lost, "Applications that exist are kept true to the template too")
	default:
		f.Tell(moving.Info, "is the default")
	}
	for _, f := range in.At("metadata", "finalizers").Each() {
		f.Tell(moving.Lost, "this finalizer is left out")
	}
}

// setRest tells of what a set of ours does not have.
func (c *converter) setRest(in *moving.Input) {
	spec := in.At("spec")
	for _, f := range spec.At("goTemplateOptions").Each() {
		if f.Text() == "missingkey=error" {
			f.Tell(moving.Info, "a parameter that is missing is always an error")
		} else {
			f.Tell(moving.Lost, "a parameter that is missing is always an error; {{ get . \"name\" \"otherwise\" }} takes what need not be there")
		}
	}
	spec.At("templatePatch").Tell(moving.Failed, "is a patch of Argo CD's Application; write it anew as spec.templatePatch of the ApplicationSet, over the fields of ours")
	spec.At("strategy").Tell(moving.Lost, "all Applications are changed at once; spec.dependsOn orders them")
	for _, name := range []string{"preservedFields", "ignoreApplicationDifferences"} {
		spec.At(name).Tell(moving.Info, "what the template does not give stays as people set it")
	}
	spec.At("applyNestedSelectors").Tell(moving.Info, "generators have no selectors of their own")
	meta := spec.At("template", "metadata")
	meta.At("namespace").Tell(moving.Lost, "a set makes Applications of its own namespace")
	for _, f := range meta.At("finalizers").Each() {
		f.Tell(moving.Info, "is spec.deletionPolicy here, which is delete unless preserveResourcesOnDeletion says otherwise")
	}
}

// addSet writes the template of a set and translates what it holds.
func (c *converter) addSet(in *moving.Input, set *v1alpha1.ApplicationSet, a *v1alpha1.Application, meta metadata, t translator) {
	spec := map[string]any{}
	raw, err := json.Marshal(a.Spec)
	if err == nil {
		err = kjson.UnmarshalCaseSensitivePreserveInts(raw, &spec)
	}
	moving.DropEmpty(spec)
	if raw, err = json.Marshal(spec); err != nil {
		in.Tell(moving.Failed, "%v", err)
		return
	}
	set.Spec.Template.Metadata = v1alpha1.TemplateMetadata{Name: a.Name, Labels: meta.labels, Annotations: meta.annotations}
	set.Spec.Template.Spec = apiextensionsv1.JSON{Raw: raw}
	object, err := moving.Object(set)
	if err == nil {
		object["spec"], err = t.each("spec", object["spec"])
	}
	if err != nil {
		in.Tell(moving.Failed, "%v", err)
	}
	c.result.Add(in, object)
}
