package kubetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// readyLimit is generous: several control planes may start on two busy cores.
const readyLimit = 3 * time.Minute

// find returns the program: PLUMB_KUBE, else bin/plumb-kube of the repository,
// built when it is missing.
func find() (string, error) {
	if program := os.Getenv("PLUMB_KUBE"); program != "" {
		if _, err := os.Stat(program); err != nil {
			return "", fmt.Errorf("PLUMB_KUBE: %w", err)
		}
		return program, nil
	}
	root, err := repository()
	if err != nil {
		return "", err
	}
	program := filepath.Join(root, "bin", "plumb-kube")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	build := exec.Command(filepath.Join(root, "integration", "kube", "build.sh"), program)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build plumb-kube (make bin/plumb-kube does the same): %w", err)
	}
	return program, nil
}

func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "integration", "kube", "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("find the repository: no integration/kube above the working directory")
}

// process is one run of the program.
type process struct {
	pid    int
	ended  chan struct{}
	output *bytes.Buffer // its standard error, complete when ended
	err    error         // how it ended
}

// launch returns when the program has said that it is ready.
func launch(program, dir string) (*process, error) {
	p := &process{ended: make(chan struct{}), output: &bytes.Buffer{}}
	lines, said := io.Pipe()
	started := make(chan error)
	go p.run(program, dir, said, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	ready := make(chan struct{})
	go awaitReady(lines, ready)
	limit := time.NewTimer(readyLimit)
	defer limit.Stop()
	select {
	case <-ready:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("%s up ended before it was ready: %w\n%s", program, p.err, p.output)
	case <-limit.C:
		p.kill()
		return nil, fmt.Errorf("%s up was not ready after %s\n%s", program, readyLimit, p.output)
	}
}

// run keeps the program's parent, an operating system thread, alive for as long
// as the program: with it, and so with this test binary, the program is killed.
func (p *process) run(program, dir string, said *io.PipeWriter, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(program, "up", "--dir", dir)
	cmd.Stdout, cmd.Stderr = said, p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil
	p.err = cmd.Wait()
	said.Close()
	close(p.ended)
}

func awaitReady(lines io.Reader, ready chan<- struct{}) {
	scanner := bufio.NewScanner(lines)
	for told := false; scanner.Scan(); {
		if !told && scanner.Text() == "ready" {
			told = true
			close(ready)
		}
	}
}

func (p *process) kill() {
	// The program is still ours: it is waited for only in run.
	select {
	case <-p.ended:
	default:
		syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.ended
	}
}
