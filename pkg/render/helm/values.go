package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// values merges the value files in their order, then the values of the spec.
func (r *run) values() (map[string]any, error) {
	values := map[string]any{}
	for i, name := range r.p.ValueFiles {
		more, err := r.valueFile(name, fmt.Sprintf("spec.source.helm.valueFiles[%d]", i))
		if err != nil {
			return nil, err
		}
		values = loader.MergeMaps(values, more)
	}
	if len(r.p.Values) > 0 {
		more := map[string]any{}
		if err := json.Unmarshal(r.p.Values, &more); err != nil {
			return nil, r.refuse(fault.Place{Field: "spec.source.helm.values"}, "the values must be a map")
		}
		values = loader.MergeMaps(values, more)
	}
	r.quoted = append(r.quoted, manifest.Strings(values)...)
	return values, nil
}

func (r *run) valueFile(name, field string) (map[string]any, error) {
	file, err := r.locate(name, field)
	if err != nil {
		return nil, err
	}
	content, err := r.readFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && r.p.IgnoreMissing:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, r.refuse(fault.Place{File: file, Field: field}, "there is no such value file")
	case err != nil:
		return nil, fmt.Errorf("read value file: %w", err)
	}
	values, err := loader.LoadValues(bytes.NewReader(content))
	if err != nil {
		return nil, r.refuse(fault.Place{File: file, Field: field}, "parse values: %s", unquote(err))
	}
	return values, nil
}

// locate returns the path in the tree of a value file.
func (r *run) locate(name, field string) (string, error) {
	place := fault.Place{Field: field}
	if path.IsAbs(name) || strings.Contains(name, "://") {
		return "", r.refuse(place, "value files are paths relative to the source's path, or $name/path, without a host")
	}
	if !strings.HasPrefix(name, "$") {
		base := r.p.Base
		if base == "" {
			base = r.p.Path
		}
		return path.Join(base, name), nil
	}
	source, _, _ := strings.Cut(name, "/")
	file := path.Clean(name)
	if !strings.HasPrefix(file, source+"/") {
		return "", r.refuse(place, "%q must name a file in the tree of %s", name, source)
	}
	if _, err := r.tree.Stat(source); errors.Is(err, fs.ErrNotExist) {
		return "", r.refuse(place, "there is no source %q; name one of spec.sources", strings.TrimPrefix(source, "$"))
	}
	return file, nil
}
