// Package failpoint names the places of an attempt at which a test can kill,
// hold or fail the process. In a build without the tag failpoints, Hit does
// nothing and is inlined away.
//
// It imports the standard library only. With the tag, PLUMB_FAILPOINT says what
// happens: "<name>=kill|hold|error[:count]". The count-th hit of that name acts
// (the first when no count is given), the others pass:
//
//	kill   SIGKILL to the own process
//	hold   wait until the file PLUMB_FAILPOINT_RELEASE exists
//	error  Hit returns an error
//
// A hit that acts first creates the file PLUMB_FAILPOINT_REACHED, when that is
// set, so that a test need not guess. A specification that cannot be read, or that
// names no point of All, ends the process at the first hit: a kill test with a
// typing error must not pass.
package failpoint

import "strconv"

// Point is one named place. Its name is what PLUMB_FAILPOINT says.
type Point string

// The places of an attempt, in the order in which an attempt passes them.
const (
	Fetch       Point = "fetch"
	Render      Point = "render"
	Plan        Point = "plan"
	StatusFirst Point = "status/first"
	ApplyObject Point = "apply/object" // before each object; with a count: within a stage
	PruneBefore Point = "prune/before"
	PruneObject Point = "prune/object" // before each deletion
	PruneAfter  Point = "prune/after"
	Health      Point = "health"
	StatusLast  Point = "status/last"
)

// stages is how many apply stages have points of their own.
const stages = 3

// ApplyBefore is the place before apply stage n, counted from 1.
func ApplyBefore(n int) Point { return Point("apply/before/" + strconv.Itoa(n)) }

// ApplyAfter is the place after apply stage n, counted from 1.
func ApplyAfter(n int) Point { return Point("apply/after/" + strconv.Itoa(n)) }

// All returns every point, for tests that go through them one by one.
func All() []Point {
	all := []Point{Fetch, Render, Plan, StatusFirst}
	for n := 1; n <= stages; n++ {
		all = append(all, ApplyBefore(n), ApplyAfter(n))
	}
	return append(all, ApplyObject, PruneBefore, PruneObject, PruneAfter, Health, StatusLast)
}
