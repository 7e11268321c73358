package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/gitserver"
)

const secret = "the-secret-of-the-bench"

// round is one measurement of floor and Plumb.
type round struct {
	floor    floor
	first    time.Duration // from the creation of the first Application until all are Ready
	creating time.Duration // the part of it that the creation took
	all      time.Duration // from the webhook until all are Ready at the commit
	one      []time.Duration
	rest     memory
	peak     memory
}

func (w *world) round(ctx context.Context, o options, n int) (r round, err error) {
	if r.floor, err = w.floor(ctx, o, n); err != nil {
		return r, fmt.Errorf("floor: %w", err)
	}
	fmt.Println("  plumb")
	p, err := w.startPlumb(ctx, o, n)
	if err != nil {
		return r, err
	}
	defer p.stop()
	repo, err := w.repository(ctx, o, n)
	if err != nil {
		return r, err
	}
	ns := fmt.Sprintf("plumb-%d", n)
	if err := w.namespace(ctx, ns); err != nil {
		return r, err
	}
	if err := w.measure(ctx, o, ns, repo, p, &r); err != nil {
		return r, fmt.Errorf("%w\n%s", err, p.tail())
	}
	return r, w.removeApplications(ctx, ns)
}

func (w *world) measure(ctx context.Context, o options, ns string, repo *gitserver.Repo, p *plumb, r *round) (err error) {
	r.first, err = w.untilReady(ctx, ns, o.applications, "", func() error {
		began := time.Now()
		err := w.createApplications(ctx, ns, o.applications, repo.Name)
		r.creating = time.Since(began)
		return err
	})
	if err != nil {
		return fmt.Errorf("first sync: %w", err)
	}
	if r.peak, err = memoryOf(p.cmd.Process.Pid); err != nil {
		return err
	}
	files := map[string][]byte{}
	for i := range o.applications {
		maps.Copy(files, filesOf(i, "two"))
	}
	sha, err := repo.CommitAndPush(ctx, "Change all", files)
	if err != nil {
		return err
	}
	r.all, err = w.untilReady(ctx, ns, o.applications, sha, func() error { return p.announce(ctx, repo, sha) })
	if err != nil {
		return fmt.Errorf("a commit that changes all: %w", err)
	}
	for i := range o.pushes {
		took, err := w.changeOne(ctx, ns, repo, p, i)
		if err != nil {
			return fmt.Errorf("a commit that changes one: %w", err)
		}
		r.one = append(r.one, took)
	}
	r.rest, err = memoryOf(p.cmd.Process.Pid)
	return err
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

func (w *world) repository(ctx context.Context, o options, n int) (*gitserver.Repo, error) {
	repo, err := w.git.Create(ctx, fmt.Sprintf("bench/%d", n))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for i := range o.applications {
		maps.Copy(files, filesOf(i, "one"))
	}
	_, err = repo.CommitAndPush(ctx, "Add all", files)
	return repo, err
}

// plumb is `plumb up` as a process.
type plumb struct {
	process
	hook string
}

func (w *world) startPlumb(ctx context.Context, o options, n int) (*plumb, error) {
	dir := filepath.Join(w.dir, fmt.Sprintf("plumb-%d", n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`cluster: bench
kubernetes: {kubeconfig: %s}
nats: {dataDir: %s}
admin: {listen: "127.0.0.1:%d"}
git: {insecureHosts: [127.0.0.1]}
receiver:
  listen: "127.0.0.1:%d"
  hooks: [{name: bench, provider: github, secretFile: %s}]
dashboard: {listen: "127.0.0.1:%d"}
`, w.kubeconfig, filepath.Join(dir, "data"), ports[0], ports[1], filepath.Join(dir, "secret"), ports[2])
	for name, text := range map[string]string{"secret": secret + "\n", "plumb.yaml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	p := &plumb{hook: fmt.Sprintf("http://127.0.0.1:%d/hooks/bench", ports[1])}
	p.log = filepath.Join(dir, "log")
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(o.plumb, "up", "--config", filepath.Join(dir, "plumb.yaml"))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w; build it with: make build", o.plumb, err)
	}
	return p, p.await(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[0]))
}

// await returns when the readiness URL answers 200.
func (p *plumb) await(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.stop()
	return fmt.Errorf("plumb up did not become ready:\n%s", p.tail())
}

func (p *plumb) announce(ctx context.Context, repo *gitserver.Repo, sha string) error {
	return gitserver.PostGitHub(ctx, p.hook, secret, sha, gitserver.Push{
		Repo: repo.Name, URL: repo.URL(), Ref: "refs/heads/main", Before: strings.Repeat("0", 40), After: sha,
	})
}

// tail is the end of the process's log.
func (p *plumb) tail() string {
	const most = 4 << 10
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

func freePorts(count int) ([]int, error) {
	var ports []int
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
