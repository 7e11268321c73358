package helm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
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

// notes is how the names of files end that are for people: Helm looks at no more.
const notes = "NOTES.txt"

// objects reads the rendered files: CRDs of crds/ first, then the rest by kind.
func (r *run) objects(c *chart.Chart, files map[string]string) ([]object.Object, error) {
	parser := &manifest.Parser{Lenient: true}
	first, err := r.crds(parser, c)
	if err != nil {
		return nil, err
	}
	var rest []object.Object
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, notes) {
			continue
		}
		objects, err := r.parse(parser, r.sourceOf(c, name), files[name])
		if err != nil {
			return nil, err
		}
		kept, err := mapAnnotations(objects)
		if err != nil {
			return nil, err
		}
		rest = append(rest, kept...)
	}
	slices.SortStableFunc(rest, byKind)
	return append(first, rest...), nil
}

// crds are those of the crds directories, which are no templates.
func (r *run) crds(parser *manifest.Parser, c *chart.Chart) ([]object.Object, error) {
	if r.p.SkipCRDs {
		return nil, nil
	}
	crds := c.CRDObjects()
	slices.SortStableFunc(crds, func(a, b chart.CRD) int { return strings.Compare(a.Filename, b.Filename) })
	var out []object.Object
	for _, crd := range crds {
		objects, err := r.parse(parser, r.sourceOf(c, crd.Filename), string(crd.File.Data))
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
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

// encode gives each object its standing content where that is another.
func encode(objects []object.Object, standing map[object.ID]json.RawMessage) ([]manifest.Rendered, error) {
	out := make([]manifest.Rendered, 0, len(objects))
	for _, o := range objects {
		content, err := o.JSON()
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.ID().Human(), err)
		}
		rendered := manifest.Rendered{File: o.File, Content: content}
		if s := standing[o.ID()]; !bytes.Equal(s, content) {
			rendered.Standing = s
		}
		out = append(out, rendered)
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
