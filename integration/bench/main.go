// Bench measures Plumb against the floor: what bare, parallel requests to the
// same API server cost, interleaved in the same run. It prints ratios, since
// machines differ and are noisy, writes all figures as JSON, and ends with an
// error when a goal is missed. docs/performance.md tells of the cases.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
)

// options are the flags.
type options struct {
	cases    string
	rounds   int
	json     string
	markdown string
	against  string
	profiles string
	bin      string // directory of the programs
	version  string
}

func main() {
	var o options
	flag.StringVar(&o.cases, "cases", "", "`expression` of the cases to measure: "+strings.Join(names(), ", "))
	flag.IntVar(&o.rounds, "rounds", 5, "`number` of rounds; medians are quoted")
	flag.StringVar(&o.json, "json", "bin/bench.json", "`file` for all figures")
	flag.StringVar(&o.markdown, "markdown", "", "`file` for the table of docs/performance.md")
	flag.StringVar(&o.against, "against", "", "`file` of figures to compare with: a regression is an error, a missed goal is none")
	flag.StringVar(&o.profiles, "profiles", "", "`directory` for CPU profiles and metrics of first sync and change of all")
	flag.StringVar(&o.bin, "bin", "bin", "`directory` of plumb, plumb-kube and the services")
	flag.StringVar(&o.version, "version", "unknown", "`version` of Plumb, for the record")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := func() error { return run(ctx, o) }
	if flag.Arg(0) == bareReceiver {
		do = func() error { return serveBare(ctx, flag.Args()[1:]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	options
	*world // of what is measured now; nil: it needs no control plane
	dir    string
	result figures.Result
}

// measurement is a case, or several that share their preparations.
type measurement struct {
	name string
	run  func(context.Context, *bench) error
}

// measurements are all cases, in the order in which they run.
var measurements = []measurement{
	{name: "fleet-200", run: func(ctx context.Context, b *bench) error { return b.fleet(ctx, fleet{applications: 200}) }},
	{name: "fleet-1000", run: func(ctx context.Context, b *bench) error { return b.fleet(ctx, fleet{applications: 1000, pushes: 300}) }},
	{name: "quiet", run: func(ctx context.Context, b *bench) error {
		return b.onFresh(ctx, func() error { return b.quiet(ctx, quiet{applications: 100, sweep: 10 * time.Second}) })
	}},
	{name: "memory", run: func(ctx context.Context, b *bench) error {
		return b.memory(ctx, resting{applications: 1000, rounds: 3})
	}},
	{name: "helm", run: func(ctx context.Context, b *bench) error { return b.variant(ctx, helm, 50) }},
	{name: "kustomize", run: func(ctx context.Context, b *bench) error { return b.variant(ctx, kustomize, 50) }},
	{name: "monorepo", run: func(ctx context.Context, b *bench) error {
		return b.onFresh(ctx, func() error {
			return b.monorepo(ctx, monorepo{files: 50_000, commits: 10_000, applications: 100, pushes: 50})
		})
	}},
	{name: "workers", run: func(ctx context.Context, b *bench) error {
		return b.workers(ctx, workers{applications: 200, counts: []int{1, 2, 4}})
	}},
	{name: "hot-paths", run: func(ctx context.Context, b *bench) error { return b.hotPaths(ctx) }},
	{name: "receiver", run: func(ctx context.Context, b *bench) error { return b.receiver(ctx) }},
}

func names() []string {
	var all []string
	for _, m := range measurements {
		all = append(all, m.name)
	}
	return all
}

func run(ctx context.Context, o options) error {
	wanted, err := regexp.Compile(o.cases)
	if err != nil {
		return fmt.Errorf("--cases: %w", err)
	}
	dir, err := os.MkdirTemp("", "plumb-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir, result: figures.Result{
		At: time.Now().UTC(), Version: o.version, Rounds: o.rounds,
		Machine: fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}}
	for _, m := range measurements {
		if !wanted.MatchString(m.name) {
			continue
		}
		fmt.Printf("%s %s\n", time.Now().Format(time.TimeOnly), m.name)
		if err := m.run(ctx, b); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", m.name, err), b.end())
		}
	}
	return b.end()
}

// onFresh does something beside a control plane of its own: what is measured must not
// depend on what the ones before left in it.
func (b *bench) onFresh(ctx context.Context, do func() error) error {
	dir, err := os.MkdirTemp(b.dir, "world-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kube, err := startKube(ctx, filepath.Join(b.bin, "plumb-kube"), filepath.Join(dir, "kube"))
	if err != nil {
		return err
	}
	defer kube.stop()
	if b.world, err = newWorld(kube, dir); err != nil {
		return err
	}
	defer b.close()
	if err := b.installCRD(ctx); err != nil {
		return err
	}
	return do()
}

// add adds figures to the result.
func (b *bench) add(all ...figures.Figure) { b.result.Figures = append(b.result.Figures, all...) }

// end writes what was measured, and says whether it will do.
func (b *bench) end() error {
	fmt.Println()
	b.result.Table(os.Stdout)
	if err := b.result.Write(b.json); err != nil {
		return err
	}
	fmt.Println("\nall figures:", b.json)
	if b.markdown != "" {
		var page strings.Builder
		b.result.Markdown(&page)
		if err := os.WriteFile(b.markdown, []byte(page.String()), 0o644); err != nil {
			return err
		}
	}
	if b.against == "" {
		return missed(b.result)
	}
	was, err := figures.Read(b.against)
	if err != nil {
		return err
	}
	return regressed(figures.Compare(was, b.result), b.against)
}

func missed(r figures.Result) error {
	if count := r.Missed(); count > 0 {
		return fmt.Errorf("%d goals were missed; the table above says which", count)
	}
	return nil
}

func regressed(found []figures.Regression, against string) error {
	var all []error
	for _, r := range found {
		all = append(all, fmt.Errorf("%s", r))
	}
	if len(all) > 0 {
		return fmt.Errorf("worse than %s:\n%w", against, errors.Join(all...))
	}
	return nil
}
