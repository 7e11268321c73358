package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
)

const secret = "the-secret-of-the-bench"

// plumb is `plumb up` as a process.
type plumb struct {
	process
	hook  string
	admin string // URL
	api   string // URL of the dashboard
	token string // file
}

// setup is how a plumb up differs from the others; the zero value is none of it.
type setup struct {
	kubeconfig string        // empty: of the world
	sweep      time.Duration // driftScanner.interval; 0: the default
}

func (b *bench) startPlumb(ctx context.Context, label string) (*plumb, error) {
	return b.startPlumbAs(ctx, label, setup{})
}

func (b *bench) startPlumbAs(ctx context.Context, label string, s setup) (*plumb, error) {
	dir := filepath.Join(b.dir, "plumb-"+label)
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
admin: {listen: "127.0.0.1:%d", profiles: true}
git: {insecureHosts: [127.0.0.1]}
receiver:
  listen: "127.0.0.1:%d"
  hooks: [{name: bench, provider: github, secretFile: %s}]
dashboard: {listen: "127.0.0.1:%d"}
`, cmp.Or(s.kubeconfig, b.kubeconfig), filepath.Join(dir, "data"), ports[0], ports[1], filepath.Join(dir, "secret"), ports[2])
	if s.sweep > 0 {
		config += fmt.Sprintf("driftScanner: {interval: %s}\n", s.sweep)
	}
	if err := writeAll(dir, map[string]string{"secret": secret + "\n", "plumb.yaml": config}); err != nil {
		return nil, err
	}
	p := &plumb{
		hook:  fmt.Sprintf("http://127.0.0.1:%d/hooks/bench", ports[1]),
		admin: fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		api:   fmt.Sprintf("http://127.0.0.1:%d", ports[2]),
		token: filepath.Join(dir, "data", "token"),
	}
	if err := p.start(dir, "plumb", filepath.Join(b.bin, "plumb"), "up", "--config", filepath.Join(dir, "plumb.yaml")); err != nil {
		return nil, err
	}
	return p, p.await(ctx, p.admin+"/readyz")
}

// await returns when the readiness URL answers 200.
func (p *process) await(ctx context.Context, url string) error {
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
	return fmt.Errorf("%s did not become ready:\n%s", filepath.Base(p.cmd.Path), p.tail())
}

func (p *plumb) announce(ctx context.Context, repo *gitserver.Repo, sha string) error {
	return gitserver.PostGitHub(ctx, p.hook, secret, sha, gitserver.Push{
		Repo: repo.Name, URL: repo.URL(), Ref: "refs/heads/main", Before: strings.Repeat("0", 40), After: sha,
	})
}

// tail is the end of the process's log.
func (p *process) tail() string {
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

// get returns the body of a URL.
func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", url, resp.Status, body)
	}
	return body, err
}
