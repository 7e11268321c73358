// Bench measures Plumb against the floor: what bare, parallel requests to the
// same API server cost, interleaved in the same run. It prints ratios, since
// machines differ and are noisy, and writes all figures as JSON.
//
// The cases are those of docs/performance.md: applications of four objects in
// one repository; first sync of all, one commit that changes all, one commit
// that changes one.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

type options struct {
	applications int
	rounds       int
	pushes       int // of the case that changes one
	json         string
	plumb, kube  string // programs
}

func main() {
	var o options
	flag.IntVar(&o.applications, "applications", 200, "`number` of applications, of four objects each")
	flag.IntVar(&o.rounds, "rounds", 3, "`number` of rounds; the median is quoted")
	flag.IntVar(&o.pushes, "pushes", 20, "`number` of pushes a round that change one application")
	flag.StringVar(&o.json, "json", "bin/bench.json", "`file` for all figures")
	flag.StringVar(&o.plumb, "plumb", "bin/plumb", "`program` to measure")
	flag.StringVar(&o.kube, "kube", "bin/plumb-kube", "`program` that is the control plane")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "plumb-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Println("starting a control plane ...")
	kube, err := startKube(ctx, o.kube, filepath.Join(dir, "kube"))
	if err != nil {
		return err
	}
	defer kube.stop()
	world, err := newWorld(kube.kubeconfig, dir)
	if err != nil {
		return err
	}
	defer world.close()
	if err := world.installCRD(ctx); err != nil {
		return err
	}
	var rounds []round
	for n := range o.rounds {
		fmt.Printf("round %d of %d\n", n+1, o.rounds)
		r, err := world.round(ctx, o, n)
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		rounds = append(rounds, r)
	}
	result := summarize(o, rounds)
	result.print(os.Stdout)
	return result.write(o.json)
}
