// Package command tests the program `plumb` as people run it: as a process, with a
// configuration file, against a real control plane and real Git.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cli"
	"github.com/plumb-gitops/plumb/pkg/render/child"
)

// patience is how long a condition is waited for before the test fails.
const patience = 90 * time.Second

// asPlumb makes this test binary the program plumb: what is tested is then built
// with it, under the race detector too, and never a stale one.
const asPlumb = "PLUMB_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	switch {
	case child.Main():
	case os.Getenv(asPlumb) != "":
		os.Exit(cli.Main(os.Args[1:], cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}))
	default:
		os.Exit(kubetest.Main(m))
	}
}

// command is plumb with arguments.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = "plumb"
	cmd.Env = append(os.Environ(), asPlumb+"=1")
	return cmd
}

// site is a directory in which `plumb up` runs.
type site struct {
	dir     string
	kube    *kubetest.Kube
	process *exec.Cmd
	log     bytes.Buffer
	ended   chan error
	ready   string // URL of /readyz
	api     string
}

func (s *site) config(t *testing.T) string {
	admin, api := free(t), free(t)
	s.ready, s.api = "http://"+admin+"/readyz", "http://"+api
	return s.write(t, "plumb.yaml", fmt.Sprintf(`
kubernetes: {kubeconfig: %q}
nats: {dataDir: %q}
admin: {listen: %q}
git: {insecureHosts: [127.0.0.1]}
receiver: {listen: "127.0.0.1:0"}
dashboard: {listen: %q}
`, s.kube.Kubeconfig(), filepath.Join(s.dir, "data"), admin, api))
}

// free is an address that nobody uses now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

func (s *site) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// up starts `plumb up` and waits until it is ready.
func up(t *testing.T) *site {
	t.Helper()
	return upOn(t, kubetest.Start(t))
}

func upOn(t *testing.T, kube *kubetest.Kube) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), kube: kube, ended: make(chan error, 1)}
	s.process = command(context.Background(), "up", "--config", s.config(t))
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	must(t, s.process.Start())
	go func() { s.ended <- s.process.Wait() }()
	t.Cleanup(func() { _ = s.process.Process.Kill() })
	s.eventually(t, "ready", func() error {
		r, err := http.Get(s.ready)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return errors.New(r.Status)
		}
		return nil
	})
	return s
}

func (s *site) eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := check()
		switch {
		case err == nil:
			return
		case len(s.ended) > 0 || time.Now().After(deadline):
			t.Fatalf("%s: %v\n%s", what, err, s.log.String())
		}
	}
}

// plumb runs a client command in the site's directory.
func (s *site) plumb(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(ctx, args...)
	cmd.Env = append(cmd.Env, "PLUMB_SERVER="+s.api, "PLUMB_TOKEN_FILE="+filepath.Join(s.dir, "data", "token"))
	raw, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(raw)
}

// expect runs a command and fails unless it ends so and says so.
func (s *site) expect(t *testing.T, code int, says string, args ...string) {
	t.Helper()
	got, out := s.plumb(t, args...)
	if got != code || !strings.Contains(out, says) {
		t.Fatalf("plumb %s: exit code %d, want %d; %q is not in:\n%s", strings.Join(args, " "), got, code, says, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func repository(t *testing.T) *gitserver.Repo {
	t.Helper()
	server, err := gitserver.New(t.TempDir(), gitserver.Options{})
	must(t, err)
	must(t, server.Start())
	t.Cleanup(func() { must(t, server.Stop()) })
	repo, err := server.Create(t.Context(), "acme/config")
	must(t, err)
	return repo
}

func commit(t *testing.T, repo *gitserver.Repo, path, text string) string {
	t.Helper()
	sha, err := repo.CommitAndPush(t.Context(), "Change "+path, map[string][]byte{path: []byte(text)})
	must(t, err)
	return sha
}

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: \"%d\"}\n"

// One run of everything that the README tells: up, get, sync, events, render.
func TestTheCommandsWorkTogether(t *testing.T) {
	s := up(t)
	repo := repository(t)
	sha := commit(t, repo, "web/web.yaml", fmt.Sprintf(configMap, 1))
	namespace := s.kube.Namespace(t)
	key := namespace + "/web"
	manifest := fmt.Sprintf(`
apiVersion: plumb.dev/v1alpha1
kind: Application
metadata: {name: web, namespace: %s}
spec:
  source: {repo: %q, ref: main, path: web}
`, namespace, repo.URL())
	objects := s.create(t, manifest)

	s.eventually(t, "known", func() error {
		if code, out := s.plumb(t, "get", key); code != 0 {
			return errors.New(out)
		}
		return nil
	})
	s.expect(t, 0, "succeeded at "+sha[:8], "sync", key)
	s.expect(t, 0, "True", "get", key)
	s.expect(t, 0, sha, "get", key, "-o", "yaml")
	s.expect(t, 0, "sync.finished", "events", key)
	s.expect(t, 0, "namespace: "+namespace, "render", "-f", s.write(t, "app.yaml", manifest), "--config", filepath.Join(s.dir, "plumb.yaml"))

	live, err := objects.Resource(configMaps).Namespace(namespace).Get(t.Context(), "web", metav1.GetOptions{})
	must(t, err)
	if a, _, _ := unstructured.NestedString(live.Object, "data", "a"); a != "1" {
		t.Errorf("live is %v", live.Object)
	}

	commit(t, repo, "web/web.yaml", "kind: [")
	s.expect(t, 1, "RenderFailed: web/web.yaml:", "sync", key)
	commit(t, repo, "web/web.yaml", fmt.Sprintf(configMap, 2))
	s.expect(t, 0, "succeeded", "sync", key)
	s.expect(t, 1, "no Application "+namespace+"/nope", "sync", namespace+"/nope")
	s.end(t)
}

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

func (s *site) create(t *testing.T, manifest string) dynamic.Interface {
	t.Helper()
	objects, err := dynamic.NewForConfig(s.kube.Config(t))
	must(t, err)
	u := &unstructured.Unstructured{}
	must(t, yaml.Unmarshal([]byte(manifest), &u.Object))
	_, err = objects.Resource(v1alpha1.GroupVersionResource).Namespace(u.GetNamespace()).Create(t.Context(), u, metav1.CreateOptions{})
	must(t, err)
	return objects
}

// end stops `plumb up` as a supervisor does.
func (s *site) end(t *testing.T) {
	t.Helper()
	must(t, s.process.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("plumb up ended with %v\n%s", err, s.log.String())
		}
	case <-time.After(patience):
		t.Errorf("plumb up does not end on SIGTERM\n%s", s.log.String())
	}
}

func TestNothingStartsHalfConfigured(t *testing.T) {
	s := &site{dir: t.TempDir(), kube: kubetest.Start(t)}
	file := s.config(t)
	content, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, append(content, "alerter: {channels: [{name: ops, type: slack, urlFile: /none}]}\n"...), 0o600))
	s.expect(t, 1, "plumb.yaml:8: alerter.channels[0].urlFile: open /none: no such file or directory", "up", "--config", file)
	if _, err := os.Stat(filepath.Join(s.dir, "data")); !os.IsNotExist(err) {
		t.Errorf("data was written all the same: %v", err)
	}
}
