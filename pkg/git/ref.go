package git

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

const (
	headRef   = "HEAD"
	branchDir = "refs/heads/"
	tagDir    = "refs/tags/"
)

// Resolve finds what ref means among refs, a map from full ref names (and HEAD)
// to commits as Store.Refs returns it: empty is HEAD, a full ref name or a full
// SHA is itself, another name is a branch or a tag. A SHA resolves to itself,
// with an empty name, whether it is among refs or not. Errors are permanent:
// a name that git forbids, one that is a branch and a tag, one that is missing.
func Resolve(refs map[string]string, ref string) (name, sha string, err error) {
	if ref, err = checkRef(ref); err != nil {
		return "", "", err
	}
	if plumbing.IsHash(ref) {
		return "", ref, nil
	}
	name, err = fullName(ref, func(name string) bool { return refs[name] != "" })
	return name, refs[name], err
}

func fullName(ref string, has func(name string) bool) (string, error) {
	if ref == headRef || strings.HasPrefix(ref, "refs/") {
		if has(ref) {
			return ref, nil
		}
		return "", missingRef(ref)
	}
	branch, tag := has(branchDir+ref), has(tagDir+ref)
	switch {
	case branch && tag:
		return "", fault.Refuse(fault.FetchFailed, fault.Place{Field: "spec.source.ref"},
			"%q is a branch and a tag; write refs/heads/%s or refs/tags/%s", ref, ref, ref)
	case branch:
		return branchDir + ref, nil
	case tag:
		return tagDir + ref, nil
	}
	return "", missingRef(ref)
}

func missingRef(ref string) error {
	what := "branch or tag"
	switch {
	case ref == headRef:
		return fault.Refuse(fault.FetchFailed, fault.Place{Field: "spec.source.ref"},
			"the remote's HEAD points to no commit; name a branch, tag or commit")
	case strings.HasPrefix(ref, "refs/"):
		what = "ref"
	}
	return fault.Refuse(fault.FetchFailed, fault.Place{Field: "spec.source.ref"}, "there is no %s %q", what, ref)
}

// maxRef is GitHub's limit for ref names, in bytes.
const maxRef = 255

// checkRef refuses what git-check-ref-format(1) refuses and what could be taken
// for an option, and returns the ref in the form Resolve works on.
func checkRef(ref string) (string, error) {
	switch {
	case ref == "":
		return headRef, nil
	case plumbing.IsHash(ref):
		return strings.ToLower(ref), nil
	case len(ref) > maxRef:
		return "", refuseRef("it is longer than 255 bytes")
	case ref[0] == '-':
		return "", refuseRef("it begins with a dash")
	case strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }):
		return "", refuseRef(`it holds a blank, a control character or one of ~^:?*[\`)
	case strings.Contains(ref, ".."), strings.Contains(ref, "@{"), ref == "@", strings.HasSuffix(ref, "."):
		return "", refuseRef(`it holds "..", "@{" or ends with a dot`)
	}
	for part := range strings.SplitSeq(ref, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return "", refuseRef(`a part of it is empty, begins with a dot or ends with ".lock"`)
		}
	}
	return ref, nil
}

func refuseRef(why string) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{Field: "spec.source.ref"}, "read ref: %s", why)
}

// listing is what the remote says it has.
type listing struct {
	wants    map[string]plumbing.Hash // by full name: what the ref itself points to
	peeled   map[string]plumbing.Hash // of annotated tags: the commit behind
	head     string                   // what HEAD is a name for, if the remote says
	shallows []plumbing.Hash          // where the remote's own history ends
}

// target is what one fetch is after.
type target struct {
	name   string        // full ref name; empty for a SHA
	want   plumbing.Hash // what to ask for
	commit plumbing.Hash // what it must contain
}

// pick finds the target of an already checked query.
func (l listing) pick(q Query) (target, error) {
	if q.Semver != "" {
		return l.newest(q.Semver)
	}
	return l.choose(q.Ref)
}

// choose picks the target of an already checked ref.
func (l listing) choose(ref string) (target, error) {
	if plumbing.IsHash(ref) {
		return l.chooseCommit(plumbing.NewHash(ref)), nil
	}
	name, err := fullName(ref, func(name string) bool { _, ok := l.wants[name]; return ok })
	if err != nil {
		return target{}, err
	}
	t := target{name: name, want: l.wants[name], commit: l.commitOf(name)}
	if name == headRef && l.head != "" {
		t.name = l.head
	}
	return t, nil
}

// chooseCommit asks by way of a ref where one points to the commit, since many
// servers give out nothing but the tips of refs.
func (l listing) chooseCommit(commit plumbing.Hash) target {
	for _, name := range slices.Sorted(maps.Keys(l.wants)) {
		if l.commitOf(name) == commit {
			return target{want: l.wants[name], commit: commit}
		}
	}
	return target{want: commit, commit: commit}
}

func (l listing) commitOf(name string) plumbing.Hash {
	if commit, ok := l.peeled[name]; ok {
		return commit
	}
	return l.wants[name]
}

// commits is the listing as Store.Refs returns it.
func (l listing) commits() map[string]string {
	out := make(map[string]string, len(l.wants))
	for name := range l.wants {
		out[name] = l.commitOf(name).String()
	}
	return out
}
