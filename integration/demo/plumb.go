package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/integration/demo/feed"
	"github.com/plumb-gitops/plumb/integration/demo/process"
	"github.com/plumb-gitops/plumb/pkg/event"
	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	"github.com/plumb-gitops/plumb/proto/plumb/api/v1/apiv1connect"
)

// clusterName is the name of the cluster on the bus.
const clusterName = "demo"

// plumb is `plumb up` with its files.
type plumb struct {
	binary, config, token string // files
	admin, hooks, api     string // URLs
	gitSecret             string
	registrySecret        string
	process               *process.Process
	facts                 feed.Feed[*apiv1.Event]
}

// preparePlumb writes the configuration; slackURL is where alerts go.
func preparePlumb(o options, kubeconfig, gitURL, slackURL string) (*plumb, error) {
	dir := filepath.Join(o.dir, "plumb")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("prepare plumb: %w", err)
	}
	var addresses [3]string
	for i := range addresses {
		free, err := freeAddress()
		if err != nil {
			return nil, err
		}
		addresses[i] = free
	}
	p := &plumb{
		binary: filepath.Join(o.bin, "plumb"), config: filepath.Join(dir, "plumb.yaml"), token: filepath.Join(dir, "data", "token"),
		admin: "http://" + addresses[0], hooks: "http://" + addresses[1] + "/hooks/", api: "http://" + addresses[2],
		gitSecret: rand.Text(), registrySecret: rand.Text(),
	}
	for name, text := range map[string]string{
		"hook-git": p.gitSecret, "hook-registry": p.registrySecret, "slack-url": slackURL,
		"plumb.yaml": configuration(dir, kubeconfig, gitURL, addresses),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("prepare plumb: %w", err)
		}
	}
	return p, nil
}

// configuration leaves the kubeconfig out where KUBECONFIG says it.
func configuration(dir, kubeconfig, gitURL string, addresses [3]string) string {
	return fmt.Sprintf(`cluster: %[1]s
kubernetes: {kubeconfig: %[2]q}
nats: {dataDir: %[3]q}
admin: {listen: %[5]q}
git: {insecureHosts: [127.0.0.1]}
receiver:
  listen: %[6]q
  hooks:
  - {name: git, provider: github, secretFile: "%[4]s/hook-git", repos: ["%[8]s/*"]}
  - {name: registry, provider: distribution, secretFile: "%[4]s/hook-registry"}
alerter:
  channels: [{name: ops, type: slack, urlFile: "%[4]s/slack-url"}]
  routes: [{match: {namespaces: [%[9]s]}, to: [ops]}]
dashboard: {listen: %[7]q}`,
		clusterName, kubeconfig, filepath.Join(dir, "data"), dir, addresses[0], addresses[1], addresses[2], gitURL, home)
}

// freeAddress is a loopback address that nobody listens on. It lies below the
// ports that the kernel gives to outgoing connections, so that none of these
// takes it before it is used.
func freeAddress() (string, error) {
	for range 100 {
		n, err := rand.Int(rand.Reader, big.NewInt(10_000))
		if err != nil {
			return "", fmt.Errorf("find a free port: %w", err)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+n.Int64()))
		if err == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", errors.New("find a free port: 100 ports between 10000 and 19999 are taken")
}

// start runs `plumb up` until it is ready.
func (p *plumb) start(ctx context.Context, dir string) (err error) {
	p.process, err = process.Start(process.Command{
		Name: "plumb up", Program: p.binary, Args: []string{"up", "--config", p.config}, Log: filepath.Join(dir, "plumb.log"),
	})
	if err != nil {
		return fmt.Errorf("%w; make build builds it", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		if err = p.ready(ctx); err == nil {
			return nil
		}
		select {
		case <-retry.C:
		case <-p.process.Ended():
			return p.process.Failure()
		case <-ctx.Done():
			return p.process.Explain(fmt.Errorf("plumb up is not ready after %s: %w", startLimit, err))
		}
	}
}

// startLimit is generous: a start takes a second on a machine that has nothing else to do.
const startLimit = time.Minute

func (p *plumb) ready(ctx context.Context) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+"/readyz", nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusOK {
		return errors.New("/readyz says " + r.Status)
	}
	return nil
}

// follow gathers facts, as `plumb events --follow` does, until ctx ends.
func (p *plumb) follow(ctx context.Context) error {
	token, err := os.ReadFile(p.token)
	if err != nil {
		return fmt.Errorf("read the API token: %w", err)
	}
	client := apiv1connect.NewPlumbServiceClient(http.DefaultClient, p.api)
	q := connect.NewRequest(&apiv1.EventsRequest{Follow: true, Since: timestamppb.New(time.Now().Add(-time.Minute))})
	q.Header().Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	stream, err := client.Events(ctx, q)
	if err != nil {
		return fmt.Errorf("follow events: %w", err)
	}
	defer stream.Close()
	for stream.Receive() {
		p.facts.Add(stream.Msg())
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("follow events: the stream ended: %w", stream.Err())
}

// because prefers the end of plumb up, which may be seen later than the end of
// its streams, to err.
func (p *plumb) because(err error) error {
	limit := time.NewTimer(time.Second)
	defer limit.Stop()
	select {
	case <-p.process.Ended():
		return p.process.Failure()
	case <-limit.C:
		return err
	}
}

// fact is an event with its data as a message.
type fact[T any] struct {
	*apiv1.Event
	data T
}

// awaitFact waits for the first fact of a type, from a mark on, that matches.
func awaitFact[T proto.Message](ctx context.Context, p *plumb, mark int, kind event.Type, match func(T) bool) (fact[T], error) {
	var found T
	e, err := p.facts.Await(ctx, mark, func(e *apiv1.Event) bool {
		if e.GetType() != string(kind) {
			return false
		}
		data, err := decode[T](e)
		found = data
		return err == nil && match(data)
	})
	return fact[T]{e, found}, err
}

func decode[T proto.Message](e *apiv1.Event) (data T, err error) {
	data = data.ProtoReflect().New().Interface().(T)
	raw, err := protojson.Marshal(e.GetData())
	if err != nil {
		return data, err
	}
	return data, protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, data)
}
