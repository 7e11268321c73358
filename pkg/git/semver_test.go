package git_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

func TestNewest(t *testing.T) {
	cases := map[string]struct {
		tags   string
		wanted string
		want   string
	}{
		"the newest in the range":                     {tags: "1.0.0 1.4.2 1.10.0 2.0.0", wanted: ">=1.0 <2", want: "1.10.0"},
		"a v may stand before it":                     {tags: "v1.0.0 1.4.2 v1.5.0", wanted: "1.x", want: "v1.5.0"},
		"and before the range":                        {tags: "1.4.2 1.5.0", wanted: "v1.4.2", want: "1.4.2"},
		"a caret":                                     {tags: "v1.4.2 v1.5.0 v2.0.0", wanted: "^1.4.0", want: "v1.5.0"},
		"a tilde":                                     {tags: "v1.4.2 v1.4.9 v1.5.0", wanted: "~1.4.2", want: "v1.4.9"},
		"a star takes all":                            {tags: "v1.4.2 v3.0.0", wanted: "*", want: "v3.0.0"},
		"one of several ranges":                       {tags: "v1.4.2 v2.0.0 v3.1.0", wanted: "1.x || 3.x", want: "v3.1.0"},
		"no pre-release unless the range names one":   {tags: "v1.4.2 v1.5.0-rc.1", wanted: ">=1.0.0", want: "v1.4.2"},
		"a pre-release where it does":                 {tags: "v1.4.2 v1.5.0-rc.2 v1.5.0-rc.10", wanted: ">=1.0.0-0", want: "v1.5.0-rc.10"},
		"the release goes before its pre-releases":    {tags: "v1.5.0-rc.1 v1.5.0", wanted: ">=1.5.0-0", want: "v1.5.0"},
		"build metadata breaks the tie":               {tags: "v1.0.0+9 v1.0.0+10", wanted: "1.x", want: "v1.0.0+10"},
		"words go before numbers in it":               {tags: "v1.0.0+b.1 v1.0.0+10", wanted: "1.x", want: "v1.0.0+b.1"},
		"some goes before none":                       {tags: "v1.0.0+1 v1.0.0", wanted: "1.x", want: "v1.0.0+1"},
		"and then the name of the tag":                {tags: "v1.0.0 1.0.0", wanted: "1.x", want: "v1.0.0"},
		"two numbers are no version":                  {tags: "v1.2.3 v1.9 v2", wanted: ">=1", want: "v1.2.3"},
		"nor is a directory of tags":                  {tags: "v1.2.3 web/v1.9.0", wanted: ">=1", want: "v1.2.3"},
		"nor a version with more behind it":           {tags: "v1.2.3 v1.9.0.1 v1.9.0_2 v01.9.0", wanted: ">=1", want: "v1.2.3"},
		"a number beyond 64 bits is passed over":      {tags: "v1.2.3 v99999999999999999999.0.0", wanted: ">=1", want: "v1.2.3"},
		"a comma stands for and, as a blank does":     {tags: "v1.2.3 v1.9.0", wanted: ">=1.0.0, <1.5.0", want: "v1.2.3"},
		"build metadata of any length has some order": {tags: "v1.0.0+1.99999999999999999999 v1.0.0+1.1", wanted: "1.x", want: "v1.0.0+1.99999999999999999999"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			refs := map[string]string{"HEAD": "h", "refs/heads/v9.9.9": "b", "refs/tags/latest": "l"}
			for tag := range strings.FieldsSeq(c.tags) {
				refs["refs/tags/"+tag] = "commit of " + tag
			}
			ref, sha, err := git.Newest(refs, c.wanted)
			if err != nil || ref != "refs/tags/"+c.want || sha != "commit of "+c.want {
				t.Errorf("chose %s at %q (%v), want %s", ref, sha, err, c.want)
			}
		})
	}
}

