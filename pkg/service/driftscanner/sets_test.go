package driftscanner

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

type fixedSets []*v1alpha1.ApplicationSet

func (f fixedSets) All() []*v1alpha1.ApplicationSet { return f }

func TestTheRefsOfSetsAreSweptOnceInAnInterval(t *testing.T) {
	set := &v1alpha1.ApplicationSet{}
	set.Namespace, set.Name = "team-a", "apps"
	g := v1alpha1.Generator{}
	g.GitDirectories = &v1alpha1.GitDirectoriesGenerator{}
	g.GitDirectories.Repo, g.GitDirectories.Ref = "https://github.com/acme/config", "main"
	set.Spec.Generators = []v1alpha1.Generator{g}
	set.Status.Sources = []v1alpha1.SetSource{
		{Repo: "https://github.com/acme/config", Ref: "main", Revision: "1"}, // the one above
		{Repo: "https://github.com/acme/other", Revision: "2"},               // of parameters
	}
	now := time.Unix(1000, 0)
	turns := &turns{sets: fixedSets{set}, interval: time.Minute, now: func() time.Time { return now }}
	sweep := func(at time.Time) (swept []string) {
		now = at
		for _, a := range turns.due() {
			swept = append(swept, a.Namespace+" "+a.Spec.Source.Repo+"@"+a.Spec.Source.Ref)
		}
		return swept
	}
	both := []string{"team-a https://github.com/acme/config@main", "team-a https://github.com/acme/other@"}
	for _, step := range []struct {
		says string
		at   time.Duration
		want []string
	}{
		{"a new set is given a turn", 0, nil},
		{"which comes within the interval", time.Minute, both},
		{"and is over", time.Minute, nil},
		{"the next one is not early", time.Minute + 53*time.Second, nil},
		{"and not late", 2*time.Minute + 6*time.Second, both},
	} {
		if diff := cmp.Diff(step.want, sweep(time.Unix(1000, 0).Add(step.at))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.says, diff)
		}
	}
}
