package flux

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

func (c *converter) release(in *moving.Input) {
	spec := in.At("spec")
	a := c.start(in)
	a.Spec.Destination.Namespace = cmp.Or(spec.At("targetNamespace").Text(), in.Namespace())
	a.Spec.Source.Helm = &v1alpha1.HelmSource{ReleaseName: releaseName(in)}
	c.chartOf(in, a)
	a.Spec.Source.Helm.Values = moving.Values(c.values(in))
	c.drift(spec.At("driftDetection"), a)
	c.actions(in, a)
	c.releaseRest(in)
	c.add(in, a)
}

// releaseName is the one that the release has in the cluster: templates use it.
func releaseName(in *moving.Input) string {
	f := in.At("spec", "releaseName")
	if name := f.Text(); name != "" {
		if len(name) > 53 {
			f.Tell(moving.Failed, "is longer than 53 characters, which Helm refuses")
		}
		return name
	}
	name := in.ObjectName()
	if ns := in.At("spec", "targetNamespace").Text(); ns != "" {
		name = ns + "-" + name
	}
	if len(name) > 53 { // as Flux shortens it (helm-controller, release.ShortenName)
		sum := sha256.Sum256([]byte(name))
		name = name[:40] + "-" + hex.EncodeToString(sum[:])[:12]
	}
	return name
}

// chartOf is where the chart comes from.
func (c *converter) chartOf(in *moving.Input, a *v1alpha1.Application) {
	spec := in.At("spec")
	ref, chart := spec.At("chartRef"), spec.At("chart", "spec")
	switch {
	case ref.Given():
		kind, s := c.refer(ref, in)
		switch {
		case s == nil:
		case kind == "OCIRepository":
			c.tree(kind, s, a.Namespace, &a.Spec.Source)
		case kind == "HelmChart":
			c.chart(s.in.At("spec"), s.in, in, a)
		default:
			ref.Tell(moving.Failed, "%s is no chart", kind)
		}
	case chart.Given():
		c.chart(chart, in, in, a)
		for _, name := range []string{"labels", "annotations"} {
			spec.At("chart", "metadata", name).Tell(moving.Info, "the chart is no object of its own; left out")
		}
	default:
		in.Tell(moving.Failed, "names no chart")
	}
}

// chart reads the template of a HelmChart, or a HelmChart.
func (c *converter) chart(chart moving.Field, of, in *moving.Input, a *v1alpha1.Application) {
	kind, s := c.refer(chart.At("sourceRef"), of)
	if s == nil {
		return
	}
	name, version, h := chart.At("chart").Text(), chart.At("version"), a.Spec.Source.Helm
	switch kind {
	case "GitRepository":
		c.tree(kind, s, a.Namespace, &a.Spec.Source)
		a.Spec.Source.Path = chart.At("chart").Directory()
		version.Tell(moving.Info, "is that of the chart in Git")
		for _, f := range chart.At("valuesFiles").Each() {
			h.ValueFiles = append(h.ValueFiles, relative(a.Spec.Source.Path, f.Text()))
		}
	case "HelmRepository":
		c.chartIn(s, name, version, in, a)
		for _, f := range chart.At("valuesFiles").Each() {
			file := strings.TrimPrefix(f.Text(), "./")
			if h.Chart != "" {
				file = "$chart/" + file
			}
			h.ValueFiles = append(h.ValueFiles, file)
		}
	default:
		chart.At("sourceRef").Tell(moving.Failed, "%s holds no charts", kind)
	}
	if h.IgnoreMissingValueFiles = chart.At("ignoreMissingValuesFiles").Bool(); !h.IgnoreMissingValueFiles {
		chart.At("ignoreMissingValuesFiles").Tell(moving.Info, "is the default")
	}
	chart.At("interval").Tell(moving.Info, "new versions are looked for at spec.sync.interval")
	chart.At("reconcileStrategy").Tell(moving.Info, "a chart in Git is applied at every commit that changes it")
	chart.At("verify").Tell(moving.Lost, "signatures of charts are not checked; spec.source.helm.digest pins one")
	if f := chart.At("suspend"); f.Bool() {
		f.Tell(moving.Lost, "a chart cannot be suspended, an Application can: spec.suspend")
	} else {
		f.Tell(moving.Info, "is the default")
	}
}

// chartIn is a chart of a Helm repository, found from a source in Git, or of a
// registry, which is a source of its own.
func (c *converter) chartIn(s *source, name string, version moving.Field, in *moving.Input, a *v1alpha1.Application) {
	url, secret := c.helmRepository(s, a.Namespace)
	if strings.HasPrefix(url, "oci://") {
		a.Spec.Source.Repo, a.Spec.Source.SecretRef = url+"/"+name, secret
		a.Spec.Source.Ref, a.Spec.Source.Semver = moving.Tag(version.Text())
		return
	}
	h := a.Spec.Source.Helm
	h.Chart, h.Repo, h.Version, h.SecretRef = name, url, version.Text(), secret
	if h.Version == "*" {
		h.Version = ""
		version.Tell(moving.Info, "the newest is what no version means")
	}
	a.Spec.Source.Path = "."
	if c.o.Repo == "" {
		return // a chart needs nothing beside it
	}
	a.Spec.Source.Repo, a.Spec.Source.Ref = c.o.Repo, c.o.Ref
	in.Tell(moving.Info, "spec.source.repo is that of --repo: Flux has the chart without a Git repository")
}

