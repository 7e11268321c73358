package chart

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/plumb-gitops/plumb/pkg/tree"
	"github.com/plumb-gitops/plumb/pkg/tree/archive"
)

// Dependency is a chart that another needs and does not carry in its charts/.
type Dependency struct {
	Name    string
	Version string // one version, of the lock or of the chart in Local
	Repo    string // https:// or oci://, as for Query; empty with Local
	Local   string // instead: the directory of the same tree that is to be mounted
	Mount   string // where it belongs in the tree
}

// maxDependencies bounds what one chart asks for.
const maxDependencies = 200

// Dependencies are those of the chart at dir that are not in its charts/, with the
// versions that its lock says. A lock that is missing or was made of other
// dependencies is refused, as helm dependency build does; so are repositories that
// only somebody's own Helm configuration knows. What conditions and tags leave out
// is for the rendering to say. Directories that are no charts have none.
func Dependencies(t tree.Tree, dir string) ([]Dependency, error) {
	dir = path.Clean(dir)
	if _, err := t.Stat(path.Join(dir, chartFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	m, err := readMetadata(t, path.Join(dir, chartFile))
	if err != nil {
		return nil, err
	}
	if err := m.readRequirements(t, dir); err != nil {
		return nil, err
	}
	if len(m.Dependencies) > maxDependencies {
		return nil, refuseFile(m.file, "dependencies", "there are %d; at most %d are fetched", len(m.Dependencies), maxDependencies)
	}
	c := &parent{tree: t, dir: dir, metadata: m, mounts: map[string]string{}}
	return c.missing()
}

// parent is the chart whose dependencies are looked for.
type parent struct {
	tree     tree.Tree
	dir      string
	metadata metadata
	vendored []metadata        // in charts/
	mounts   map[string]string // taken so far, with the version there
	lock     *lock             // once it is needed
}

func (c *parent) missing() ([]Dependency, error) {
	if len(c.metadata.Dependencies) == 0 {
		return nil, nil
	}
	if err := c.readVendored(); err != nil {
		return nil, err
	}
	var all []Dependency
	for n, r := range c.metadata.Dependencies {
		has, err := c.has(n, r)
		if err != nil {
			return nil, err
		}
		if has {
			continue
		}
		d, err := c.dependency(n, r)
		if err != nil {
			return nil, err
		}
		if mounted := c.mount(&d); !mounted {
			all = append(all, d)
		}
	}
	return all, nil
}

// mount gives the dependency its place; true when the same chart is there already,
// under another alias.
func (c *parent) mount(d *Dependency) bool {
	d.Mount = path.Join(c.dir, "charts", d.Name)
	if version, taken := c.mounts[d.Mount]; taken && version != d.Version {
		d.Mount += "-" + d.Version
	}
	_, again := c.mounts[d.Mount]
	c.mounts[d.Mount] = d.Version
	return again
}

// readVendored reads what is in charts/, which Helm takes by the name and version
// that the charts themselves say.
func (c *parent) readVendored() error {
	charts := path.Join(c.dir, "charts")
	entries, err := c.tree.ReadDir(charts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", charts, err)
	}
	for _, e := range entries {
		if e.Name()[0] == '.' || e.Name()[0] == '_' { // Helm passes over them
			continue
		}
		at := path.Join(charts, e.Name())
		m, err := c.vendoredAt(at)
		if err != nil {
			return err
		}
		if m.Name != "" {
			c.vendored = append(c.vendored, m)
		}
	}
	return nil
}

func (c *parent) vendoredAt(at string) (metadata, error) {
	if strings.HasSuffix(at, ".tgz") {
		return packaged(c.tree, at)
	}
	m := metadata{file: path.Join(at, chartFile)}
	_, err := readYAML(c.tree, m.file, &m)
	return m, err
}

func packaged(t tree.Tree, at string) (metadata, error) {
	data, err := t.ReadFile(at)
	if err != nil {
		return metadata{}, fmt.Errorf("read %s: %w", at, err)
	}
	in := archive.New(archive.Limits{})
	if err := in.Package(data); err != nil {
		return metadata{}, fmt.Errorf("read %s: %w", at, err)
	}
	packed, err := in.Tree()
	if err != nil {
		return metadata{}, fmt.Errorf("read %s: %w", at, err)
	}
	m, err := readMetadata(packed, chartFile)
	if err != nil {
		return metadata{}, fmt.Errorf("read %s: %w", at, err)
	}
	m.file = at
	return m, nil
}

// has says whether charts/ has the dependency. Helm leaves out silently a chart
// whose version does not fit.
func (c *parent) has(n int, r *requirement) (bool, error) {
	var other *metadata
	for i, m := range c.vendored {
		switch {
		case m.Name != r.Name:
		case satisfies(m.Version, r.Version):
			return true, nil
		default:
			other = &c.vendored[i]
		}
	}
	if other != nil {
		return false, c.refuse(n, "version", "%s is version %.64q, and %.64q is wanted; run helm dependency update and commit what it changes", other.file, other.Version, r.Version)
	}
	return false, nil
}

// satisfies is Helm's idea of a version in a range.
func satisfies(version, wanted string) bool {
	in, err := semver.NewConstraint(wanted)
	if err != nil {
		return false
	}
	v, err := semver.NewVersion(version)
	return err == nil && in.Check(v)
}

func (c *parent) refuse(n int, field, format string, args ...any) error {
	return refuseFile(c.metadata.file, fmt.Sprintf("dependencies[%d].%s", n, field), format, args...)
}

// dependency says where the n-th comes from.
func (c *parent) dependency(n int, r *requirement) (Dependency, error) {
	if !nameForm.MatchString(r.Name) || strings.ContainsRune(r.Name, '/') || strings.HasSuffix(r.Name, ".tgz") {
		return Dependency{}, c.refuse(n, "name", "it is not the name of a chart")
	}
	scheme, rest, _ := strings.Cut(r.Repository, "://")
	switch {
	case r.Repository == "":
		return Dependency{}, c.refuse(n, "repository", "%s is not in charts/ and names no repository; commit it there, or name one", r.Name)
	case strings.HasPrefix(r.Repository, "@"), strings.HasPrefix(r.Repository, "alias:"):
		return Dependency{}, c.refuse(n, "repository", "the name is one of your own Helm configuration, which Plumb does not have; write the repository's URL, as helm repo list shows it, and run helm dependency update")
	case scheme == "file":
		return c.local(n, r, rest)
	case scheme == "https", scheme == "http", scheme == "oci":
		return c.locked(n, r)
	}
	return Dependency{}, c.refuse(n, "repository", "it must be an https, oci or file URL")
}

// local is a chart elsewhere in the same tree.
func (c *parent) local(n int, r *requirement, rel string) (Dependency, error) {
	at := path.Join(c.dir, rel)
	if path.IsAbs(rel) || strings.ContainsAny(rel, "\\\x00") || !fs.ValidPath(at) {
		return Dependency{}, c.refuse(n, "repository", "the path leaves the repository; it must be relative to the chart and lead to a chart of the same tree")
	}
	if c.dir == at || strings.HasPrefix(c.dir+"/", at+"/") || at == "." {
		return Dependency{}, c.refuse(n, "repository", "the path leads to the chart itself or above it")
	}
	m, err := readMetadata(c.tree, path.Join(at, chartFile))
	if err != nil {
		return Dependency{}, fmt.Errorf("read the dependency %s: %w", r.Name, err)
	}
	if m.Name != r.Name || !satisfies(m.Version, r.Version) {
		return Dependency{}, c.refuse(n, "version", "%s is version %.64q of %.64q, and %.64q of %s is wanted", m.file, m.Version, m.Name, r.Version, r.Name)
	}
	return Dependency{Name: r.Name, Version: m.Version, Local: at}, nil
}

// locked is a chart elsewhere, at the version that the lock says.
func (c *parent) locked(n int, r *requirement) (Dependency, error) {
	if err := c.readLock(); err != nil {
		return Dependency{}, err
	}
	const update = "run helm dependency update and commit the lock"
	if len(c.lock.Dependencies) != len(c.metadata.Dependencies) {
		return Dependency{}, refuseFile(c.lock.file, "dependencies", "they are not those of %s; "+update, c.metadata.file)
	}
	l := c.lock.Dependencies[n]
	if l == nil || l.Name != r.Name || l.Repository != r.Repository {
		return Dependency{}, refuseFile(c.lock.file, fmt.Sprintf("dependencies[%d]", n), "it is not %s of %s; "+update, r.Name, c.metadata.file)
	}
	if _, err := semver.NewVersion(l.Version); err != nil {
		return Dependency{}, refuseFile(c.lock.file, fmt.Sprintf("dependencies[%d].version", n), "it is not one version; "+update)
	}
	return Dependency{Name: r.Name, Version: l.Version, Repo: r.Repository}, nil
}

func (c *parent) readLock() error {
	if c.lock != nil {
		return nil
	}
	l, err := readLock(c.tree, c.dir)
	switch {
	case err != nil:
		return err
	case l == nil:
		return refuseFile(c.metadata.file, "dependencies", "there is no lock that says which versions; run helm dependency update and commit the lock, or the charts themselves in charts/")
	case !l.fits(c.metadata):
		return refuseFile(l.file, "digest", "the lock was made of other dependencies than those of %s; run helm dependency update and commit the lock", c.metadata.file)
	}
	c.lock = l
	return nil
}
