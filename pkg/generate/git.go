package generate

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

const (
	// maxFile is the largest parameter file in bytes.
	maxFile = 1 << 20
	// maxFiles is how much all of them may be.
	maxFiles = 32 << 20
	// maxDepth is how deep directories are looked into.
	maxDepth = 64
)

// tree reads a source once. Errors keep their class and reason, and are told at
// the generator that asked.
func (r *reader) tree(place string, g v1alpha1.GitSource) (Tree, error) {
	s, _ := sourceOf(v1alpha1.PlainGenerator{GitFiles: &v1alpha1.GitFilesGenerator{GitSource: g}})
	if t, ok := r.trees[s]; ok {
		return t, nil
	}
	if len(r.trees) == maxSources {
		return nil, r.refuse(place, "the set reads more than %d refs; split it", maxSources)
	}
	if templated(s.Repo) || templated(s.Ref) {
		return nil, r.refuse(place, "repo and ref may be templates only in the second generator of a matrix")
	}
	t, revision, err := r.in.Read(r.ctx, s)
	if err != nil {
		return nil, r.failed(place, err)
	}
	r.trees[s] = t
	r.sources = append(r.sources, v1alpha1.SetSource{Repo: s.Repo, Ref: s.Ref, Revision: revision})
	return t, nil
}

func (r *reader) failed(place string, err error) error {
	class, after := fault.ClassOf(err)
	e := &fault.Error{Class: class, After: after, Reason: fault.ReasonOf(err), Place: placeOf(r.in.Set, place), Err: err}
	if e.Reason == "" {
		e.Reason = fault.GenerateFailed
	}
	return e
}

func (r *reader) directories(place string, g *v1alpha1.GitDirectoriesGenerator) ([]element, error) {
	include, exclude, err := patterns(g.Include, g.Exclude)
	if err != nil {
		return nil, r.refuse(place, "%w", err)
	}
	tree, err := r.tree(place, g.GitSource)
	if err != nil {
		return nil, err
	}
	var all []element
	err = r.walk(tree, ".", include, exclude, func(name string, d fs.DirEntry) error {
		if !d.IsDir() || !include.match(name) {
			return nil
		}
		if len(all) == maxApplications {
			return r.tooMany(place)
		}
		all = append(all, element{place + ": " + name, map[string]any{parameter(g.GitSource): directoryOf(name)}})
		return nil
	})
	if err != nil {
		return nil, r.failed(place, err)
	}
	return all, nil
}

func parameter(g v1alpha1.GitSource) string {
	if g.PathParameter == "" {
		return "path"
	}
	return g.PathParameter
}

func directoryOf(dir string) map[string]any {
	segments := []any{}
	for s := range strings.SplitSeq(dir, "/") {
		segments = append(segments, s)
	}
	return map[string]any{
		"path": dir, "basename": path.Base(dir), "basenameNormalized": normalize(path.Base(dir)), "segments": segments,
	}
}