func TestNewestRefuses(t *testing.T) {
	cases := map[string]struct {
		tags   string
		wanted string
		reason fault.Reason
		words  []string
		not    string
	}{
		"a range that does not parse": {"v1.0.0", ">=1.x.y.z", fault.SourceRefused, []string{"spec.source.semver", `">=1.x.y.z"`}, ""},
		"an empty one":                {"v1.0.0", " ", fault.SourceRefused, []string{"spec.source.semver"}, ""},
		"one without a tag, and lists the nearest": {
			"v1.0.0 v1.1.0 v1.2.0 v1.3.0 v3.0.0 v3.1.0 v4.0.0", "~2.1.0", fault.FetchFailed,
			[]string{`"~2.1.0"`, "v1.2.0, v1.3.0, v3.0.0, v3.1.0, v4.0.0"}, "v1.1.0",
		},
		"one above all tags":               {"v1.0.0 v1.1.0", ">=2", fault.FetchFailed, []string{"v1.0.0, v1.1.0"}, ""},
		"one with a pre-release only":      {"v2.0.0-rc.1", ">=2.0.0", fault.FetchFailed, []string{"v2.0.0-rc.1", ">=1.0.0-0"}, ""},
		"a repository without any version": {"latest stable", "1.x", fault.FetchFailed, []string{"v1.2.3"}, "latest"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			refs := map[string]string{}
			for tag := range strings.FieldsSeq(c.tags) {
				refs["refs/tags/"+tag] = "c"
			}
			_, _, err := git.Newest(refs, c.wanted)
			wantFault(t, err, fault.Permanent, c.reason, c.words...)
			if c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("error says %q: %v", c.not, err)
			}
		})
	}
}

func FuzzNewest(f *testing.F) {
	for _, s := range []string{">=1.2 <2", "1.x || ^3", "v1.0.0-rc.1", "~1", "* - 2", "!=1"} {
		f.Add(s, "v1.0.0\n1.2.3+b.1\nv2.0.0-rc.1")
	}
	f.Fuzz(func(t *testing.T, wanted, tags string) {
		refs := map[string]string{}
		for tag := range strings.Lines(tags) {
			refs["refs/tags/"+strings.TrimSuffix(tag, "\n")] = tag
		}
		name, sha, err := git.Newest(refs, wanted)
		if err != nil {
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Fatalf("%v is no permanent fault", err)
			}
			return
		}
		if refs[name] != sha {
			t.Fatalf("chose %q at %q, which is none of %q", name, sha, slices.Collect(maps.Keys(refs)))
		}
		if alone, _, err := git.Newest(map[string]string{name: sha}, wanted); err != nil || alone != name {
			t.Fatalf("%q is chosen among others but not alone (%v)", name, err)
		}
	})
}

// tag makes a tag of the clone's HEAD and pushes it.
func (s *site) tag(name string, args ...string) {
	s.Helper()
	s.git(append(append([]string{"tag", "-f"}, args...), name)...)
	if err := s.repo.Push(s.Context(), "+refs/tags/"+name); err != nil {
		s.Fatal(err)
	}
}

func (s *site) untag(name string) {
	s.Helper()
	if err := s.repo.Push(s.Context(), ":refs/tags/"+name); err != nil {
		s.Fatal(err)
	}
}

func (s *site) fetchRange(wanted string) git.Commit {
	s.Helper()
	c, err := s.store.Fetch(s.Context(), git.Query{URL: s.url(), Semver: wanted})
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func TestFetchOfARangeThroughTheLifeOfItsTags(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	first := s.push(map[string]string{"f": "1"})
	s.tag("v1.0.0")
	second := s.push(map[string]string{"f": "2"})
	third := ""
	steps := []struct {
		name, ref, sha string
		annotated      bool
		change         func()
	}{
		{name: "a light tag", ref: "refs/tags/v1.0.0", sha: first, change: func() {}},
		{name: "an annotated one is the commit behind it", ref: "refs/tags/v1.1.0", sha: second, annotated: true, change: func() { s.tag("v1.1.0", "-a", "-m", "x") }},
		{name: "a tag beside the range changes nothing", ref: "refs/tags/v1.1.0", sha: second, annotated: true, change: func() { s.push(nil); s.tag("v2.0.0") }},
		{name: "a tag that is moved is followed", ref: "refs/tags/v1.1.0", sha: "third", change: func() {
			third = s.push(map[string]string{"f": "3"})
			s.tag("v1.1.0")
		}},
		{name: "the next best after its deletion", ref: "refs/tags/v1.0.0", sha: first, change: func() { s.untag("v1.1.0") }},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.change()
			want := step.sha
			if want == "third" {
				want = third
			}
			c := s.in(t).fetchRange("1.x")
			if c.SHA != want || c.Ref != step.ref || (c.Tag != "") != step.annotated {
				t.Errorf("found %+v, want %s at %s", c, step.ref, want)
			}
			if got, err := s.in(t).tree(c.SHA).ReadFile("f"); err != nil || string(got) == "" {
				t.Errorf("f is %q (%v)", got, err)
			}
		})
	}
}

