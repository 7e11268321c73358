package chart

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Files of a chart; those of requirements are of charts with apiVersion v1.
const (
	chartFile        = "Chart.yaml"
	lockFile         = "Chart.lock"
	requirementsFile = "requirements.yaml"
	requirementsLock = "requirements.lock"
)

// maxMetadata is how many bytes any of these may have.
const maxMetadata = 1 << 20

// metadata is the part of Chart.yaml that is read.
type metadata struct {
	APIVersion   string         `json:"apiVersion"`
	Name         string         `json:"name"`
	Version      string         `json:"version"`
	Dependencies []*requirement `json:"dependencies"`

	file string // that lists the dependencies
}

// requirement is a dependency as Helm writes it down. The digest of a lock is over
// its JSON, so that its fields are all of Helm's, in Helm's order; helm v4,
// pkg/chart/v2/dependency.go.
type requirement struct {
	Name         string   `json:"name"`
	Version      string   `json:"version,omitempty"`
	Repository   string   `json:"repository"`
	Condition    string   `json:"condition,omitempty"`
	Tags         []string `json:"tags,omitempty"`
	Enabled      bool     `json:"enabled,omitempty"`
	ImportValues []any    `json:"import-values,omitempty"`
	Alias        string   `json:"alias,omitempty"`
}

// lock is Chart.lock or requirements.lock.
type lock struct {
	Digest       string         `json:"digest"`
	Dependencies []*requirement `json:"dependencies"`

	file string
}

// files is the part of tree.Tree that reading a chart takes.
type files interface {
	fs.ReadFileFS
	fs.StatFS
}

// readYAML reads a file if it is there.
func readYAML(t files, name string, into any) (found bool, err error) {
	info, err := t.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", name, err)
	}
	if info.IsDir() || info.Size() > maxMetadata {
		return false, refuseFile(name, "", "it is no file of at most %d bytes", maxMetadata)
	}
	data, err := t.ReadFile(name)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		return false, refuseFile(name, "", "it is not the YAML that Helm writes there: %s", oneLine(err))
	}
	return true, nil
}

func oneLine(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	return s[:min(len(s), 200)]
}

// readMetadata reads a Chart.yaml alone.
func readMetadata(t files, name string) (metadata, error) {
	m := metadata{file: name}
	found, err := readYAML(t, name, &m)
	if err == nil && !found {
		err = refuseFile(name, "", "there is no such file, so that its directory is no chart")
	}
	m.APIVersion = cmp.Or(m.APIVersion, "v1") // Helm 2 did not ask for it
	return m, err
}

// readRequirements adds those of requirements.yaml.
func (m *metadata) readRequirements(t files, dir string) error {
	var old struct {
		Dependencies []*requirement `json:"dependencies"`
	}
	name := path.Join(dir, requirementsFile)
	if _, err := readYAML(t, name, &old); err != nil {
		return err
	}
	if len(old.Dependencies) > 0 {
		if len(m.Dependencies) > 0 {
			return refuseFile(name, "dependencies", "%s has dependencies, too; keep them in one place", m.file)
		}
		m.Dependencies, m.file = old.Dependencies, name
	}
	for n, d := range m.Dependencies {
		if d == nil || d.Name == "" {
			return refuseFile(m.file, fmt.Sprintf("dependencies[%d]", n), "it has no name")
		}
		d.clean()
	}
	return nil
}

// clean does what Helm does before it digests: blanks for white space, nothing for
// what does not print.
func (d *requirement) clean() {
	for _, field := range []*string{&d.Name, &d.Version, &d.Repository, &d.Condition} {
		*field = printable(*field)
	}
	for n := range d.Tags {
		d.Tags[n] = printable(d.Tags[n])
	}
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, s)
}

// readLock reads the lock of a chart; nil when there is none.
func readLock(t files, dir string) (*lock, error) {
	for _, name := range []string{lockFile, requirementsLock} {
		l := &lock{file: path.Join(dir, name)}
		if found, err := readYAML(t, l.file, l); err != nil || found {
			return l, err
		}
	}
	return nil, nil
}

// fits says whether the lock was made of these dependencies; helm v4,
// internal/resolver, HashReq, and HashV2Req for locks that Helm 2 made.
func (l *lock) fits(m metadata) bool {
	return l.Digest == hash([2][]*requirement{m.Dependencies, l.Dependencies}) ||
		m.APIVersion == "v1" && l.Digest == hash(map[string][]*requirement{"dependencies": m.Dependencies})
}

func hash(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return "" // of what YAML held, JSON can say everything
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(data))
}

func refuseFile(file, field, format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{File: file, Field: field}, format, args...)
}