// walk calls visit for what stands below dir, in order, where a pattern may still
// match. It follows no links.
func (r *reader) walk(tree Tree, dir string, include, exclude globs, visit func(string, fs.DirEntry) error) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if strings.Count(dir, "/") >= maxDepth {
		return fault.Refuse(fault.GenerateFailed, fault.Place{File: dir}, "directories nest deeper than %d", maxDepth)
	}
	entries, err := tree.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.Name() == ".git" || exclude.match(name) {
			continue
		}
		if err := visit(name, e); err != nil {
			return err
		}
		if e.IsDir() && include.below(name) {
			if err := r.walk(tree, name, include, exclude, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) files(place string, g *v1alpha1.GitFilesGenerator) ([]element, error) {
	include, none, err := patterns(g.Files, nil)
	if err != nil {
		return nil, r.refuse(place, "%w", err)
	}
	tree, err := r.tree(place, g.GitSource)
	if err != nil {
		return nil, err
	}
	var all []element
	err = r.walk(tree, ".", include, none, func(name string, d fs.DirEntry) error {
		if !d.Type().IsRegular() || !include.match(name) {
			return nil
		}
		found, err := r.file(tree, place, name, parameter(g.GitSource))
		if all = append(all, found...); err == nil && len(all) > maxApplications {
			err = r.tooMany(place)
		}
		return err
	})
	if err != nil {
		return nil, r.failed(place, err)
	}
	return all, nil
}

// file yields the mappings of one file.
func (r *reader) file(tree Tree, place, name, key string) ([]element, error) {
	raw, err := tree.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(raw) > maxFile {
		return nil, fault.Refuse(fault.GenerateFailed, fault.Place{File: name}, "it has %d bytes, the limit is %d", len(raw), maxFile)
	}
	if r.left.files -= len(raw); r.left.files < 0 {
		return nil, fault.Refuse(fault.GenerateFailed, fault.Place{File: name}, "with it the files of the set have more than %d bytes", maxFiles)
	}
	mappings, err := documents(raw)
	if err != nil {
		return nil, fault.Refuse(fault.GenerateFailed, fault.Place{File: name}, "%w", err)
	}
	at := directoryOf(path.Dir(name))
	at["filename"], at["filenameNormalized"] = path.Base(name), normalize(path.Base(name))
	var all []element
	for i, values := range mappings {
		if _, there := values[key]; there {
			return nil, fault.Refuse(fault.GenerateFailed, fault.Place{File: name, Field: key},
				"the file's own place is given by that name; rename the parameter, or set pathParameter")
		}
		values[key] = at
		all = append(all, element{fmt.Sprintf("%s: %s[%d]", place, name, i), values})
	}
	return all, nil
}

// globs match slash-separated paths: "*", "?" and "[…]" stay within a segment, "**"
// is any number of segments.
type globs [][]string

func patterns(include, exclude []string) (in, out globs, err error) {
	if in, err = parseGlobs(include); err == nil {
		out, err = parseGlobs(exclude)
	}
	return in, out, err
}

var errGlob = errors.New("want a path from the root, as in apps/* or clusters/**/config.yaml")

func parseGlobs(texts []string) (globs, error) {
	var all globs
	for _, text := range texts {
		if text == "" || templated(text) || path.Clean(text) != text || text[0] == '/' || strings.HasPrefix(text, "../") || text == ".." {
			return nil, fmt.Errorf("bad glob %q: %w", text, errGlob)
		}
		segments := strings.Split(text, "/")
		for _, s := range segments {
			if _, err := path.Match(s, ""); err != nil {
				return nil, fmt.Errorf("bad glob %q: %w", text, err)
			}
		}
		all = append(all, segments)
	}
	return all, nil
}

func (g globs) match(name string) bool {
	segments := strings.Split(name, "/")
	for _, pattern := range g {
		if at, _ := progress(pattern, segments); at[len(pattern)] {
			return true
		}
	}
	return false
}

// below says whether something below the directory may match.
func (g globs) below(dir string) bool {
	segments := strings.Split(dir, "/")
	for _, pattern := range g {
		if _, open := progress(pattern, segments); open {
			return true
		}
	}
	return false
}

// progress says which parts of a pattern can stand before what follows the
// segments; open: one of them leaves something to match. Its time is the product
// of both lengths.
func progress(pattern, segments []string) (at []bool, open bool) {
	at = make([]bool, len(pattern)+1)
	at[0] = true
	skip(pattern, at)
	for _, s := range segments {
		next := make([]bool, len(pattern)+1)
		for i, p := range pattern {
			if !at[i] {
				continue
			}
			if p == "**" {
				next[i] = true
			} else if ok, _ := path.Match(p, s); ok {
				next[i+1] = true
			}
		}
		at = next
		skip(pattern, at)
	}
	for i := range pattern {
		open = open || at[i]
	}
	return at, open
}

// skip lets "**" stand for nothing.
func skip(pattern []string, at []bool) {
	for i, p := range pattern {
		if at[i] && p == "**" {
			at[i+1] = true
		}
	}
}