func TestFetchOfARangeRefuses(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	s.push(map[string]string{"f": "1"})
	s.tag("v1.0.0")
	_, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Semver: "2.x"})
	wantFault(t, err, fault.Permanent, fault.FetchFailed, s.repo.URL(), "v1.0.0", "spec.source.semver")
	_, err = s.store.Fetch(t.Context(), git.Query{URL: s.url(), Semver: "2.x", Ref: "main"})
	wantFault(t, err, fault.Permanent, fault.SourceRefused, "main", "2.x")
}

func TestOneRangeIsFetchedOnceForAll(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	s.push(map[string]string{"f": "1"})
	s.tag("v1.0.0")
	mark := s.store.Mark()
	for _, wanted := range []string{"1.x", "1.x", "<2", "1.x"} {
		if _, err := s.store.Fetch(t.Context(), git.Query{URL: s.url(), Semver: wanted, After: mark}); err != nil {
			t.Fatal(err)
		}
	}
	if s.server.Lists() != 2 {
		t.Errorf("refs were listed %d times, want once for each range", s.server.Lists())
	}
}

// A push of a tag may be of one that is not chosen, or is gone: waiting for its
// commit to turn up would hold up all others.
func TestAPushIsWaitedForOnlyWhereItWouldShow(t *testing.T) {
	waits := 0
	s := newSite(t, gitserver.Options{}, git.Options{Wait: func(context.Context, time.Duration) error { waits++; return nil }})
	old := s.push(map[string]string{"f": "1"})
	s.tag("v1.0.0")
	now := s.push(map[string]string{"f": "2"})
	s.tag("v1.1.0", "-a", "-m", "x")
	object := s.git("rev-parse", "refs/tags/v1.1.0")
	none, unseen := strings.Repeat("0", 40), strings.Repeat("5", 40)
	cases := map[string]struct {
		q     git.Query
		waits int
	}{
		"the chosen tag by its own SHA":       {git.Query{Semver: "1.x", Want: object, WantRef: "refs/tags/v1.1.0"}, 0},
		"the chosen tag by its commit":        {git.Query{Semver: "1.x", Want: now, WantRef: "refs/tags/v1.1.0"}, 0},
		"a newer tag that is not there yet":   {git.Query{Semver: "1.x", Want: unseen, WantRef: "refs/tags/v1.2.0"}, 4},
		"the chosen tag, moved":               {git.Query{Semver: "1.x", Want: unseen, WantRef: "refs/tags/v1.1.0"}, 4},
		"an older tag":                        {git.Query{Semver: "1.x", Want: unseen, WantRef: "refs/tags/v1.0.9"}, 0},
		"a tag beside the range":              {git.Query{Semver: "1.x", Want: unseen, WantRef: "refs/tags/v2.0.0"}, 0},
		"a deletion that shows":               {git.Query{Semver: "1.x", Want: none, WantRef: "refs/tags/v1.2.0"}, 0},
		"a deletion that does not show yet":   {git.Query{Semver: "1.x", Want: none, WantRef: "refs/tags/v1.1.0"}, 4},
		"a request for what routing found":    {git.Query{Semver: "1.x", Want: now}, 0},
		"an annotated tag that a ref names":   {git.Query{Ref: "v1.1.0", Want: object, WantRef: "refs/tags/v1.1.0"}, 0},
		"a branch that lacks the commit":      {git.Query{Ref: "main", Want: unseen, WantRef: "refs/heads/main"}, 4},
		"a branch that contains it":           {git.Query{Ref: "main", Want: old, WantRef: "refs/heads/main"}, 0},
		"HEAD when another branch was pushed": {git.Query{Want: unseen, WantRef: "refs/heads/other"}, 0},
		"HEAD when its branch was pushed":     {git.Query{Want: unseen, WantRef: "refs/heads/main"}, 4},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			waits = 0
			c.q.URL = s.url()
			if _, err := s.store.Fetch(t.Context(), c.q); err != nil || waits != c.waits {
				t.Errorf("waited %d times (%v), want %d", waits, err, c.waits)
			}
		})
	}
}
