package git

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// module is a submodule as .gitmodules describes it.
type module struct {
	name, path, url, branch string
}

const modulesFile = ".gitmodules"

// maxModulesFile is in bytes: far more than maxModules entries take.
const maxModulesFile = 64 << 10

// parseModules reads a .gitmodules file, as gitmodules(5) describes it, and checks
// names, paths and URLs as git does since its submodules became a way to attack.
func parseModules(data []byte) (modules []module, err error) {
	defer contain(&err)
	file := config.New()
	if err := config.NewDecoder(bytes.NewReader(data)).Decode(file); err != nil {
		return nil, fmt.Errorf("it does not parse: %w", err)
	}
	paths := map[string]bool{}
	for _, section := range file.Sections {
		if !section.IsName("submodule") {
			continue
		}
		for _, s := range section.Subsections {
			m := module{name: s.Name, path: s.Option("path"), url: s.Option("url"), branch: s.Option("branch")}
			if err := m.check(); err != nil {
				return nil, fmt.Errorf("submodule %q: %w", cut(m.name), err)
			}
			if paths[m.path] {
				return nil, fmt.Errorf("submodule %q: another one has the path %q, too", cut(m.name), cut(m.path))
			}
			paths[m.path] = true
			modules = append(modules, m)
		}
	}
	return modules, nil
}

func (m module) check() error {
	if m.name == "" || strings.ContainsFunc(m.name, control) || dots(m.name) {
		return errors.New("its name is empty or holds .. or a control character")
	}
	switch {
	case m.path == "":
		return errors.New("it has no path")
	case !fs.ValidPath(m.path) || m.path == "." || m.path[0] == '-':
		return fmt.Errorf("its path %q is absolute, leads out of the repository or begins with a dash", cut(m.path))
	case m.url == "":
		return errors.New("it has no url")
	case m.url[0] == '-' || strings.ContainsFunc(m.url, control):
		return errors.New("its url begins with a dash or holds a control character")
	}
	for part := range strings.SplitSeq(m.path, "/") {
		if why := badName(part); why != "" {
			return fmt.Errorf("its path %q: %s", cut(m.path), why)
		}
	}
	if m.branch == "" || m.branch == "." {
		return nil
	}
	_, err := checkRef(m.branch)
	return err
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// dots says whether a part of the name is "..", see git's check_submodule_name.
func dots(name string) bool {
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == ".." {
			return true
		}
	}
	return false
}

// modules are those of the tree's root: what .gitmodules describes and a commit is
// named for. git passes over the others, too.
func (t *Tree) modules() ([]linked, error) {
	at, err := t.resolve("read", modulesFile, false)
	switch {
	case notThere(err):
		return nil, nil
	case err != nil:
		return nil, err
	case at.mode == filemode.Symlink || at.mode == filemode.Dir:
		return nil, refuseFile(modulesFile, "it is no plain file")
	}
	data, err := t.read(at)
	if err != nil {
		return nil, err
	}
	if len(data) > maxModulesFile {
		return nil, refuseFile(modulesFile, "it has %d bytes, the limit is %d", len(data), maxModulesFile)
	}
	all, err := parseModules(data)
	if err != nil {
		return nil, refuseFile(modulesFile, "%w", err)
	}
	var out []linked
	for _, m := range all {
		found, err := t.resolve("read", m.path, false)
		switch {
		case notThere(err), err == nil && found.mode != filemode.Submodule:
			continue
		case err != nil:
			return nil, err
		case found.path != m.path:
			return nil, refuseFile(modulesFile, "submodule %q: its path %q leads through a symlink", cut(m.name), cut(m.path))
		}
		out = append(out, linked{module: m, sha: found.hash.String()})
	}
	return out, nil
}

// linked is a submodule with the commit that the tree names for it.
type linked struct {
	module
	sha string
}

// RefuseSubmodules is a permanent fault that names the first submodule at or below
// a directory, if there is one: without it being fetched, a render would miss what
// it holds.
func (t *Tree) RefuseSubmodules(dir string) error {
	n, err := t.resolve("read", path.Clean(dir), true)
	switch {
	case notThere(err):
		return nil
	case err != nil:
		return err
	case n.mode == filemode.Submodule:
		return notFetched(n.path)
	case n.mode != filemode.Dir:
		return nil
	}
	found, err := t.o.submodule(n.hash, 0)
	if err != nil {
		return t.failed(n.path, err)
	}
	if found != "" {
		return notFetched(path.Join(n.path, found))
	}
	return nil
}

func notFetched(at string) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{File: at, Field: "spec.source.submodules"},
		"it is a submodule that is not fetched; set submodules: true (and describe it in .gitmodules), or give the Application a path without it")
}
