package driftscanner

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/source"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sweeper are refs over a repository, and what they published.
type sweeper struct {
	*refs
	t      *testing.T
	server *gitserver.Server
	repo   *gitserver.Repo
	web    *v1alpha1.Application
	told   int
}

func newSweeper(t *testing.T) *sweeper {
	t.Helper()
	server, err := gitserver.New(t.TempDir(), gitserver.Options{})
	must(t, err)
	must(t, server.Start())
	t.Cleanup(func() { must(t, server.Stop()) })
	repo, err := server.Create(t.Context(), "config")
	must(t, err)
	store, err := git.Open(t.TempDir(), git.Options{})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	log := slog.New(slog.DiscardHandler)
	nats, err := embedded.Start(t.TempDir(), embedded.Options{Log: log})
	must(t, err)
	t.Cleanup(nats.Stop)
	b, err := bus.Open(t.Context(), bus.Options{InProcess: nats, Cluster: "local", Log: log})
	must(t, err)
	t.Cleanup(b.Close)
	s := &sweeper{t: t, server: server, repo: repo, web: &v1alpha1.Application{}}
	s.web.Namespace, s.web.Name = "team-a", "web"
	s.web.Spec.Source = v1alpha1.Source{Repo: repo.URL(), Semver: "1.x", Path: "."}
	publisher := &publisher{bus: b, cluster: "local", now: time.Now, newID: func() string { s.told++; return fmt.Sprint("push-", s.told) }}
	s.refs = &refs{
		sources: source.Policy{Git: config.Git{InsecureHosts: []string{"127.0.0.1"}}}, store: store, publisher: publisher,
		now: time.Now, log: log, seen: map[ref]head{},
	}
	return s
}

// tag pushes a commit of its own under a tag, and returns it.
func (s *sweeper) tag(name string) string {
	s.t.Helper()
	sha, err := s.repo.Commit(s.t.Context(), name, nil)
	must(s.t, err)
	_, err = s.repo.Git(s.t.Context(), "tag", "-f", "-a", "-m", "x", name)
	must(s.t, err)
	must(s.t, s.repo.Push(s.t.Context(), "+refs/tags/"+name))
	return sha
}

func (s *sweeper) untag(name string) {
	s.t.Helper()
	must(s.t, s.repo.Push(s.t.Context(), ":refs/tags/"+name))
}

// routed is what a worker tells of a push that a webhook announced.
func (s *sweeper) routed(tag, to string) {
	s.t.Helper()
	repo := strings.TrimSuffix(strings.TrimPrefix(s.repo.URL(), "http://"), ".git")
	must(s.t, s.Announced(event.Event{Data: &eventsv1.GitRouted{Repo: repo, Ref: "refs/tags/" + tag, To: to}}))
}

// announced are the pushes that a sweep told of: the newest of all that it told,
// when it told one.
func (s *sweeper) announced() string {
	s.t.Helper()
	before := s.told
	s.sweep(s.t.Context(), []*v1alpha1.Application{s.web})
	if s.told == before {
		return ""
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	found := ""
	must(s.t, s.publisher.bus.Replay(ctx, bus.Query{Subjects: []string{"plumb.events.git.push.>"}}, func(e event.Event) error {
		push := e.Data.(*eventsv1.GitPush)
		found = push.GetRef() + " " + push.GetAfter()
		return nil
	}))
	return found
}

func TestASweepTellsOfTagsThatNobodyAnnounced(t *testing.T) {
	s := newSweeper(t)
	sha := map[string]string{}
	tag := func(name string) { sha[name] = s.tag(name) }
	tag("v1.0.0")
	steps := []struct {
		name   string
		change func()
		want   string // the tag that is told of
	}{
		{name: "each range once after a start", change: func() {}, want: "v1.0.0"},
		{name: "nothing where nothing moved", change: func() {}},
		{name: "a tag whose push was lost", change: func() { tag("v1.1.0") }, want: "v1.1.0"},
		{name: "not one that was announced", change: func() { tag("v1.2.0"); s.routed("v1.2.0", sha["v1.2.0"]) }},
		{name: "not an older one, announced or not", change: func() { tag("v1.1.5"); tag("v1.1.6"); s.routed("v1.1.5", sha["v1.1.5"]) }},
		{name: "not one beside the range", change: func() { tag("v2.0.0"); s.routed("v2.0.0", sha["v2.0.0"]) }},
		{name: "a tag that was moved", change: func() { tag("v1.2.0") }, want: "v1.2.0"},
		{name: "the next best after a deletion that was lost", change: func() { s.untag("v1.2.0") }, want: "v1.1.6"},
		{name: "not after one that was announced", change: func() { s.untag("v1.1.6"); s.routed("v1.1.6", sha["v1.1.5"]) }},
		{name: "the next best after an announced push whose tag is gone again", want: "v1.1.5", change: func() {
			tag("v1.3.0")
			s.routed("v1.3.0", sha["v1.3.0"])
			s.untag("v1.3.0")
		}},
		{name: "nothing where the range is left without a tag", change: func() {
			for _, name := range []string{"v1.0.0", "v1.1.0", "v1.1.5"} {
				s.untag(name)
			}
		}},
		{name: "and what comes after it", change: func() { tag("v1.0.1") }, want: "v1.0.1"},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.change()
			want := ""
			if step.want != "" {
				want = "refs/tags/" + step.want + " " + sha[step.want]
			}
			if got := s.announced(); got != want {
				t.Errorf("told of %q, want %q", got, want)
			}
		})
	}
}

// The refs of a repository are listed once for all that a credential may see, however
// many Applications name it.
func TestARepositoryIsListedOnceForEachCredential(t *testing.T) {
	s := newSweeper(t)
	s.tag("v1.0.0")
	must(t, s.repo.Push(t.Context(), "HEAD:refs/heads/main"))
	dir := t.TempDir()
	for _, name := range []string{"user", "one", "other"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
	}
	for _, namespace := range []string{"one", "other"} {
		s.sources.Git.Credentials = append(s.sources.Git.Credentials, config.Credential{
			Prefix: s.repo.URL(), UsernameFile: filepath.Join(dir, "user"), PasswordFile: filepath.Join(dir, namespace), Namespaces: []string{namespace},
		})
	}
	var all []*v1alpha1.Application
	for _, ref := range []string{"main", "refs/heads/main", "v1.0.0"} {
		a := s.web.DeepCopy()
		a.Namespace, a.Spec.Source.Ref, a.Spec.Source.Semver = "one", ref, ""
		all = append(all, a)
	}
	other := s.web.DeepCopy()
	other.Namespace = "other"
	before := s.server.Lists()
	s.sweep(t.Context(), append(all, other))
	if n := s.server.Lists() - before; n != 2 {
		t.Errorf("the refs were listed %d times, want once for each of two credentials", n)
	}
}
