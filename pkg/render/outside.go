package render

import (
	"path"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/tree"
)

// access is how a path mattered, the stronger the greater. A change of a path's
// Git hash tells of each; but of a directory only passed on the way its being one
// matters, not what it holds.
type access int

const (
	passed access = iota
	absent
	read
	listed
)

// crowd is how many records of one directory are told as the directory itself.
// That is coarser, so never wrong, and keeps the status small.
const crowd = 16

// records are the accesses outside the source path.
type records struct {
	source string // empty: not entered yet
	seen   map[string]access
}

// enter drops what lies in the source path, from now on too.
func (r *records) enter(source string) {
	r.source = source
	for name := range r.seen {
		if within(name, source) {
			delete(r.seen, name)
		}
	}
}

func (r *records) add(name string, a access) {
	if r.source != "" && within(name, r.source) {
		return
	}
	if old, has := r.seen[name]; !has || a > old {
		r.seen[name] = a
	}
}

// within says whether a path lies in a directory. What stands beside the root is not
// in it: of another repository only what is read there counts.
func within(name, dir string) bool {
	return dir == "." && !tree.Beside(name) || name == dir || strings.HasPrefix(name, dir+"/")
}

func (r *records) outside() []string {
	implied := r.implied()
	var kept []string
	for name, a := range r.seen {
		if a != passed || !implied[name] {
			kept = append(kept, name)
		}
	}
	return minimal(r.gather(minimal(kept)))
}

// implied are the directories whose being one shows in another record: a file below
// them, or the source path itself.
func (r *records) implied() map[string]bool {
	out := map[string]bool{}
	climb := func(name string) {
		for name != "." {
			if name = path.Dir(name); out[name] {
				return
			}
			out[name] = true
		}
	}
	for name, a := range r.seen {
		if a >= read {
			climb(name)
		}
	}
	if r.source != "" {
		climb(r.source)
	}
	return out
}

// minimal sorts and drops what lies below another path.
func minimal(names []string) []string {
	slices.Sort(names)
	names = slices.Compact(names)
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return slices.DeleteFunc(names, func(name string) bool {
		for dir := name; dir != "."; {
			if dir = path.Dir(dir); set[dir] {
				return true
			}
		}
		return false
	})
}

// gather replaces crowds by their directory, unless the source path lies in it.
func (r *records) gather(names []string) []string {
	count := map[string]int{}
	for _, name := range names {
		count[path.Dir(name)]++
	}
	var out []string
	for _, name := range names {
		dir := path.Dir(name)
		if count[dir] > crowd && !within(r.source, dir) {
			name = dir
		}
		out = append(out, name)
	}
	return out
}