// values are those of ConfigMaps that are in the input, and the inline ones over them.
func (c *converter) values(in *moving.Input) map[string]any {
	spec := in.At("spec")
	values := map[string]any{}
	for _, f := range spec.At("valuesFrom").Each() {
		kind, name := f.At("kind").Text(), f.At("name").Text()
		entry := cmp.Or(f.At("valuesKey").Text(), "values.yaml")
		held := c.other[key(kind, in.Namespace(), name)]
		path := f.At("targetPath")
		if kind == "ConfigMap" && held == nil && !path.Given() {
			c.result.Want(kind, in.Namespace(), name)
		}
		if kind != "ConfigMap" || held == nil || path.Given() || !held.At("data", entry).Given() {
			f.Tell(moving.Lost, "values of the cluster have no counterpart: put them into Git as a value file, encrypted with SOPS where they are secret")
			continue
		}
		more := held.At("data", entry).ParseValues()
		values = moving.Merge(values, more)
		f.Tell(moving.Info, "what %s %s holds now is written into spec.source.helm.values", kind, name)
	}
	inline, _ := spec.At("values").Any().(map[string]any)
	return moving.Merge(values, inline)
}

// drift is what is done about changes made in the cluster.
func (c *converter) drift(f moving.Field, a *v1alpha1.Application) {
	switch f.At("mode").Text() {
	case "enabled":
		f.At("mode").Tell(moving.Info, "became sync.drift: heal, the default")
	case "warn":
		a.Spec.Sync.Drift = v1alpha1.DriftWarn
	default:
		a.Spec.Sync.Drift = v1alpha1.DriftOff
		f.At("mode").Tell(moving.Info, "became sync.drift: off")
	}
	for _, i := range f.At("ignore").Each() {
		t := i.At("target")
		rule := v1alpha1.IgnoreRule{
			Group: t.At("group").Text(), Kind: cmp.Or(t.At("kind").Text(), "*"), Name: t.At("name").Text(), Namespace: t.At("namespace").Text(),
			Paths: i.At("paths").Texts(),
		}
		t.At("version").Tell(moving.Lost, "a rule holds for all versions")
		for _, name := range []string{"labelSelector", "annotationSelector"} {
			t.At(name).Tell(moving.Lost, "objects are selected by kind, name and namespace")
		}
		if !moving.Ignorable(rule) {
			i.Tell(moving.Lost, "is no rule that spec.ignore takes; see docs/diff-and-ignore.md")
			continue
		}
		a.Spec.Ignore = append(a.Spec.Ignore, rule)
	}
}

// actions are install, upgrade, rollback, test and uninstall of Helm. There are none:
// what a chart renders is applied as everything else.
func (c *converter) actions(in *moving.Input, a *v1alpha1.Application) {
	spec := in.At("spec")
	if f := spec.At("install", "createNamespace"); f.Bool() {
		a.Spec.Destination.CreateNamespace = true
	} else {
		f.Tell(moving.Info, "is the default")
	}
	install, upgrade := spec.At("install", "crds"), spec.At("upgrade", "crds")
	switch {
	case upgrade.Text() == "Skip" && install.Text() == "Skip", install.Text() == "Skip" && !upgrade.Given():
		a.Spec.Source.Helm.SkipCRDs = true
	case upgrade.Text() == "Skip" || install.Text() == "Skip" || !upgrade.Given() && install.Given():
		install.Tell(moving.Lost, "CustomResourceDefinitions of the chart are created and updated; spec.source.helm.skipCRDs leaves them out")
		upgrade.Tell(moving.Lost, "CustomResourceDefinitions of the chart are created and updated; spec.source.helm.skipCRDs leaves them out")
	default:
		install.Tell(moving.Info, "CustomResourceDefinitions of the chart are created and updated")
		upgrade.Tell(moving.Info, "CustomResourceDefinitions of the chart are created and updated")
	}
	for _, action := range []string{"install", "upgrade"} {
		spec.At(action, "remediation").Tell(moving.Lost, "a failed attempt is repeated as spec.sync.retry says, and left in place; git revert takes it back")
		spec.At(action, "disableSchemaValidation").Tell(moving.Lost, "values are always checked against the chart's schema")
		spec.At(action, "force").Tell(moving.Lost, "annotate the objects that have to be made anew with plumb.dev/replace: allowed")
		spec.At(action).Rest("there are no actions of Helm: what the chart renders is applied as everything else")
	}
	spec.At("rollback").Tell(moving.Lost, "a release is taken back in Git: git revert")
	spec.At("test").Tell(moving.Lost, "tests of charts are never run; a Job with plumb.dev/hook: post-sync is")
	spec.At("uninstall").Tell(moving.Lost, "when the Application is deleted, deletionPolicy says what becomes of its objects")
}

func (c *converter) releaseRest(in *moving.Input) {
	spec := in.At("spec")
	spec.At("postRenderers").Tell(moving.Lost, "there are no post-renderers: put the chart's output through an overlay in Git, or change its values")
	meta := spec.At("commonMetadata")
	meta.Tell(moving.Lost, "has no counterpart for charts; most have values for labels and annotations")
	spec.At("storageNamespace").Tell(moving.Info, "nothing of a release is stored; Secrets sh.helm.release.v1.* can go once Flux's object is deleted")
	spec.At("maxHistory").Tell(moving.Lost, "the status keeps the last ten revisions")
	spec.At("persistentClient").Tell(moving.Info, "there is no client of Helm")
	spec.At("waitStrategy").Tell(moving.Info, "health is always awaited, within sync.timeout")
	for _, name := range []string{"interval", "timeout"} {
		spec.At("chart", name).Skip()
	}
}
