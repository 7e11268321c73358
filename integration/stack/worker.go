package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/driftscanner"
	"github.com/plumb-gitops/plumb/pkg/service/worker"
)

// Work runs a worker in this process, under the race detector with the test,
// until the test ends or stop is called. Its configuration is that of the stack, as
// tune changes it.
func (s *Stack) Work(t testing.TB, tune ...func(*config.Config)) (stop func()) {
	t.Helper()
	c := s.Config(t)
	for _, change := range tune {
		change(&c)
	}
	log := s.log.With("worker", filepath.Base(c.NATS.DataDir))
	b, err := bus.Open(t.Context(), bus.Options{URL: s.NATS.URL(), Cluster: s.Cluster, Service: "worker", Timing: s.timing, SyncAlways: true, Log: log})
	must(t, err)
	kube, err := cluster.Open(cluster.Options{Kubeconfig: c.Kubernetes.Kubeconfig, UserAgent: "plumb-worker", Log: log})
	must(t, err)
	store, err := git.Open(filepath.Join(c.NATS.DataDir, "git"), git.Options{Log: log})
	must(t, err)
	renderer := render.New(render.Options{})
	applications := catalog.New(kube, catalog.Options{Log: log})
	parts := append(worker.New(c, worker.Parts{
		Bus: b, Cluster: kube, Catalog: applications, Store: store, Renderer: renderer,
	}, log), service.Part{Name: "catalog", Run: applications.Run})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx, log, service.ShutdownLimit, parts...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("worker: %v", err)
		}
		renderer.Close()
		must(t, store.Close())
		b.Close()
	})
	t.Cleanup(stop)
	return stop
}

// Scan runs a drift-scanner in this process until the test ends.
func (s *Stack) Scan(t testing.TB, interval time.Duration) {
	t.Helper()
	c := s.Config(t)
	c.DriftScanner.Interval = interval
	b, err := bus.Open(t.Context(), bus.Options{URL: s.NATS.URL(), Cluster: s.Cluster, Service: "drift-scanner", Timing: s.timing, SyncAlways: true, Log: s.log})
	must(t, err)
	kube, err := cluster.Open(cluster.Options{Kubeconfig: c.Kubernetes.Kubeconfig, UserAgent: "plumb-drift-scanner", Log: s.log})
	must(t, err)
	store, err := git.Open(filepath.Join(c.NATS.DataDir, "git"), git.Options{Log: s.log})
	must(t, err)
	applications := catalog.New(kube, catalog.Options{Log: s.log})
	parts := append(driftscanner.New(c, driftscanner.Parts{Bus: b, Cluster: kube, Catalog: applications, Store: store}, s.log),
		service.Part{Name: "catalog", Run: applications.Run})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx, s.log, service.ShutdownLimit, parts...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("drift-scanner: %v", err)
		}
		must(t, store.Close())
		b.Close()
	})
}

// Process is a worker in a process of its own.
type Process struct {
	cmd     *exec.Cmd
	reached string // file that a failpoint leaves
	release string // file that ends a hold
	ended   chan struct{}
}

// Options of a worker process.
type Options struct {
	Failpoint failpoint.Point
	Action    string // kill, hold or error; with ":<count>" the count-th time
	Settings  string // further sections of the configuration, as YAML
	Env       []string
}

// Start starts a worker process that has failpoints.
func (s *Stack) Start(t testing.TB, o Options) *Process {
	t.Helper()
	dir := t.TempDir()
	p := &Process{reached: filepath.Join(dir, "reached"), release: filepath.Join(dir, "release"), ended: make(chan struct{})}
	program, env := s.worker(t)
	p.cmd = exec.Command(program, "--config", s.configFile(t, dir, o.Settings), "--log-level", "debug")
	p.cmd.Env = append(os.Environ(), "PLUMB_FAILPOINT_REACHED="+p.reached, "PLUMB_FAILPOINT_RELEASE="+p.release)
	p.cmd.Env = append(append(p.cmd.Env, env...), o.Env...)
	if o.Failpoint != "" {
		p.cmd.Env = append(p.cmd.Env, fmt.Sprintf("PLUMB_FAILPOINT=%s=%s", o.Failpoint, o.Action))
	}
	p.cmd.Stderr = s.logs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.Kill)
	return p
}

// Kill ends the process at once and returns when it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop ends the process as an operator does, and returns when it is gone.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.ended
}

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Reached says whether the failpoint was reached.
func (p *Process) Reached() bool {
	_, err := os.Stat(p.reached)
	return err == nil
}

// Release ends a hold.
func (p *Process) Release(t testing.TB) {
	t.Helper()
	must(t, os.WriteFile(p.release, nil, 0o600))
}

// AwaitReached waits until the failpoint is reached.
func (s *Stack) AwaitReached(t testing.TB, p *Process) {
	t.Helper()
	s.Eventually(t, "the failpoint is reached", func() error {
		if !p.Reached() {
			return fmt.Errorf("it is not")
		}
		return nil
	})
}

// AwaitEnd waits until the process is gone.
func (s *Stack) AwaitEnd(t testing.TB, p *Process) {
	t.Helper()
	select {
	case <-p.Ended():
	case <-time.After(Patience):
		t.Fatalf("the worker still runs after %s\nlogs: %s", Patience, s.logs.tail())
	}
}

func (s *Stack) configFile(t testing.TB, dir, settings string) string {
	t.Helper()
	file := filepath.Join(dir, "plumb.yaml")
	text := fmt.Sprintf(`cluster: %s
kubernetes: {kubeconfig: %s}
nats: {url: %q, dataDir: %s}
admin: {listen: "127.0.0.1:0"}
git: {insecureHosts: [127.0.0.1]}
%s`, s.Cluster, s.Kube.Kubeconfig(), s.NATS.URL(), filepath.Join(dir, "data"), settings)
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

var built struct {
	mu    sync.Mutex
	files map[string]string
}

// workerBinary builds a program with failpoints, once for a test binary.
func workerBinary(t testing.TB, program string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if file, done := built.files[program]; done {
		return file
	}
	dir, err := os.MkdirTemp("", "plumb-worker-*")
	must(t, err)
	file := filepath.Join(dir, "worker")
	out, err := exec.Command("go", "build", "-tags", "failpoints", "-o", file, "github.com/plumb-gitops/plumb/"+program).CombinedOutput()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", program, err, out)
	}
	if built.files == nil {
		built.files = map[string]string{}
	}
	built.files[program] = file
	return file
}
