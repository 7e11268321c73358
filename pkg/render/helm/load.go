package helm

import (
	"bytes"
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
)

// maxNesting bounds directories of a chart; it also ends circles of symlinks.
const maxNesting = 32

// load reads the chart with the subcharts vendored in charts/.
func (r *run) load() (*chart.Chart, error) {
	if r.files == nil {
		rules, err := r.ignored()
		if err != nil {
			return nil, err
		}
		if err := r.walk("", rules, &r.files, 0); err != nil {
			return nil, err
		}
	}
	c, err := loader.LoadFiles(r.files)
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

var quotes = regexp.MustCompile("\"[^\"]*\"|'[^']*'|`[^`]*`")

// unquote is for errors before any value is known: what they quote may be one.
func unquote(err error) string {
	return quotes.ReplaceAllString(err.Error(), "…")
}
