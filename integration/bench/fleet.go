package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
	"github.com/plumb-gitops/plumb/integration/gitserver"
)

// fleet are many Applications of four objects in one repository: their first sync,
// commits that change all of them, one, or none.
type fleet struct {
	applications int
	pushes       int // that change one, over all rounds
}

// fleetRound is what one round measured, next to the floor.
type fleetRound struct {
	versus
	one     []time.Duration
	peak    memory
	settled memory
}

func (b *bench) fleet(ctx context.Context, f fleet) error {
	var rounds []fleetRound
	var before statuses
	for n := range b.rounds {
		fmt.Printf("  %s round %d of %d\n", time.Now().Format(time.TimeOnly), n+1, b.rounds)
		var r fleetRound
		err := b.onFresh(ctx, func() (err error) {
			r, err = b.fleetRound(ctx, f, n, &before)
			return err
		})
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		rounds = append(rounds, r)
	}
	b.add(f.figures(rounds)...)
	return nil
}

// goalRatio is how much of the floor's time Plumb may take.
const goalRatio = 1.5

func (f fleet) figures(rounds []fleetRound) []figures.Figure {
	var syncs []versus
	var one, peak, settled []float64
	for _, r := range rounds {
		syncs = append(syncs, r.versus)
		for _, took := range r.one {
			one = append(one, took.Seconds())
		}
		peak, settled = append(peak, r.peak.megabytes()), append(settled, r.settled.megabytes())
	}
	name := func(what string) string { return fmt.Sprintf(what, f.applications) }
	list := versusFigures(f.applications, "", syncs, figures.Median(goalRatio))
	if f.pushes > 0 {
		list = append(list, figures.Figure{
			Case: name("one commit changes one of %d, from the webhook to the live object"), Unit: figures.Seconds, Values: one,
			Goals: []figures.Goal{figures.Median(0.25), figures.AtMost(0.99, 1)},
		})
	}
	return append(list,
		figures.Figure{Case: name("memory of plumb up, at its peak, %d Applications"), Unit: figures.Megabytes, Values: peak, Goals: []figures.Goal{figures.AtMost(1, 300)}},
		figures.Figure{Case: name("memory of plumb up after the last push, %d Applications"), Unit: figures.Megabytes, Values: settled},
	)
}

func (b *bench) fleetRound(ctx context.Context, f fleet, n int, before *statuses) (r fleetRound, err error) {
	label := fmt.Sprintf("%d-%d", f.applications, n)
	err = b.beside(ctx, n, f.applications, label, before, &r.versus, func(l *left) error { return b.fleetPlumb(ctx, f, label, l, &r) })
	return r, err
}

func (b *bench) fleetPlumb(ctx context.Context, f fleet, label string, l *left, r *fleetRound) error {
	p, err := b.startPlumb(ctx, label)
	if err != nil {
		return err
	}
	defer p.stop()
	repo, err := b.repository(ctx, f.applications, label)
	if err != nil {
		return err
	}
	ns := "plumb-" + label
	if err := b.namespace(ctx, ns); err != nil {
		return err
	}
	watched := p.watchMemory()
	err = b.fleetCases(ctx, f, ns, repo, p, l, r)
	r.peak = watched()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.tail())
	}
	return b.clear(ctx, ns)
}

func (b *bench) fleetCases(ctx context.Context, f fleet, ns string, repo *gitserver.Repo, p *plumb, l *left, r *fleetRound) (err error) {
	if err := b.settle(ctx, p); err != nil {
		return err
	}
	r.first, err = b.timed(ctx, p, "first", func() (time.Duration, error) {
		return b.untilReady(ctx, ns, f.applications, "", func() error { return b.createApplications(ctx, ns, f.applications, repo.Name) })
	})
	if err != nil {
		return fmt.Errorf("first sync: %w", err)
	}
	if err := l.see(ctx, b.world, ns, firstSync); err != nil {
		return err
	}
	r.all, err = changes(f.applications, func(change string) (spent, error) {
		s, err := b.changeAll(ctx, p, ns, f.applications, repo, "all", func() (string, error) { return pushAll(ctx, repo, f.applications, change) })
		if err != nil {
			return s, err
		}
		return s, l.see(ctx, b.world, ns, change)
	})
	if err != nil {
		return err
	}
	for i := range (f.pushes + b.rounds - 1) / b.rounds {
		took, err := b.changeOne(ctx, ns, repo, p, i)
		if err != nil {
			return fmt.Errorf("a commit that changes one: %w", err)
		}
		r.one = append(r.one, took)
	}
	r.settled, err = memoryOf(p.cmd.Process.Pid)
	return err
}

