package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
	"github.com/plumb-gitops/plumb/integration/gitserver"
)

// monorepo is a repository of which the Applications are a small part.
type monorepo struct {
	files, commits int
	applications   int
	pushes         int // over all rounds
}

// monorepoRound is what one round measured, with a plumb up that knew nothing.
type monorepoRound struct {
	contact time.Duration   // from the creation of the first Application until it is Ready
	rest    time.Duration   // until all others are
	routed  []time.Duration // from the webhook to the route decision
	peak    memory
}

func (b *bench) monorepo(ctx context.Context, m monorepo) error {
	began := time.Now()
	repo, err := b.git.Create(ctx, "bench/monorepo")
	if err != nil {
		return err
	}
	if err := m.make(ctx, repo); err != nil {
		return err
	}
	fmt.Printf("  %s %d files, %d commits: made in %s\n", time.Now().Format(time.TimeOnly), m.files, m.commits, time.Since(began).Round(time.Second/10))
	var rounds []monorepoRound
	for n := range b.rounds {
		r, err := b.monorepoRound(ctx, m, n, repo)
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		rounds = append(rounds, r)
	}
	b.add(m.figures(rounds)...)
	return nil
}

func (b *bench) monorepoRound(ctx context.Context, m monorepo, n int, repo *gitserver.Repo) (r monorepoRound, err error) {
	label := fmt.Sprintf("monorepo-%d", n)
	// A sweep that finds the commit just before the webhook would be measured in its place.
	p, err := b.startPlumbAs(ctx, label, setup{sweep: 24 * time.Hour})
	if err != nil {
		return r, err
	}
	defer p.stop()
	if err := b.namespace(ctx, label); err != nil {
		return r, err
	}
	watched := p.watchMemory()
	err = b.monorepoCases(ctx, m, n, label, repo, p, &r)
	r.peak = watched()
	if err != nil {
		return r, fmt.Errorf("%w\n%s", err, p.tail())
	}
	return r, b.clear(ctx, label)
}

func (b *bench) monorepoCases(ctx context.Context, m monorepo, n int, ns string, repo *gitserver.Repo, p *plumb, r *monorepoRound) (err error) {
	told, err := p.facts(ctx, time.Now())
	if err != nil {
		return err
	}
	defer told.end()
	create := func(first, count int) func() error {
		return func() error {
			return b.createFrom(ctx, ns, count, repo.Name, first, func(i int) map[string]any { return map[string]any{"path": "apps/" + appName(i)} })
		}
	}
	if r.contact, err = b.untilReady(ctx, ns, 1, "", create(0, 1)); err != nil {
		return fmt.Errorf("first contact: %w", err)
	}
	if r.rest, err = b.untilReady(ctx, ns, m.applications, "", create(1, m.applications-1)); err != nil {
		return fmt.Errorf("first sync of the others: %w", err)
	}
	for i := range (m.pushes + b.rounds - 1) / b.rounds {
		took, err := m.push(ctx, repo, p, told, i%m.applications, fmt.Sprintf("push-%d-%d", n, i))
		if err != nil {
			return err
		}
		r.routed = append(r.routed, took)
	}
	return nil
}

// push is the time from the webhook of a commit that changes one Application until a
// worker has decided which Applications it touches.
func (m monorepo) push(ctx context.Context, repo *gitserver.Repo, p *plumb, told *facts, i int, change string) (time.Duration, error) {
	var text strings.Builder
	commit(&text, change, "from refs/heads/main^0\n")
	write(&text, filesOf(i, change))
	if _, err := repo.Server(ctx, text.String(), "fast-import", "--quiet"); err != nil {
		return 0, err
	}
	sha, err := repo.Server(ctx, "", "rev-parse", "refs/heads/main")
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := p.announce(ctx, repo, sha); err != nil {
		return 0, err
	}
	found, err := told.routed(ctx, sha)
	if err == nil && (found.affected != 1 || found.unaffected != m.applications-1) {
		err = fmt.Errorf("commit %s affects %d Applications and not %d, of %d", sha, found.affected, found.unaffected, m.applications)
	}
	return found.at.Sub(began), err
}

