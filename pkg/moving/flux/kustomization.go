package flux

import (
	"cmp"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

func (c *converter) kustomization(in *moving.Input) {
	spec := in.At("spec")
	a := c.start(in)
	if kind, s := c.refer(spec.At("sourceRef"), in); s != nil {
		c.tree(kind, s, a.Namespace, &a.Spec.Source)
	}
	a.Spec.Source.Path = spec.At("path").Directory()
	a.Spec.Source.Kustomize = kustomize(spec)
	c.build(in, a)
	c.kustomizePolicy(in, a)
	in.Tell(moving.Info, "Flux takes all YAML files below a path without a kustomization.yaml: if %s has none, set spec.source.directory.recurse: true, in place of kustomize", a.Spec.Source.Path)
	c.add(in, a)
}

// start is what Applications of Kustomizations and HelmReleases have alike.
func (c *converter) start(in *moving.Input) *v1alpha1.Application {
	spec := in.At("spec")
	a := moving.NewApplication(c.target(in), in.ObjectName())
	if in.Kind() == "HelmRelease" {
		a.Name = c.names[in.Namespace()+"/"+in.ObjectName()]
	}
	a.Labels, a.Annotations = labels(in.At("metadata", "labels")), annotations(in.At("metadata", "annotations"))
	for _, f := range in.At("metadata", "finalizers").Each() {
		f.Tell(moving.Info, "suspend Flux's object before you delete it, or what it made goes with it")
	}
	a.Spec.ServiceAccountName = cmp.Or(spec.At("serviceAccountName").Text(), c.o.Account)
	if spec.At("serviceAccountName").Given() && a.Namespace != in.Namespace() {
		spec.At("serviceAccountName").Tell(moving.Lost, "serviceAccountName is an account of the Application's namespace: make %s in %s", a.Spec.ServiceAccountName, a.Namespace)
	}
	if a.Spec.Suspend = spec.At("suspend").Bool(); a.Spec.Suspend {
		a.Spec.Suspension = &v1alpha1.Suspension{Reason: "was suspended in Flux"}
	} else {
		spec.At("suspend").Tell(moving.Info, "is the default")
	}
	if !c.o.Auto {
		a.Spec.Sync.Mode = v1alpha1.ModeManual
		in.Tell(moving.Info, "is made with sync.mode: manual; take that line away once plumb diff shows no changes, or import with --auto")
	}
	a.Spec.Sync.Interval, a.Spec.Sync.Timeout = spec.At("interval").Duration(), spec.At("timeout").Duration()
	a.Spec.DependsOn = c.dependencies(in)
	for _, h := range spec.At("healthCheckExprs").Each() {
		a.Spec.Health = append(a.Spec.Health, health(h))
	}
	spec.At("kubeConfig").Tell(moving.Failed, "is for another cluster: Plumb's worker lives in each cluster; apply the Application there")
	return a
}

// dependencies are of the same kind as the object.
func (c *converter) dependencies(in *moving.Input) []v1alpha1.Dependency {
	var out []v1alpha1.Dependency
	for _, d := range in.At("spec", "dependsOn").Each() {
		given := d.At("namespace").Text()
		name := d.At("name").Text()
		if in.Kind() == "HelmRelease" {
			name = cmp.Or(c.names[cmp.Or(given, in.Namespace())+"/"+name], name)
		}
		out = append(out, v1alpha1.Dependency{Name: name, Namespace: cmp.Or(c.o.Namespace, given)})
		d.At("readyExpr").Tell(moving.Lost, "a dependency has to be healthy at the revision that is applied; that cannot be changed")
		if c.o.Namespace != "" {
			d.At("namespace").Tell(moving.Info, "became %s", c.o.Namespace)
		}
	}
	return out
}

func (c *converter) add(in *moving.Input, a *v1alpha1.Application) {
	for _, s := range c.refersTo {
		if s.Broken() {
			in.Tell(moving.Failed, "its %s cannot be converted", s.Name)
		}
	}
	c.refersTo = nil
	object, err := moving.Object(a)
	if err != nil {
		in.Tell(moving.Failed, "%v", err)
	}
	c.result.Add(in, object)
	c.tell(in)
}

// labels are those that stay.
func labels(f moving.Field) map[string]string {
	out := f.TextMap()
	for _, name := range f.Names() {
		if strings.Contains(name, ".toolkit.fluxcd.io/") {
			delete(out, name)
			f.At(name).Tell(moving.Info, "marks an object of Flux; left out")
		}
	}
	return out
}

func annotations(f moving.Field) map[string]string {
	var out map[string]string
	for _, name := range f.Names() {
		switch {
		case name == "kubectl.kubernetes.io/last-applied-configuration":
		case strings.Contains(name, "fluxcd.io/"):
			f.At(name).Tell(moving.Lost, "means something to Flux alone; left out")
		default:
			if out == nil {
				out = map[string]string{}
			}
			out[name] = f.At(name).Text()
		}
	}
	return out
}

// kustomize is what the Kustomization changes; nil when that is nothing.
func kustomize(spec moving.Field) *v1alpha1.KustomizeSource {
	out := &v1alpha1.KustomizeSource{
		NamePrefix: spec.At("namePrefix").Text(), NameSuffix: spec.At("nameSuffix").Text(), Namespace: spec.At("targetNamespace").Text(),
		Images: images(spec.At("images")), Patches: patches(spec.At("patches")),
	}
	for _, f := range spec.At("components").Each() {
		text := f.Text()
		if strings.Contains(text, ":") || strings.HasPrefix(text, "/") || text == "" {
			f.Tell(moving.Failed, "must be a relative path in the repository: nothing is fetched while rendering")
		}
		out.Components = append(out.Components, text)
	}
	spec.At("ignoreMissingComponents").Tell(moving.Lost, "a component that is missing is an error")
	meta := spec.At("commonMetadata")
	if labels, annotations := meta.At("labels").TextMap(), meta.At("annotations").TextMap(); len(labels)+len(annotations) > 0 {
		out.Patches = append(out.Patches, moving.Label(labels, annotations))
	}
	for _, old := range []string{"patchesStrategicMerge", "patchesJson6902"} {
		spec.At(old).Tell(moving.Failed, "is gone from Flux too; write it as patches")
	}
	if out.NamePrefix+out.NameSuffix+out.Namespace == "" && len(out.Images)+len(out.Patches)+len(out.Components) == 0 {
		return nil
	}
	return out
}

// images are overrides, as kustomize edit set image writes them.
func images(f moving.Field) []string {
	var out []string
	for _, i := range f.Each() {
		text := i.At("name").Text()
		if name := i.At("newName").Text(); name != "" {
			text += "=" + name
		}
		tag, digest := i.At("newTag").Text(), i.At("digest").Text()
		switch {
		case digest != "" && tag != "":
			text += ":" + tag + "@" + digest
		case digest != "":
			text += "@" + digest
		case tag != "":
			text += ":" + tag
		}
		i.At("tagSuffix").Tell(moving.Lost, "write the whole tag")
		if text != "" {
			out = append(out, text)
		}
	}
	return out
}

func patches(f moving.Field) []v1alpha1.KustomizePatch {
	var out []v1alpha1.KustomizePatch
	for _, p := range f.Each() {
		patch := v1alpha1.KustomizePatch{Patch: p.At("patch").Text(), Target: selector(p.At("target"))}
		if patch.Patch == "" {
			p.Tell(moving.Lost, "is a patch without its text")
			continue
		}
		out = append(out, patch)
	}
	return out
}

func selector(t moving.Field) *v1alpha1.KustomizeSelector {
	out := v1alpha1.KustomizeSelector{
		Group: t.At("group").Text(), Version: t.At("version").Text(), Kind: t.At("kind").Text(), Name: t.At("name").Text(),
		Namespace: t.At("namespace").Text(), LabelSelector: t.At("labelSelector").Text(), AnnotationSelector: t.At("annotationSelector").Text(),
	}
	if out == (v1alpha1.KustomizeSelector{}) {
		return nil
	}
	return &out
}

// build is what happens to what kustomize renders.
func (c *converter) build(in *moving.Input, a *v1alpha1.Application) {
	spec := in.At("spec")
	post := spec.At("postBuild")
	if post.At("substitute").Given() || post.At("substituteFrom").Given() {
		s := &v1alpha1.Substitution{Vars: post.At("substitute").TextMap()}
		for _, f := range post.At("substituteFrom").Each() {
			from := v1alpha1.SubstitutionFrom{Kind: f.At("kind").Text(), Name: f.At("name").Text(), Optional: f.At("optional").Bool()}
			if from.Kind != "ConfigMap" && from.Kind != "Secret" || from.Name == "" {
				f.Tell(moving.Failed, "want a ConfigMap or a Secret with a name")
			}
			if a.Namespace != in.Namespace() {
				f.Tell(moving.Lost, "is read in the Application's namespace: copy %s %s to %s", from.Kind, from.Name, a.Namespace)
			}
			if !from.Optional {
				f.At("optional").Tell(moving.Info, "is the default")
			}
			s.From = append(s.From, from)
		}
		a.Spec.Source.Substitute = s
		in.Tell(moving.Info, "spec.source.substitute is strict: a variable without a value is an error, where Flux puts nothing; docs/rendering.md has the forms and the types")
	}
	post.At("substituteStrategy").Tell(moving.Lost, "a variable without a value is always an error")
	d := spec.At("decryption")
	if ref := c.secret(d.At("secretRef"), in.Namespace(), a.Namespace); ref != nil {
		a.Spec.Source.Decryption = &v1alpha1.Decryption{SecretRef: *ref}
		d.At("provider").Tell(moving.Info, "SOPS is the only one; keys of the Secret that end in .agekey and .asc count")
	} else {
		d.At("provider").Tell(moving.Lost, "want a Secret with age or PGP keys: keys in cloud services are never asked")
	}
	d.At("serviceAccountName").Tell(moving.Lost, "keys in cloud services are never asked")
}

// kustomizePolicy is when and how it is applied.
func (c *converter) kustomizePolicy(in *moving.Input, a *v1alpha1.Application) {
	spec := in.At("spec")
	a.Spec.Destination.Namespace = spec.At("targetNamespace").Text()
	prune := spec.At("prune")
	if !prune.Bool() {
		a.Spec.Sync.Prune = new(bool)
		prune.Tell(moving.Info, "became sync.prune: false")
	} else {
		prune.Tell(moving.Info, "became sync.prune: true, the default, and sync.pruneLimit guards it")
	}
	policy := spec.At("deletionPolicy")
	switch text := policy.Text(); {
	case text == "Orphan", (text == "" || text == "MirrorPrune") && !prune.Bool():
		a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
	default:
		policy.Tell(moving.Info, "became deletionPolicy: delete, the default, which waits until the objects are gone")
	}
	c.retry(spec.At("retryInterval"), a)
	if f := spec.At("force"); f.Bool() {
		f.Tell(moving.Lost, "annotate the objects that have to be made anew with plumb.dev/replace: allowed")
	} else {
		f.Tell(moving.Info, "is the default")
	}
	if f := spec.At("wait"); f.Bool() {
		f.Tell(moving.Info, "health is always awaited, within sync.timeout")
	} else {
		f.Tell(moving.Lost, "health is always awaited, within sync.timeout")
	}
	for _, f := range spec.At("healthChecks").Each() {
		f.Tell(moving.Info, "health of all objects is awaited")
	}
	spec.At("buildMetadata").Tell(moving.Lost, "has no counterpart")
}

// retry is after a failure: Flux tries for ever, in equal steps.
func (c *converter) retry(f moving.Field, a *v1alpha1.Application) {
	if base := f.Duration(); base != nil {
		limit := int32(100)
		a.Spec.Sync.Retry = &v1alpha1.RetryPolicy{Limit: &limit, Base: base, Max: base}
	}
}
