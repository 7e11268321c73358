// Package stack sets Plumb's real parts up for tests: a control plane, NATS with
// JetStream, Git over HTTP, the receiver, and workers in this process or as
// processes of their own that can be killed.
//
// It may import everything; nothing imports it but tests. What it cannot do
// fails the test that asked.
package stack

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/service/receiver"
)

// Patience is how long a condition is waited for before the test fails. It is
// generous: machines are slow, and a condition that holds is seen at once.
const Patience = 90 * time.Second

// secret signs the pushes of the tests.
const secret = "a-secret-of-the-tests"

// Stack is one set of parts, for one test.
type Stack struct {
	Kube    *kubetest.Kube
	NATS    *embedded.Server
	Git     *gitserver.Server
	Bus     *bus.Bus
	Cluster string // name on the bus, and of no other test
	Objects dynamic.Interface

	hook   string // URL of the receiver's hook
	log    *slog.Logger
	logs   *logFile
	timing bus.Timing
}

// New starts everything but workers.
func New(t testing.TB) *Stack { return With(t, kubetest.Start(t)) }

// With is New on a given control plane.
func With(t testing.TB, kube *kubetest.Kube) *Stack { return start(t, kube, gitserver.Options{}) }

// GitUser and GitPassword are what a guarded Git server wants.
const (
	GitUser     = "plumb"
	GitPassword = "the-right-password"
)

// Guarded is New with a Git server that wants a password.
func Guarded(t testing.TB) *Stack {
	return start(t, kubetest.Start(t), gitserver.Options{Username: GitUser, Password: GitPassword})
}

func start(t testing.TB, kube *kubetest.Kube, git gitserver.Options, tune ...func(*Stack)) *Stack {
	t.Helper()
	s := &Stack{Kube: kube, Cluster: "test-" + filepath.Base(t.TempDir()), logs: newLogFile(t)}
	s.log = slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, f := range tune {
		f(s)
	}
	s.startNATS(t)
	s.startGit(t, git)
	s.startReceiver(t)
	s.installCRD(t)
	objects, err := dynamic.NewForConfig(kube.Config(t))
	must(t, err)
	s.Objects = objects
	return s
}

func (s *Stack) startNATS(t testing.TB) {
	t.Helper()
	server, err := embedded.Start(t.TempDir(), embedded.Options{Listen: "127.0.0.1:0"})
	must(t, err)
	t.Cleanup(server.Stop)
	s.NATS = server
	s.Bus, err = bus.Open(t.Context(), bus.Options{URL: server.URL(), Cluster: s.Cluster, Timing: s.timing, SyncAlways: true, Log: s.log})
	must(t, err)
	t.Cleanup(s.Bus.Close)
}

func (s *Stack) startGit(t testing.TB, o gitserver.Options) {
	t.Helper()
	server, err := gitserver.New(t.TempDir(), o)
	must(t, err)
	must(t, server.Start())
	t.Cleanup(func() { must(t, server.Stop()) })
	s.Git = server
}

func (s *Stack) startReceiver(t testing.TB) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	r, err := receiver.New(config.Receiver{Hooks: []config.Hook{{Name: "acme", Provider: "github", SecretFile: file}}}, s.Bus, receiver.Options{Log: s.log})
	must(t, err)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	s.hook = server.URL + "/hooks/acme"
}

func (s *Stack) installCRD(t testing.TB) {
	t.Helper()
	c, err := cluster.Open(cluster.Options{Kubeconfig: s.Kube.Kubeconfig(), UserAgent: "test", Log: s.log})
	must(t, err)
	for _, crd := range v1alpha1.CRDs() {
		must(t, c.EnsureCRD(t.Context(), crd))
	}
}

// Config is the configuration of this stack's workers.
func (s *Stack) Config(t testing.TB) config.Config {
	c := config.Default()
	c.Cluster = s.Cluster
	c.Kubernetes.Kubeconfig = s.Kube.Kubeconfig()
	c.NATS.URL, c.NATS.DataDir = s.NATS.URL(), t.TempDir()
	c.Git.InsecureHosts = []string{"127.0.0.1"}
	c.Admin.Listen = "127.0.0.1:0"
	return c
}

// Announce tells the receiver of a push, as GitHub would.
func (s *Stack) Announce(t testing.TB, repo *gitserver.Repo, delivery, sha string) {
	t.Helper()
	must(t, s.TryAnnounce(t.Context(), repo, delivery, sha))
}

// Push commits files to main, pushes them and announces the push.
func (s *Stack) Push(t testing.TB, repo *gitserver.Repo, files map[string]string) string {
	t.Helper()
	sha := s.PushSilently(t, repo, files)
	s.Announce(t, repo, "delivery-"+sha, sha)
	return sha
}

// PushSilently is Push without a webhook.
func (s *Stack) PushSilently(t testing.TB, repo *gitserver.Repo, files map[string]string) string {
	t.Helper()
	content := map[string][]byte{}
	for name, text := range files {
		content[name] = nil
		if text != "" {
			content[name] = []byte(text)
		}
	}
	sha, err := repo.CommitAndPush(t.Context(), "Change "+t.Name(), content)
	must(t, err)
	return sha
}

// Repo creates a repository with a first commit.
func (s *Stack) Repo(t testing.TB, name string, files map[string]string) *gitserver.Repo {
	t.Helper()
	repo, err := s.Git.Create(t.Context(), name)
	must(t, err)
	s.PushSilently(t, repo, files)
	return repo
}

// Eventually waits until check returns nil, and fails with its last error.
func (s *Stack) Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v\nlogs: %s", what, Patience, err, s.logs.tail())
		}
		pause(t.Context(), 20*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logFile gathers what the parts log, for the message of a failed test.
type logFile struct {
	mu   sync.Mutex
	file *os.File
}

func newLogFile(t testing.TB) *logFile {
	t.Helper()
	dir := os.Getenv("PLUMB_TEST_LOGS")
	if dir == "" {
		dir = t.TempDir()
	}
	file, err := os.CreateTemp(dir, "log-*.txt")
	must(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return &logFile{file: file}
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Write(p)
}

// Logs is the last part of what all parts logged.
func (s *Stack) Logs() string { return s.logs.tail() }

// WholeLog is all that the parts logged so far.
func (s *Stack) WholeLog(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile(s.logs.file.Name())
	must(t, err)
	return text
}

// tail is the last part of the log.
func (l *logFile) tail() string {
	const most = 16 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	end, err := l.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	from := max(0, end-most)
	text := make([]byte, end-from)
	if _, err := l.file.ReadAt(text, from); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("(last %d bytes)\n%s", len(text), text)
}
