package git

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Newest finds the newest tag whose version is in a range, among refs as
// Store.Refs returns them. A version is of three numbers (semver.org), a "v" may
// stand before it; other tags are passed over. The range is that of
// Masterminds/semver, as in Flux: pre-releases count where it names one. Versions
// that differ in build metadata alone are ordered by it, part by part, numbers
// before words, and then by the name of the tag, so that the choice never depends
// on the order of refs. Errors are permanent: a range that does not parse, and one
// without a tag, which lists the nearest ones.
func Newest(refs map[string]string, wanted string) (name, sha string, err error) {
	in, err := semver.NewConstraint(wanted)
	if err != nil {
		return "", "", fault.Refuse(fault.SourceRefused, semverField, "read range %q: %w; write it as \">=1.2.0 <2.0.0\" or \"1.x\"", wanted, err)
	}
	best := release{}
	for ref := range refs {
		r, ok := releaseOf(ref)
		if ok && in.Check(r.version) && (best.version == nil || r.compare(best) > 0) {
			best = r
		}
	}
	if best.version == nil {
		return "", "", noneIn(refs, wanted)
	}
	return best.ref, refs[best.ref], nil
}

var semverField = fault.Place{Field: "spec.source.semver"}

// release is a tag that is a version.
type release struct {
	ref     string
	version *semver.Version
}

func releaseOf(ref string) (release, bool) {
	name, isTag := strings.CutPrefix(ref, tagDir)
	if !isTag {
		return release{}, false
	}
	v, err := semver.StrictNewVersion(strings.TrimPrefix(name, "v"))
	return release{ref, v}, err == nil
}

func (r release) compare(o release) int {
	return cmp.Or(r.version.Compare(o.version), compareBuilds(r.version.Metadata(), o.version.Metadata()), cmp.Compare(r.ref, o.ref))
}

// compareBuilds gives build metadata, which semver.org leaves without an order,
// that of pre-releases.
func compareBuilds(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		kindA, n := partOf(a)
		kindB, m := partOf(b)
		return cmp.Or(cmp.Compare(kindA, kindB), cmp.Compare(n, m), cmp.Compare(a, b))
	})
}

// partOf puts nothing before numbers, and words after them.
func partOf(s string) (kind int, number uint64) {
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case s == "":
		return 0, 0
	case err == nil:
		return 1, n
	}
	return 2, 0
}

// shown is how many tags an error lists.
const shown = 5

func noneIn(refs map[string]string, wanted string) error {
	var all []release
	for ref := range refs {
		if r, ok := releaseOf(ref); ok {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return fault.Refuse(fault.FetchFailed, semverField, "no tag is in %q: none is a version such as v1.2.3", wanted)
	}
	slices.SortFunc(all, release.compare)
	var names []string
	for _, r := range nearest(all, wanted) {
		names = append(names, cut(strings.TrimPrefix(r.ref, tagDir)))
	}
	return fault.Refuse(fault.FetchFailed, semverField,
		"no tag is in %q; the nearest are %s (a pre-release counts only where the range names one, as >=1.0.0-0 does)", wanted, strings.Join(names, ", "))
}

var versionIn = regexp.MustCompile(`[0-9]+(\.[0-9]+){0,2}(-[0-9A-Za-z.-]+)?`)

// nearest are the versions around the first that the range names.
func nearest(all []release, wanted string) []release {
	at := len(all)
	if pivot, err := semver.NewVersion(versionIn.FindString(wanted)); err == nil {
		at = slices.IndexFunc(all, func(r release) bool { return r.version.Compare(pivot) >= 0 })
		if at < 0 {
			at = len(all)
		}
	}
	from := max(0, min(at-shown/2, len(all)-shown))
	return all[from:min(len(all), from+shown)]
}

// newest picks the target of a range.
func (l listing) newest(wanted string) (target, error) {
	name, commit, err := Newest(l.commits(), wanted)
	if err != nil {
		return target{}, err
	}
	return target{name: name, want: l.wants[name], commit: plumbing.NewHash(commit)}, nil
}

// lacks says whether a fetch is older than the push that its Query tells of.
func (s *Store) lacks(q Query, c Commit) bool {
	if !plumbing.IsHash(q.Want) {
		return false
	}
	gone := plumbing.NewHash(q.Want).IsZero()
	switch {
	case q.WantRef != "" && q.WantRef == c.Ref && gone:
		return true
	case gone, q.Want == c.SHA, q.Want == c.Tag:
		return false
	case q.Semver == "" && q.WantRef != "" && q.WantRef != c.Ref && c.Ref != headRef:
		return false // HEAD leads to another branch than the pushed one
	case q.Semver == "" || q.WantRef == "":
		return !s.contains(q, c)
	}
	// Among tags a push is missed only where its tag would have been chosen.
	name, _, err := Newest(map[string]string{q.WantRef: q.Want, c.Ref: c.SHA}, q.Semver)
	return err == nil && name == q.WantRef
}
