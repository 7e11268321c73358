// Package acceptance starts a built plumb-kube, named by the environment variable PLUMB_KUBE, and asks of it what
// the tests of Plumb will. It links none of it, so that it compiles in seconds.
package acceptance

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const startLimit = 90 * time.Second

// instance is a running plumb-kube.
type instance struct {
	dir    string
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	ended  chan struct{}
}

func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PLUMB_KUBE")
	if path == "" {
		t.Fatal("PLUMB_KUBE does not name a binary; make test builds one and names it")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// launch starts plumb-kube in dir without waiting for it to be ready.
func launch(t *testing.T, dir string, flags ...string) (*instance, io.Reader) {
	t.Helper()
	i := &instance{dir: dir, stderr: &bytes.Buffer{}, ended: make(chan struct{})}
	i.cmd = exec.Command(binary(t), append([]string{"up", "--dir", dir}, flags...)...)
	i.cmd.Stderr = i.stderr
	stdout, err := i.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.cmd.Process.Kill() })
	return i, stdout
}

// up starts plumb-kube in dir and waits until it says that it is ready.
func up(t *testing.T, dir string, flags ...string) *instance {
	t.Helper()
	began := time.Now()
	i, stdout := launch(t, dir, flags...)
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(stdout).ReadString('\n')
		line <- text
		_ = i.cmd.Wait()
		close(i.ended)
	}()
	select {
	case text := <-line:
		if text != "ready\n" {
			t.Fatalf("said %q\n%s", text, i.stderr)
		}
	case <-time.After(startLimit):
		t.Fatalf("not ready after %v", startLimit)
	}
	t.Logf("ready after %v", time.Since(began).Round(10*time.Millisecond))
	return i
}

// signal returns how long the process took to end, and its exit code.
func (i *instance) signal(t *testing.T, s syscall.Signal) (time.Duration, int) {
	t.Helper()
	began := time.Now()
	if err := i.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	select {
	case <-i.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("%v does not end it", s)
	}
	return time.Since(began), i.cmd.ProcessState.ExitCode()
}

// client uses the kubeconfig as Plumb would.
func (i *instance) client(t *testing.T) (*kubernetes.Clientset, string) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(i.dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	config.UserAgent = "acceptance"
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c, config.Host
}

// eventually fails the test when met does not become true within the limit.
func eventually(t *testing.T, what string, limit time.Duration, met func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	for {
		ok, err := met(ctx)
		if ok {
			t.Logf("%s after %v", what, time.Since(began).Round(10*time.Millisecond))
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("not within %v: %s (last error %v)", limit, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
