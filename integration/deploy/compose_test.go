//go:build compose

package deploy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
)

// project is docker-compose.yaml running with a directory, ports and a name of its own.
type project struct {
	*stack.Stack
	command       []string // docker compose, or docker-compose
	env           []string
	name          string
	secrets       string
	receiver, api string
}

// composer is the compose there is: the plugin of Docker's own packages, or the
// program that Debian has.
func composer(t *testing.T) []string {
	t.Helper()
	if out, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		t.Fatalf("no container engine answers; see docs/install.md: %s", out)
	}
	for _, command := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.Command(command[0], append(command[1:], "version")...).Run() == nil {
			return command
		}
	}
	t.Fatal("there is neither docker compose nor docker-compose")
	return nil
}

// start brings everything up with a control plane and Git outside of the engine,
// both on this machine's loopback.
func start(t *testing.T) *project {
	t.Helper()
	p := &project{Stack: stack.New(t), command: composer(t), name: fmt.Sprintf("plumb-test-%d", os.Getpid())}
	dir := t.TempDir()
	p.secrets, _ = setup(t, "--kubeconfig", p.Kube.Kubeconfig())
	must(t, os.Symlink(p.secrets, filepath.Join(dir, "secrets")))
	port := func() string { return strings.TrimPrefix(free(t), "127.0.0.1:") }
	nats, hooks, api := port(), port(), port()
	p.receiver, p.api = "http://127.0.0.1:"+hooks, "http://127.0.0.1:"+api
	p.env = append(os.Environ(), "PLUMB_DIR="+dir, "PLUMB_NATS_PORT="+nats, "PLUMB_RECEIVER_PORT="+hooks, "PLUMB_DASHBOARD_PORT="+api)
	changes := map[string][]string{"nats.conf": nil, "receiver.yaml": nil, "alerter.yaml": nil, "dashboard.yaml": nil,
		"worker.yaml":        {"127.0.0.1:4222", "127.0.0.1:" + nats, "127.0.0.1:9091", free(t), "insecureHosts: []", "insecureHosts: [127.0.0.1]"},
		"drift-scanner.yaml": {"127.0.0.1:4222", "127.0.0.1:" + nats, "127.0.0.1:9092", free(t), "insecureHosts: []", "insecureHosts: [127.0.0.1]"},
	}
	for file, pairs := range changes {
		text := replace(t, read(t, root, "deploy/compose", file), pairs...)
		must(t, os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644))
	}
	t.Cleanup(func() { p.compose(t, "down", "--volumes") })
	p.compose(t, "up", "--detach", "--no-build")
	return p
}

// compose runs one of its commands and returns what it printed.
func (p *project) compose(t *testing.T, args ...string) string {
	t.Helper()
	all := append(append([]string{}, p.command[1:]...), append([]string{"--project-name", p.name}, args...)...)
	// Also in a cleanup, when the test's own context has ended.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.command[0], all...)
	cmd.Dir, cmd.Env = root, p.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("compose %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// push commits, pushes and announces a value of the ConfigMap, and waits until it
// is live by the containers' work.
func (p *project) push(t *testing.T, repo *gitserver.Repo, key app.Key, value string) {
	t.Helper()
	sha := p.PushSilently(t, repo, map[string]string{"web/config.yaml": stack.ConfigMap("web", value)})
	began := time.Now()
	p.Eventually(t, "the receiver takes the push", func() error {
		return gitserver.PostGitHub(t.Context(), p.receiver+"/hooks/config", read(t, p.secrets, "receiver/hook"), "delivery-"+sha,
			gitserver.Push{Repo: repo.Name, URL: repo.URL(), Ref: "refs/heads/main", Before: strings.Repeat("0", 40), After: sha})
	})
	p.Live(t, key, sha)
	t.Logf("webhook to live and Ready: %s", time.Since(began).Round(time.Millisecond))
	p.Data(t, key.Namespace, "web", map[string]string{"value": value})
}

func TestComposeOnARealEngine(t *testing.T) {
	p := start(t)
	defer func() {
		if t.Failed() {
			t.Log(p.compose(t, "logs", "--no-color", "--tail=40"))
		}
	}()
	namespace := p.Kube.Namespace(t)
	deployer(t, p.Stack, namespace)
	repo := p.Repo(t, "config", map[string]string{"web/config.yaml": stack.ConfigMap("web", "1")})
	key := app.Key{Namespace: namespace, Name: "web"}
	a := stack.Application(namespace, key.Name, repo, "web")
	a.Spec.ServiceAccountName = "deployer"
	p.Create(t, a)
	t.Cleanup(func() { p.Forget(key) })
	p.Await(t, key, "synced without a push", stack.Ready)

	p.push(t, repo, key, "2")
	p.push(t, repo, key, "3")

	p.PatchObject(t, stack.ConfigMaps, namespace, "web", `{"data":{"value":"by hand"}}`)
	p.Data(t, namespace, "web", map[string]string{"value": "3"})

	p.compose(t, "restart", "nats")
	p.push(t, repo, key, "4")

	t.Run("the CLI is answered by the dashboard", func(t *testing.T) {
		out, err := exec.Command(filepath.Join(root, "bin/plumb"), "get", "--server", p.api, "--token-file", filepath.Join(p.secrets, "dashboard/token")).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "web") {
			t.Errorf("plumb get: %v\n%s", err, out)
		}
	})
	t.Run("no service was denied anything or came to an end", func(t *testing.T) { quiet(t, p) })
	t.Run("containers hold no more than they need", func(t *testing.T) { confined(t, p) })
	t.Run("they end when they are asked to", func(t *testing.T) {
		p.compose(t, "stop")
		for _, id := range strings.Fields(p.compose(t, "ps", "--all", "--quiet")) {
			if got := inspect(t, id, "{{.Name}} {{.State.ExitCode}}"); !strings.HasSuffix(got, " 0") && !strings.Contains(got, "nats") {
				t.Errorf("container and exit code: %s", got)
			}
		}
	})
}

func quiet(t *testing.T, p *project) {
	if logs := p.compose(t, "logs", "--no-color"); strings.Contains(strings.ToLower(logs), "permissions violation") {
		t.Errorf("NATS denied something:\n%s", logs)
	}
	for _, id := range strings.Fields(p.compose(t, "ps", "--quiet")) {
		if got := inspect(t, id, "{{.Name}} {{.RestartCount}} {{.State.Running}}"); !strings.HasSuffix(got, " 0 true") {
			t.Errorf("container, restarts, running: %s", got)
		}
	}
}

func confined(t *testing.T, p *project) {
	ids := strings.Fields(p.compose(t, "ps", "--quiet"))
	if len(ids) != 6 {
		t.Errorf("%d containers, want 6", len(ids))
	}
	for _, id := range ids {
		got := inspect(t, id, "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}")
		if got != "65532:65532 true [ALL] [no-new-privileges:true]" {
			t.Errorf("%s: %s", inspect(t, id, "{{.Name}}"), got)
		}
	}
}

func inspect(t *testing.T, id, format string) string {
	t.Helper()
	out, err := exec.Command("docker", "inspect", "--format", format, id).CombinedOutput()
	if err != nil {
		t.Fatalf("inspect %s: %v\n%s", id, err, out)
	}
	return strings.TrimSpace(string(out))
}
