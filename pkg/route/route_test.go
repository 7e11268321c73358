package route

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// digests is a tree whose digest of a path is the value given for it.
type digests map[string]string

func (d digests) Digest(path string, _ []string) (string, error) {
	if digest, ok := d[path]; ok {
		return digest, nil
	}
	return "", errors.New(path + ": no such path")
}

func TestWhy(t *testing.T) {
	head := Commit{SHA: "bbbbbbbbbbbb", Tree: digests{"apps/web": "new", ".": "root"}}
	read := func(digest string, outside ...string) *v1alpha1.Inputs {
		return &v1alpha1.Inputs{Digest: digest, Outside: outside}
	}
	ended := func(result v1alpha1.Result, revision string) *v1alpha1.LastAttempt {
		return &v1alpha1.LastAttempt{Number: 7, Result: result, Revision: revision}
	}
	failed := func(inputs *v1alpha1.Inputs) *v1alpha1.LastAttempt {
		last := ended(v1alpha1.ResultFailed, "aaaaaaaaaaaa")
		last.Inputs = inputs
		return last
	}
	under := func(inputs *v1alpha1.Inputs) *v1alpha1.LastAttempt {
		last := ended(v1alpha1.ResultRunning, "bbbbbbbbbbbb")
		last.Inputs = inputs
		return last
	}
	values := func(revision string) []v1alpha1.SourceRevision {
		return []v1alpha1.SourceRevision{{Name: "values", Revision: revision}}
	}
	cases := map[string]struct {
		path    string
		sources []v1alpha1.SourceRevision // of the commit
		status  v1alpha1.ApplicationStatus
		gone    bool
		want    string
	}{
		"an application without an attempt is synced": {path: "apps/web", want: "never synced"},
		"equal inputs are left alone": {
			path:   "apps/web",
			status: v1alpha1.ApplicationStatus{LastAttempt: ended(v1alpha1.ResultSucceeded, "aaaaaaaaaaaa"), Inputs: read("new")},
		},
		"the root path is the tree itself": {
			status: v1alpha1.ApplicationStatus{LastAttempt: ended(v1alpha1.ResultSucceeded, "aaaaaaaaaaaa"), Inputs: read("root")},
		},
		"other inputs are synced": {
			path:   "apps/web",
			status: v1alpha1.ApplicationStatus{LastAttempt: ended(v1alpha1.ResultSucceeded, "aaaaaaaaaaaa"), Inputs: read("old")},
			want:   "apps/web changed",
		},
		"the reason tells of paths outside": {
			path:   "apps/web",
			status: v1alpha1.ApplicationStatus{LastAttempt: ended(v1alpha1.ResultWaiting, "aaaaaaaaaaaa"), Inputs: read("old", "base")},
			want:   "apps/web or one of the 1 paths it reads outside changed",
		},
		"a path that is gone is synced, to be told as an error": {
			path:   "apps/gone",
			status: v1alpha1.ApplicationStatus{LastAttempt: ended(v1alpha1.ResultSucceeded, "aaaaaaaaaaaa"), Inputs: read("old")},
			want:   "apps/gone: no such path",
		},
		"a commit that was attempted already is not attempted again": {
			path:   "apps/web",
			status: v1alpha1.ApplicationStatus{LastAttempt: ended(v1alpha1.ResultFailed, "bbbbbbbbbbbb")},
		},
		"an attempt under way at another commit is followed by one": {
			path:   "apps/web",
			status: v1alpha1.ApplicationStatus{LastAttempt: ended(v1alpha1.ResultRunning, "aaaaaaaaaaaa"), Inputs: read("new")},
			want:   "attempt 7 at aaaaaaaa is running",
		},
		"an attempt under way at these very sources is left alone": {
			path:    "apps/web",
			sources: values("two"),
			status: v1alpha1.ApplicationStatus{
				LastAttempt: under(&v1alpha1.Inputs{Sources: values("two")}), Inputs: &v1alpha1.Inputs{Digest: "old", Sources: values("one")},
			},
		},
		"an attempt under way at another revision of a source is followed by one": {
			path:    "apps/web",
			sources: values("two"),
			status:  v1alpha1.ApplicationStatus{LastAttempt: under(&v1alpha1.Inputs{Sources: values("one")}), Inputs: read("new")},
			want:    "attempt 7 at bbbbbbbb is running",
		},
		"what waits hears of a commit that is as before again": {
			path: "apps/web",
			status: v1alpha1.ApplicationStatus{
				LastAttempt: ended(v1alpha1.ResultSucceeded, "aaaaaaaaaaaa"), Inputs: read("new"), Waiting: &v1alpha1.Waiting{Revision: "cccccccccccc"},
			},
			want: "cccccccc waits",
		},
		"a superseded attempt may have left half its writes, at any commit": {
			path:   "apps/web",
			status: v1alpha1.ApplicationStatus{LastAttempt: ended(v1alpha1.ResultSuperseded, "bbbbbbbbbbbb"), Inputs: read("new")},
			want:   "attempt 7 at bbbbbbbb is superseded",
		},
		"a failed attempt is compared by what it read, not by what was applied": {
			path:   "apps/web",
			status: v1alpha1.ApplicationStatus{LastAttempt: failed(read("new")), Inputs: read("old")},
		},
		"a revert to what was applied ends a failure": {
			path:   "apps/web",
			status: v1alpha1.ApplicationStatus{LastAttempt: failed(read("broken")), Inputs: read("new")},
			want:   "apps/web changed",
		},
		"an attempt that failed before it read anything is repeated": {
			path:   "apps/web",
			status: v1alpha1.ApplicationStatus{LastAttempt: failed(nil), Inputs: read("new")},
			want:   "its inputs are not known",
		},
		"an application that is being deleted takes no commit": {path: "apps/web", gone: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Status: c.status}
			a.Spec.Source.Path = c.path
			if c.gone {
				a.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
			}
			if diff := cmp.Diff(c.want, Why(Commit{SHA: head.SHA, Sources: c.sources, Tree: head.Tree}, a)); diff != "" {
				t.Errorf("why (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecideCountsWhatItLeavesAlone(t *testing.T) {
	fresh := &v1alpha1.Application{}
	fresh.Namespace, fresh.Name = "team-a", "web"
	same := &v1alpha1.Application{Status: v1alpha1.ApplicationStatus{
		LastAttempt: &v1alpha1.LastAttempt{Result: v1alpha1.ResultSucceeded, Revision: "a"},
		Inputs:      &v1alpha1.Inputs{Digest: "root"},
	}}
	got := Decide(Commit{SHA: "b", Tree: digests{".": "root"}}, []*v1alpha1.Application{fresh, same})
	want := Decision{Affected: []Touched{{Key: app.Key{Namespace: "team-a", Name: "web"}, Why: "never synced"}}, Unaffected: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
}