// changeAll is what a commit takes that changes all Applications, from its webhook until
// they are Ready at it. It begins at rest.
func (b *bench) changeAll(ctx context.Context, p *plumb, ns string, applications int, repo *gitserver.Repo, name string, push func() (sha string, err error)) (spent, error) {
	if err := b.settle(ctx, p); err != nil {
		return spent{}, err
	}
	sha, err := push()
	if err != nil {
		return spent{}, err
	}
	return b.timed(ctx, p, name, func() (time.Duration, error) {
		return b.untilReadyAt(ctx, ns, applications, repo, sha, p)
	})
}

// untilReadyAt is the time from the webhook of a commit until all are Ready at it.
func (w *world) untilReadyAt(ctx context.Context, ns string, applications int, repo *gitserver.Repo, sha string, hook *plumb) (time.Duration, error) {
	return w.untilReady(ctx, ns, applications, sha, func() error { return hook.announce(ctx, repo, sha) })
}

// timed is what do took and, when asked for, a profile of it.
func (b *bench) timed(ctx context.Context, p *plumb, name string, do func() (time.Duration, error)) (spent, error) {
	end := func() error { return nil }
	if b.profiles != "" {
		file := filepath.Join(b.profiles, fmt.Sprintf("%s-%s", name, time.Now().Format("150405")))
		if err := save(ctx, b.api, b.host+"/metrics", file+".before.api"); err != nil {
			return spent{}, err
		}
		end = b.profile(ctx, p, file)
	}
	s, err := b.spending(p, do)
	if err != nil {
		return s, err
	}
	return s, end()
}

// changeOne is the time from the webhook until the changed object is seen live.
func (w *world) changeOne(ctx context.Context, ns string, repo *gitserver.Repo, p *plumb, i int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	change := fmt.Sprintf("push-%d", i)
	sha, err := repo.CommitAndPush(ctx, "Change one", filesOf(i, change))
	if err != nil {
		return 0, err
	}
	service := objectsOf(i, change)[1]
	watching, err := w.objects.Resource(resourceOf(service)).Namespace(ns).
		Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + appName(i)})
	if err != nil {
		return 0, err
	}
	defer watching.Stop()
	began := time.Now()
	if err := p.announce(ctx, repo, sha); err != nil {
		return 0, err
	}
	for e := range watching.ResultChan() {
		if u, ok := e.Object.(*unstructured.Unstructured); ok && u.GetAnnotations()["change"] == change {
			return time.Since(began), nil
		}
	}
	return 0, fmt.Errorf("watch Service %s: it ended before the change was live", appName(i))
}

func (w *world) repository(ctx context.Context, applications int, label string) (*gitserver.Repo, error) {
	repo, err := w.git.Create(ctx, "bench/"+label)
	if err != nil {
		return nil, err
	}
	_, err = pushAll(ctx, repo, applications, "one")
	return repo, err
}

// pushAll pushes a commit that writes the files of all Applications.
func pushAll(ctx context.Context, repo *gitserver.Repo, applications int, change string) (sha string, err error) {
	files := map[string][]byte{}
	for i := range applications {
		maps.Copy(files, filesOf(i, change))
	}
	return repo.CommitAndPush(ctx, "Write all: "+change, files)
}

// profile writes a CPU profile of five seconds, and what the metrics of plumb up and of
// the API server are when the returned function is called.
func (b *bench) profile(ctx context.Context, p *plumb, file string) (end func() error) {
	done := make(chan error, 1)
	go func() { done <- save(ctx, http.DefaultClient, p.admin+"/debug/pprof/profile?seconds=5", file+".pprof") }()
	return func() error {
		return errors.Join(
			save(ctx, b.api, b.host+"/metrics", file+".api"),
			save(ctx, http.DefaultClient, p.admin+"/metrics", file+".metrics"), <-done)
	}
}

// save writes the body of a URL to a file.
func save(ctx context.Context, client *http.Client, url, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	body, err := get(ctx, client, url)
	if err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o644)
}
