package helm

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

const (
	hookAnnotation = "helm.sh/hook"
	notes          = "NOTES.txt"
)

// objects reads the rendered files: CRDs of crds/ first, then the rest by kind.
func (r *run) objects(c *chart.Chart, files map[string]string) ([]manifest.Rendered, error) {
	parser := &manifest.Parser{Lenient: true}
	crds := c.CRDObjects()
	slices.SortStableFunc(crds, func(a, b chart.CRD) int { return strings.Compare(a.Filename, b.Filename) })
	var first, rest []object.Object
	for _, crd := range crds {
		objects, err := r.parse(parser, r.sourceOf(c, crd.Filename), string(crd.File.Data))
		if err != nil {
			return nil, err
		}
		first = append(first, objects...)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Base(name) == notes {
			continue
		}
		objects, err := r.parse(parser, r.sourceOf(c, name), files[name])
		if err != nil {
			return nil, err
		}
		kept, err := withoutTests(objects)
		if err != nil {
			return nil, err
		}
		rest = append(rest, kept...)
	}
	slices.SortStableFunc(rest, byKind)
	return encode(append(first, rest...))
}

// parse splits a rendered file as Helm does, which accepts what no YAML parser does,
// such as "---apiVersion: v1".
func (r *run) parse(parser *manifest.Parser, file, text string) ([]object.Object, error) {
	documents := releaseutil.SplitManifests(text)
	keys := slices.Collect(maps.Keys(documents))
	slices.SortFunc(keys, func(a, b string) int { return index(a) - index(b) })
	var out []object.Object
	for _, key := range keys {
		objects, err := parser.Parse(file, []byte(documents[key]))
		if err != nil {
			return nil, rendered(err)
		}
		for _, o := range objects {
			o.Line = 0 // of the output, not of the template
			out = append(out, o)
		}
	}
	return out, nil
}

func index(key string) int {
	n, _ := strconv.Atoi(key[strings.LastIndex(key, "-")+1:])
	return n
}

// rendered marks a line as one of the output, which is not the template's.
func rendered(err error) error {
	f, ok := err.(*fault.Error)
	if !ok {
		return err
	}
	line := f.Place.Line
	f.Place.Line = 0
	if line > 0 {
		f.Err = fmt.Errorf("line %d of a rendered document: %w", line, f.Err)
	}
	return f
}

// withoutTests leaves test hooks out and refuses others. crd-install was Helm 2's way
// to put an object first and says nothing any more.
func withoutTests(objects []object.Object) ([]object.Object, error) {
	var out []object.Object
	for _, o := range objects {
		tests := 0
		hooks := strings.Split(o.Annotation(hookAnnotation), ",")
		for _, hook := range hooks {
			switch strings.ToLower(strings.TrimSpace(hook)) {
			case "", "crd-install":
			case "test", "test-success", "test-failure":
				tests++
			default:
				place := o.Place()
				place.Field = "metadata.annotations[" + hookAnnotation + "]"
				return nil, fault.Refuse(fault.RenderFailed, place,
					"the Helm hook %q is not supported yet; disable it in the chart's values", strings.TrimSpace(hook))
			}
		}
		if tests == 0 {
			out = append(out, o)
		}
	}
	return out, nil
}

// byKind is Helm's order: known kinds as listed, then unknown ones by name.
func byKind(a, b object.Object) int {
	ka, kb := a.ID().Kind, b.ID().Kind
	ia, ib := slices.Index(releaseutil.InstallOrder, ka), slices.Index(releaseutil.InstallOrder, kb)
	switch {
	case ia < 0 && ib < 0:
		return strings.Compare(ka, kb)
	case ia < 0:
		return 1
	case ib < 0:
		return -1
	}
	return ia - ib
}

func encode(objects []object.Object) ([]manifest.Rendered, error) {
	out := make([]manifest.Rendered, 0, len(objects))
	for _, o := range objects {
		content, err := json.Marshal(o.Content())
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.ID().Human(), err)
		}
		out = append(out, manifest.Rendered{File: o.File, Content: content})
	}
	return out, nil
}

// location is how Helm and text/template name a line: chart/templates/x.yaml:3:14.
var location = regexp.MustCompile(`(?:template: |execution error at \()?([^\s()"<>]+/[^\s()"<>:]+):(\d+)(?::\d+)?\)?:? ?`)

// explain places an error of the engine at the first template it names.
func (r *run) explain(c *chart.Chart, err error) error {
	message := strings.Join(strings.Fields(err.Error()), " ")
	var place fault.Place
	if m := location.FindStringSubmatchIndex(message); m != nil {
		place.File = r.sourceOf(c, message[m[2]:m[3]])
		place.Line, _ = strconv.Atoi(message[m[4]:m[5]])
		message = message[:m[0]] + message[m[1]:]
	}
	return r.refuse(place, "render template: %s", message)
}
