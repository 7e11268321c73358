package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
	"github.com/plumb-gitops/plumb/integration/gitserver"
)

// workers are Applications that several worker processes share, with a receiver and a
// NATS server of their own each.
type workers struct {
	applications int
	counts       []int // of workers; the first is what the others are compared with
}

// workersRound is what one round measured, by how many workers there were.
type workersRound struct{ first, all map[int]time.Duration }

func (b *bench) workers(ctx context.Context, w workers) error {
	var rounds []workersRound
	for n := range b.rounds {
		r := workersRound{first: map[int]time.Duration{}, all: map[int]time.Duration{}}
		for _, count := range w.counts {
			err := b.onFresh(ctx, func() (err error) {
				r.first[count], r.all[count], err = b.workersRound(ctx, w, count, fmt.Sprintf("workers-%d-%d", count, n))
				return err
			})
			if err != nil {
				return fmt.Errorf("round %d, %d workers: %w", n+1, count, err)
			}
		}
		rounds = append(rounds, r)
	}
	b.add(w.figures(rounds)...)
	return nil
}

func (b *bench) workersRound(ctx context.Context, w workers, count int, label string) (first, all time.Duration, err error) {
	s, err := b.startServices(ctx, label, count)
	if err != nil {
		return 0, 0, err
	}
	defer s.stop()
	repo, err := b.repository(ctx, w.applications, label)
	if err != nil {
		return 0, 0, err
	}
	if err := b.namespace(ctx, label); err != nil {
		return 0, 0, err
	}
	first, all, err = b.workersCases(ctx, w, label, repo, s.hook)
	if err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, s.tail())
	}
	return first, all, nil
}

func (b *bench) workersCases(ctx context.Context, w workers, ns string, repo *gitserver.Repo, hook *plumb) (first, all time.Duration, err error) {
	first, err = b.untilReady(ctx, ns, w.applications, "", func() error { return b.createApplications(ctx, ns, w.applications, repo.Name) })
	if err != nil {
		return first, 0, err
	}
	sha, err := pushAll(ctx, repo, w.applications, "two")
	if err != nil {
		return first, 0, err
	}
	all, err = b.untilReadyAt(ctx, ns, w.applications, repo, sha, hook)
	return first, all, err
}

// services are Plumb's as they run apart from each other.
type services struct {
	bin, dir string
	all      []*process
	hook     *plumb // as far as its receiver goes
}

func (b *bench) startServices(ctx context.Context, label string, count int) (s *services, err error) {
	s = &services{bin: b.bin, dir: filepath.Join(b.dir, label)}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return s, err
	}
	ports, err := freePorts(3 + count)
	if err != nil {
		return s, err
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	if err := s.startNATS(ctx, at(0)); err != nil {
		return s, err
	}
	if err := s.startReceiver(at(0), at(1), at(2)); err != nil {
		return s, err
	}
	for i := range count {
		if err := s.startWorker(fmt.Sprintf("worker-%d", i), at(0), at(3+i), b.kubeconfig); err != nil {
			return s, err
		}
	}
	return s, s.ready(ctx, ports[2:])
}

// startNATS is as safe as the embedded server of plumb up.
func (s *services) startNATS(ctx context.Context, address string) error {
	config := fmt.Sprintf("listen: %q\njetstream: {store_dir: %q, sync_interval: always}\n", address, filepath.Join(s.dir, "data"))
	if err := s.start("nats", "nats-server", config); err != nil {
		return err
	}
	return listening(ctx, address)
}

func (s *services) startReceiver(nats, listen, admin string) error {
	if err := writeAll(s.dir, map[string]string{"secret": secret + "\n"}); err != nil {
		return err
	}
	s.hook = &plumb{hook: "http://" + listen + "/hooks/bench"}
	return s.start("receiver", "receiver", fmt.Sprintf(`cluster: bench
nats: {url: "nats://%s", syncAlways: true}
admin: {listen: %q}
receiver:
  listen: %q
  hooks: [{name: bench, provider: github, secretFile: %s}]
`, nats, admin, listen, filepath.Join(s.dir, "secret")))
}

func (s *services) startWorker(name, nats, admin, kubeconfig string) error {
	return s.start(name, "worker", fmt.Sprintf(`cluster: bench
nats: {url: "nats://%s", dataDir: %s, syncAlways: true}
kubernetes: {kubeconfig: %s}
admin: {listen: %q}
git: {insecureHosts: [127.0.0.1]}
`, nats, filepath.Join(s.dir, name), kubeconfig, admin))
}

// start runs a program with a configuration.
func (s *services) start(name, program, config string) error {
	if err := writeAll(s.dir, map[string]string{name + ".yaml": config}); err != nil {
		return err
	}
	p := &process{}
	if err := p.start(s.dir, name, filepath.Join(s.bin, program), "--config", filepath.Join(s.dir, name+".yaml")); err != nil {
		return err
	}
	s.all = append(s.all, p)
	return nil
}

// ready waits for receiver and workers, in the order in which they were started.
func (s *services) ready(ctx context.Context, admin []int) error {
	for i, port := range admin {
		p := s.all[i+1] // after NATS
		if err := p.await(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", port)); err != nil {
			return err
		}
	}
	return nil
}

func (s *services) stop() {
	for _, p := range s.all {
		p.stop()
	}
}

// tail is the end of each process's log.
func (s *services) tail() (text string) {
	for _, p := range s.all {
		text += p.log + ":\n" + p.tail()
	}
	return text
}

func (w workers) figures(rounds []workersRound) []figures.Figure {
	var list []figures.Figure
	for _, count := range w.counts[1:] {
		var oneFirst, oneAll, first, all []float64
		for _, r := range rounds {
			oneFirst, first = append(oneFirst, r.first[w.counts[0]].Seconds()), append(first, r.first[count].Seconds())
			oneAll, all = append(oneAll, r.all[w.counts[0]].Seconds()), append(all, r.all[count].Seconds())
		}
		name := func(what string) string { return fmt.Sprintf(what, w.applications, count) }
		unit := fmt.Sprintf("x %d worker", w.counts[0])
		list = append(list,
			figures.Ratio(name("first sync of %d by %d workers, until Ready"), unit, oneFirst, first),
			figures.Ratio(name("one commit changes all %d, by %d workers, until Ready"), unit, oneAll, all))
	}
	return list
}
