// Package route decides which Applications a commit touches, and why.
//
// It is a pure function of a tree and of what each Application's status says was
// read: no event's file list or revision takes part, so a lost, doubled or forged
// event costs latency and never correctness. It may import the Application API
// and nothing that does input or output.
package route

import (
	"fmt"
	"slices"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// Tree digests what a render of path reads: the path and the paths outside it.
// An error means that the path is not there or must not be read.
type Tree interface {
	Digest(path string, outside []string) (string, error)
}

// Commit is what an Application would be made of: the commit of its source (or the
// digest of its artifact), the revisions of all else, and the tree of both.
type Commit struct {
	SHA     string
	Sources []v1alpha1.SourceRevision
	Tree    Tree
}

// Touched is an Application that a commit touches.
type Touched struct {
	Key app.Key
	Why string
}

// Decision is what one commit means for the Applications of its repo and ref.
type Decision struct {
	Affected   []Touched
	Unaffected int
}

// Decide sorts applications, which must all be made of this commit and nothing else.
func Decide(commit Commit, applications []*v1alpha1.Application) Decision {
	var d Decision
	for _, a := range applications {
		if why := Why(commit, a); why != "" {
			d.Affected = append(d.Affected, Touched{Key: a.Key(), Why: why})
			continue
		}
		d.Unaffected++
	}
	return d
}

// Why says what makes an attempt at the commit worthwhile; empty when nothing does.
func Why(commit Commit, a *v1alpha1.Application) string {
	last := a.Status.LastAttempt
	switch {
	case !a.DeletionTimestamp.IsZero():
		return ""
	case last == nil:
		return "never synced"
	case last.Result == v1alpha1.ResultSuperseded:
		return halfDone(last)
	case a.Status.Waiting != nil && a.Status.Waiting.Revision != "" && a.Status.Waiting.Revision != commit.SHA:
		// Also when it is as before again: then nothing waits any more.
		return fmt.Sprintf("%.8s waits", a.Status.Waiting.Revision)
	case seen(commit, a):
		return ""
	case last.Result == v1alpha1.ResultRunning:
		return halfDone(last)
	}
	return compare(commit.Tree, Path(a.Spec.Source.Path), Read(a))
}

// seen says whether the newest attempt was at just these revisions.
func seen(commit Commit, a *v1alpha1.Application) bool {
	var sources []v1alpha1.SourceRevision
	if inputs := Read(a); inputs != nil {
		sources = inputs.Sources
	}
	return a.Status.LastAttempt.Revision == commit.SHA && slices.Equal(sources, commit.Sources)
}

// halfDone is for attempts that may have written a part: whatever they read, the
// newest commit has to be applied after them.
func halfDone(last *v1alpha1.LastAttempt) string {
	return fmt.Sprintf("attempt %d at %.8s is %s", last.Number, last.Revision, last.Result)
}

// Read is what the newest attempt read: what was applied, or that of one that applied
// nothing, or not yet, where it got so far. Of one under way it is the sources.
func Read(a *v1alpha1.Application) *v1alpha1.Inputs {
	switch last := a.Status.LastAttempt; last.Result {
	case v1alpha1.ResultSucceeded, v1alpha1.ResultWaiting:
		return a.Status.Inputs
	default:
		return last.Inputs
	}
}

func compare(tree Tree, path string, inputs *v1alpha1.Inputs) string {
	if inputs == nil {
		return "its inputs are not known"
	}
	digest, err := tree.Digest(path, inputs.Outside)
	switch {
	case err != nil:
		return err.Error()
	case digest == inputs.Digest:
		return ""
	case len(inputs.Outside) > 0:
		return fmt.Sprintf("%s or one of the %d paths it reads outside changed", path, len(inputs.Outside))
	}
	return path + " changed"
}

// Path is a source path as trees want it: "." for the root.
func Path(path string) string {
	if path == "" {
		return "."
	}
	return path
}
