package render

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// maxDepth is how deep directories may nest below the source path; it also ends
// walks through symlinks in a circle.
const maxDepth = 32

// directory renders the .yaml, .yml and .json files of the source path in process,
// in the order of their paths. Names that begin with a dot are left out.
func (r *Renderer) directory(ctx context.Context, v *view, root string, spec *v1alpha1.DirectorySource) ([]object.Object, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w, err := newWalk(v, root, spec)
	if err != nil {
		return nil, err
	}
	if err := w.walk(ctx, "", 0); err != nil {
		return nil, err
	}
	if len(w.files) == 0 {
		return nil, refuse(fault.Place{File: root}, "the directory has no YAML or JSON file to render; check spec.source.path and directory.recurse, include, exclude")
	}
	parser := manifest.Parser{MaxObjects: r.limits.Objects}
	var out []object.Object
	for _, file := range w.files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, err := v.ReadFile(file)
		if err != nil {
			return nil, err
		}
		objects, err := parser.Parse(file, data)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// walk finds the files of a directory source.
type walk struct {
	view             *view
	root             string
	recurse          bool
	include, exclude *glob
	files            []string
}

func newWalk(v *view, root string, spec *v1alpha1.DirectorySource) (*walk, error) {
	w := &walk{view: v, root: root}
	if spec == nil {
		return w, nil
	}
	w.recurse = spec.Recurse
	for _, p := range []struct {
		pattern, field string
		into           **glob
	}{{spec.Include, "include", &w.include}, {spec.Exclude, "exclude", &w.exclude}} {
		if p.pattern == "" {
			continue
		}
		g, err := parseGlob(p.pattern)
		if err != nil {
			return nil, refuse(fault.Place{Field: "spec.source.directory." + p.field}, "%w", err)
		}
		*p.into = &g
	}
	return w, nil
}

func (w *walk) walk(ctx context.Context, below string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return refuse(fault.Place{File: path.Join(w.root, below)}, "directories are nested deeper than %d, or symlinks run in a circle", maxDepth)
	}
	entries, err := w.view.ReadDir(path.Join(w.root, below))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := w.visit(ctx, path.Join(below, entry.Name()), entry, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) visit(ctx context.Context, name string, entry fs.DirEntry, depth int) error {
	if strings.HasPrefix(entry.Name(), ".") {
		return nil
	}
	isDir := entry.IsDir()
	wanted := w.wants(name)
	if entry.Type()&fs.ModeSymlink != 0 && (wanted || w.recurse) {
		info, err := w.view.Stat(path.Join(w.root, name))
		if errors.Is(err, fs.ErrNotExist) {
			return refuse(fault.Place{File: path.Join(w.root, name)}, "the symlink points to nothing")
		}
		if err != nil {
			return err
		}
		isDir = info.IsDir()
	}
	switch {
	case isDir && w.recurse:
		return w.walk(ctx, name, depth+1)
	case !isDir && wanted:
		w.files = append(w.files, path.Join(w.root, name))
	}
	return nil
}

// wants is true for manifests that the patterns let through.
func (w *walk) wants(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
	default:
		return false
	}
	return (w.include == nil || w.include.match(name)) && (w.exclude == nil || !w.exclude.match(name))
}
