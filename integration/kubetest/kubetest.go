// Package kubetest gives tests a real Kubernetes control plane: bin/plumb-kube,
// started once for a test binary, on first use.
//
// It may import client-go and the standard library. What it cannot do fails the
// test that asked; nothing is ever skipped.
package kubetest

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// Kube is a running control plane.
type Kube struct {
	dir     string
	program string

	mu      sync.Mutex
	running *process
}

// The shared control plane of this test binary.
var shared struct {
	once sync.Once
	main bool
	kube *Kube
	err  error
}

// Main runs the tests of a package and ends the control plane that they may
// have started:
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
func Main(m *testing.M) int {
	shared.main = true
	code := m.Run()
	if shared.kube != nil {
		shared.kube.remove()
	}
	return code
}

// Start returns the control plane that the tests of this binary share. Tests
// that run at the same time must keep to namespaces of their own, and must not
// stop it.
func Start(t testing.TB) *Kube {
	t.Helper()
	if !shared.main {
		t.Fatal("kubetest: the package needs func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }")
	}
	shared.once.Do(func() { shared.kube, shared.err = start() })
	if shared.err != nil {
		t.Fatalf("kubetest: %v", shared.err)
	}
	return shared.kube
}

// Own returns a control plane for one test alone, which ends with it.
func Own(t testing.TB) *Kube {
	t.Helper()
	kube, err := start()
	if err != nil {
		t.Fatalf("kubetest: %v", err)
	}
	t.Cleanup(kube.remove)
	return kube
}

func start() (*Kube, error) {
	program, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "plumb-kube-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	kube := &Kube{dir: dir, program: program}
	if err := kube.up(); err != nil {
		kube.remove()
		return nil, err
	}
	return kube, nil
}

// Kubeconfig is the path of an administrator's kubeconfig.
func (k *Kube) Kubeconfig() string { return k.dir + "/kubeconfig" }

// Stop kills the control plane; its data and address stay. (It is killed since
// the graceful end of an API server waits minutes for open watches.)
func (k *Kube) Stop(t testing.TB) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kill()
}

// Restart kills the control plane and starts it again, at the same address and
// with the same data, and returns when it is ready.
func (k *Kube) Restart(t testing.TB) {
	t.Helper()
	k.Stop(t)
	if err := k.up(); err != nil {
		t.Fatalf("kubetest: %v", err)
	}
}

func (k *Kube) up() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	running, err := launch(k.program, k.dir)
	if err != nil {
		return err
	}
	k.running = running
	return nil
}

func (k *Kube) kill() {
	if k.running != nil {
		k.running.kill()
		k.running = nil
	}
}

func (k *Kube) remove() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kill()
	os.RemoveAll(k.dir)
}
