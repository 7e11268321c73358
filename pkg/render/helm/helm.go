// Package helm renders charts of a tree with Helm as a library, as "helm template
// --include-crds" does for a first install: no cluster, no network, no file but the
// tree's. It belongs into a render child and may import manifest, object and fault.
//
// What differs from Helm: hooks are objects with our annotations, and those for which
// there is no phase (tests, rollbacks, post-delete) are left out; keys and values of a
// map come in order; lookup finds nothing; file:// dependencies are used only when they
// are vendored in charts/; a values schema may not refer to other files. What a template
// draws at random is kept out of the objects' digests (docs/decisions/013). Errors are
// permanent faults that name the template and its line and quote no value.
package helm

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// Tree is what a chart is loaded from. Stat follows symlinks.
type Tree interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
}

// Params says which chart to render and with what.
type Params struct {
	Path        string `json:"path"`           // of the chart
	Base        string `json:"base,omitempty"` // that value files are relative to; empty: Path
	ReleaseName string `json:"releaseName"`
	Namespace   string `json:"namespace"`
	// ValueFiles are paths from Base, or "$name/path" for those of the directory
	// "$name" in the root of the tree.
	ValueFiles    []string        `json:"valueFiles,omitempty"`
	IgnoreMissing bool            `json:"ignoreMissing,omitempty"` // value files that are not there
	SkipCRDs      bool            `json:"skipCRDs,omitempty"`      // of crds directories
	Values        json.RawMessage `json:"values,omitempty"`        // wins over the files
	KubeVersion   string          `json:"kubeVersion,omitempty"`
	APIVersions   []string        `json:"apiVersions,omitempty"`
}

// defaultKubeVersion is used where no cluster is known.
const defaultKubeVersion = "v1.37.0"

// maxArchive bounds an unpacked subchart.
const maxArchive = 32 << 20

// Template returns the chart's CRDs, then its objects in Helm's order of installation.
func Template(tree Tree, p Params) ([]manifest.Rendered, error) {
	archive.MaxDecompressedChartSize = maxArchive
	r := run{tree: tree, p: p, contents: map[string][]byte{}}
	objects, err := r.pass()
	if err != nil {
		return nil, err
	}
	if r.drawn {
		return encode(objects, r.standing())
	}
	return encode(objects, nil)
}

// run is one render.
type run struct {
	tree     Tree
	p        Params
	contents map[string][]byte       // value files read so far
	files    []*archive.BufferedFile // of the chart; nil before they are read
	quoted   []string                // values that no error may quote
	drawn    bool                    // a template drew at random, or read the clock
	steady   bool                    // this pass draws nothing
}

// pass renders once. A second pass needs everything anew but the bytes: templates
// can change values.
func (r *run) pass() ([]object.Object, error) {
	values, err := r.values()
	if err != nil {
		return nil, err
	}
	c, err := r.load()
	if err != nil {
		return nil, err
	}
	top, err := r.compose(c, values)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{CustomTemplateFuncs: r.functions()}.RenderWithContext(context.Background(), c, top)
	if err != nil {
		return nil, r.explain(c, err)
	}
	return r.objects(c, files)
}

func (r *run) readFile(name string) ([]byte, error) {
	if content, ok := r.contents[name]; ok {
		return content, nil
	}
	content, err := r.tree.ReadFile(name)
	if err == nil {
		r.contents[name] = content
	}
	return content, err
}

func (r *run) refuse(place fault.Place, format string, args ...any) error {
	message := manifest.Mask(fmt.Sprintf(format, args...), r.quoted)
	return fault.Refuse(fault.RenderFailed, place, "%s", message)
}

func (r *run) chartFile() fault.Place {
	return fault.Place{File: path.Join(r.p.Path, "Chart.yaml")}
}

// compose makes what templates see, after the checks that Helm makes before.
func (r *run) compose(c *chart.Chart, values map[string]any) (common.Values, error) {
	if err := chartutil.ValidateReleaseName(r.p.ReleaseName); err != nil {
		return nil, r.refuse(fault.Place{Field: "spec.source.helm.releaseName"}, "release name %q: %v", r.p.ReleaseName, err)
	}
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return nil, r.refuse(r.chartFile(), "process dependencies: %v", err)
	}
	capabilities, err := r.capabilities()
	if err != nil {
		return nil, err
	}
	if want := c.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, capabilities.KubeVersion.String()) {
		return nil, r.refuse(r.chartFile(), "the chart wants Kubernetes %s, the cluster has %s", want, capabilities.KubeVersion.Version)
	}
	if err := r.checkSchemas(c); err != nil {
		return nil, err
	}
	release := common.ReleaseOptions{Name: r.p.ReleaseName, Namespace: r.p.Namespace, Revision: 1, IsInstall: true}
	top, err := util.ToRenderValuesWithSchemaValidation(c, values, release, capabilities, false)
	if err != nil {
		r.quoted = append(r.quoted, chartValues(c)...)
		return nil, r.refuse(r.chartFile(), "compose values: %v", err)
	}
	if v, ok := top["Values"].(map[string]any); ok {
		r.quoted = append(r.quoted, manifest.Strings(v)...)
	} else if v, ok := top["Values"].(common.Values); ok {
		r.quoted = append(r.quoted, manifest.Strings(v.AsMap())...)
	}
	return top, nil
}

// chartValues are the strings of a chart's own values and those of its subcharts.
func chartValues(c *chart.Chart) []string {
	out := manifest.Strings(c.Values)
	for _, sub := range c.Dependencies() {
		out = append(out, chartValues(sub)...)
	}
	return out
}

func (r *run) capabilities() (*common.Capabilities, error) {
	version := r.p.KubeVersion
	if version == "" {
		version = defaultKubeVersion
	}
	parsed, err := common.ParseKubeVersion(version)
	if err != nil {
		return nil, r.refuse(fault.Place{}, "Kubernetes version %q: %v", version, err)
	}
	c := common.DefaultCapabilities.Copy()
	c.KubeVersion = *parsed
	// A copy: templates reach the slice.
	c.APIVersions = slices.Clone(c.APIVersions)
	if len(r.p.APIVersions) > 0 {
		c.APIVersions = slices.Clone(r.p.APIVersions)
	}
	slices.Sort(c.APIVersions)
	return c, nil
}

// sourceOf maps a name that Helm gives a template, <chart>/templates/x.yaml, to its
// path in the tree. For a packed subchart that is where it would stand unpacked.
func (r *run) sourceOf(c *chart.Chart, name string) string {
	return path.Join(r.p.Path, strings.TrimPrefix(name, c.Name()+"/"))
}
