package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/ignore"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// maxNesting bounds directories of a chart; it also ends circles of symlinks.
const maxNesting = 32

// load reads the chart with the subcharts vendored in charts/.
func (r *run) load() (*chart.Chart, error) {
	rules, err := r.ignored()
	if err != nil {
		return nil, err
	}
	var files []*archive.BufferedFile
	if err := r.walk("", rules, &files, 0); err != nil {
		return nil, err
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, r.refuse(r.chartFile(), "load chart: %s", unquote(err))
	}
	r.quoted = append(r.quoted, chartValues(c)...)
	if c.Metadata.Type == "library" {
		return nil, r.refuse(r.chartFile(), "a library chart has nothing to install; name the chart that uses it")
	}
	return c, r.checkDependencies(c)
}

func (r *run) ignored() (*ignore.Rules, error) {
	file := path.Join(r.p.Path, ignore.HelmIgnore)
	rules := ignore.Empty()
	content, err := r.tree.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", file, err)
	default:
		if rules, err = ignore.Parse(bytes.NewReader(content)); err != nil {
			return nil, r.refuse(fault.Place{File: file}, "parse ignore rules: %v", err)
		}
	}
	rules.AddDefaults()
	return rules, nil
}

func (r *run) walk(dir string, rules *ignore.Rules, files *[]*archive.BufferedFile, depth int) error {
	if depth > maxNesting {
		return r.refuse(fault.Place{File: path.Join(r.p.Path, dir)}, "directories are nested deeper than %d, or symlinks run in a circle", maxNesting)
	}
	entries, err := r.tree.ReadDir(path.Join(r.p.Path, dir))
	if err != nil {
		return fmt.Errorf("list chart: %w", err)
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		info, err := r.tree.Stat(path.Join(r.p.Path, name))
		if err != nil {
			return r.refuse(fault.Place{File: path.Join(r.p.Path, name)}, "look at file of the chart: %v", err)
		}
		if rules.Ignore(name, info) {
			continue
		}
		if info.IsDir() {
			if err := r.walk(name, rules, files, depth+1); err != nil {
				return err
			}
			continue
		}
		data, err := r.tree.ReadFile(path.Join(r.p.Path, name))
		if err != nil {
			return fmt.Errorf("read chart: %w", err)
		}
		data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
		*files = append(*files, &archive.BufferedFile{Name: name, Data: data})
	}
	return nil
}

// checkDependencies finds the required charts that charts/ lacks.
func (r *run) checkDependencies(c *chart.Chart) error {
	have := map[string]bool{}
	for _, d := range c.Dependencies() {
		have[d.Name()] = true
	}
	for _, d := range c.Metadata.Dependencies {
		if have[d.Name] {
			continue
		}
		hint := "run helm dependency build and commit charts/"
		if strings.HasPrefix(d.Repository, "file:") {
			hint = "file:// dependencies are not followed; " + hint
		}
		return r.refuse(r.chartFile(), "dependency %q (%s) is not vendored: %s", d.Name, d.Repository, hint)
	}
	return nil
}

// values merges the value files in their order, then the values of the spec.
func (r *run) values() (map[string]any, error) {
	values := map[string]any{}
	for i, name := range r.p.ValueFiles {
		field := fmt.Sprintf("spec.source.helm.valueFiles[%d]", i)
		if path.IsAbs(name) || strings.Contains(name, "://") {
			return nil, r.refuse(fault.Place{Field: field}, "value files are paths relative to the chart, without a host")
		}
		file := path.Join(r.p.Path, name)
		content, err := r.tree.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, r.refuse(fault.Place{File: file, Field: field}, "there is no such value file")
		}
		if err != nil {
			return nil, fmt.Errorf("read value file: %w", err)
		}
		more, err := loader.LoadValues(bytes.NewReader(content))
		if err != nil {
			return nil, r.refuse(fault.Place{File: file, Field: field}, "parse values: %s", unquote(err))
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

var quotes = regexp.MustCompile("\"[^\"]*\"|'[^']*'|`[^`]*`")

// unquote is for errors before any value is known: what they quote may be one.
func unquote(err error) string {
	return quotes.ReplaceAllString(err.Error(), "…")
}