// make fills the repository, as a Git host keeps it: one pack, with a bitmap.
func (m monorepo) make(ctx context.Context, repo *gitserver.Repo) error {
	if _, err := repo.Server(ctx, m.history(), "fast-import", "--quiet"); err != nil {
		return err
	}
	if _, err := repo.Server(ctx, "", "repack", "-adbq"); err != nil {
		return err
	}
	commits, err := repo.Server(ctx, "", "rev-list", "--count", "main")
	if err != nil {
		return err
	}
	files, err := repo.Server(ctx, "", "ls-tree", "-r", "--name-only", "main")
	if err != nil {
		return err
	}
	if count := len(strings.Fields(files)); commits != fmt.Sprint(m.commits) || count != m.files {
		return fmt.Errorf("the repository has %d files and %s commits, not %d and %d", count, commits, m.files, m.commits)
	}
	return nil
}

// perDirectory is how many files are in one directory beside the Applications.
const perDirectory = 50

// history is the repository as git fast-import(1) reads it: one commit of all files, and
// then those that change one file each that no Application reads.
func (m monorepo) history() string {
	var text strings.Builder
	commit(&text, "all", "")
	for i := range m.applications {
		write(&text, filesOf(i, "one"))
	}
	others := m.files - m.applications*len(manifests)
	other := func(i int) string { return fmt.Sprintf("services/s%04d/f%02d.txt", i/perDirectory, i%perDirectory) }
	for i := range others {
		modify(&text, other(i), filler(i))
	}
	for n := range m.commits - 1 {
		commit(&text, fmt.Sprint(n), "")
		modify(&text, other(n*7919%others), filler(others+n)) // a prime: all over the place
	}
	return text.String()
}

// filler is a kilobyte that compresses about as well as manifests with digests do.
func filler(n int) []byte {
	var text []byte
	random := rand.New(rand.NewPCG(0, uint64(n)))
	for line := range 40 {
		text = fmt.Appendf(text, "key%02d: %016x\n", line, random.Uint64())
	}
	return text
}

func commit(text *strings.Builder, message, from string) {
	fmt.Fprintf(text, "commit refs/heads/main\ncommitter Ada <ada@example.com> 1700000000 +0000\ndata %d\n%s\n%s", len(message), message, from)
}

func modify(text *strings.Builder, name string, content []byte) {
	fmt.Fprintf(text, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
}

func write(text *strings.Builder, files map[string][]byte) {
	for name, content := range files {
		modify(text, name, content)
	}
}

func (m monorepo) figures(rounds []monorepoRound) []figures.Figure {
	var contact, rest, routed, peak []float64
	for _, r := range rounds {
		contact, rest = append(contact, r.contact.Seconds()), append(rest, r.rest.Seconds())
		routed = slices.Concat(routed, seconds(r.routed))
		peak = append(peak, r.peak.megabytes())
	}
	name := func(what string) string {
		return fmt.Sprintf("repository of %d files and %d commits: %s", m.files, m.commits, what)
	}
	return []figures.Figure{
		{Case: name("first contact, until the first Application is Ready"), Unit: figures.Seconds, Values: contact},
		{Case: name(fmt.Sprintf("first sync of %d more", m.applications-1)), Unit: figures.Seconds, Values: rest},
		{Case: name("from the webhook to the route decision"), Unit: figures.Seconds, Values: routed, Goals: []figures.Goal{figures.Median(0.5)}},
		{Case: name("memory of plumb up, at its peak"), Unit: figures.Megabytes, Values: peak},
	}
}

func seconds(all []time.Duration) []float64 {
	var values []float64
	for _, d := range all {
		values = append(values, d.Seconds())
	}
	return values
}
