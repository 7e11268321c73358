package jsonnet

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/google/go-jsonnet"
)

// vendor is where jsonnet-bundler puts libraries.
const vendor = "vendor"

// importer finds imports in the tree: beside the importing file, then in the
// libraries in their order.
type importer struct {
	tree  Tree
	libs  []string
	found map[string]jsonnet.Contents // an import must always give the same
	lost  map[string]bool
}

// newImporter looks for libraries where Spec.Libs says, then in vendor at the path
// and at the root of the repository.
func newImporter(tree Tree, p Params) *importer {
	libs := make([]string, 0, len(p.Spec.Libs)+2)
	for _, lib := range p.Spec.Libs {
		libs = append(libs, path.Clean(lib))
	}
	libs = append(libs, path.Join(p.Path, vendor), vendor)
	return &importer{tree: tree, libs: libs, found: map[string]jsonnet.Contents{}, lost: map[string]bool{}}
}

// Import implements jsonnet.Importer.
func (i *importer) Import(from, name string) (jsonnet.Contents, string, error) {
	if path.IsAbs(name) {
		return jsonnet.Contents{}, "", fmt.Errorf("import %q: imports are relative: to the importing file, or to a library of the repository", clipPath(name))
	}
	dirs := append([]string{path.Dir(from)}, i.libs...)
	if from == "" {
		dirs = append([]string{"."}, i.libs...)
	}
	inside := false
	for _, dir := range slices.Compact(dirs) {
		at := path.Join(dir, name)
		if !fs.ValidPath(at) {
			continue
		}
		inside = true
		contents, ok, err := i.load(at)
		if ok || err != nil {
			return contents, at, err
		}
	}
	if !inside {
		return jsonnet.Contents{}, "", fmt.Errorf("import %q: the path leaves the repository", clipPath(name))
	}
	return jsonnet.Contents{}, "", fmt.Errorf("import %q: there is no such file beside the importing one, nor in %v; commit it, or name its directory in spec.source.jsonnet.libs", clipPath(name), i.libs)
}

func (i *importer) load(at string) (jsonnet.Contents, bool, error) {
	if contents, ok := i.found[at]; ok {
		return contents, true, nil
	}
	if i.lost[at] {
		return jsonnet.Contents{}, false, nil
	}
	data, err := i.tree.ReadFile(at)
	if errors.Is(err, fs.ErrNotExist) {
		i.lost[at] = true
		return jsonnet.Contents{}, false, nil
	}
	if err != nil {
		return jsonnet.Contents{}, false, err
	}
	i.found[at] = jsonnet.MakeContentsRaw(data)
	return i.found[at], true, nil
}
