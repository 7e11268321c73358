package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/integration/demo/feed"
	"github.com/plumb-gitops/plumb/integration/demo/process"
	"github.com/plumb-gitops/plumb/integration/demo/registry"
	"github.com/plumb-gitops/plumb/integration/demo/screen"
	"github.com/plumb-gitops/plumb/integration/demo/slack"
	"github.com/plumb-gitops/plumb/integration/gitserver"
)

// files are the repository as it is first pushed, and the Applications.
//
//go:embed all:files
var files embed.FS

// world is all parts together.
type world struct {
	o        options
	screen   *screen.Screen
	kube     *kube
	git      *gitserver.Server
	repo     *gitserver.Repo
	slack    *slack.Server
	registry *registry.Registry
	plumb    *plumb
	pushes   feed.Feed[announced]
	shown    int // messages to Slack that were printed

	life context.Context // ends with the first part that ends, and says why
	end  context.CancelCauseFunc
}

// announced is a push that the server took and told the receiver of.
type announced struct {
	gitserver.Push
	at  time.Time // when the server had taken it
	err error     // of telling
}

// open starts the parts in order. What runs already is in the world also when
// it returns an error.
func open(ctx context.Context, o options, s *screen.Screen) (*world, error) {
	w := &world{o: o, screen: s}
	w.life, w.end = context.WithCancelCause(ctx)
	for _, part := range []struct {
		name  string
		start func() (note string, err error)
	}{
		{"Kubernetes", w.startKube},
		{"Git server", w.startGit},
		{"Slack stand-in", w.startSlack},
		{"plumb up", w.startPlumb},
		{"container registry", w.startRegistry},
		{"watches on the API server and on Plumb's events", w.startWatches},
	} {
		done, began := s.Progress("starting: "+part.name), time.Now()
		note, err := part.start()
		done()
		if err != nil {
			s.Step(screen.Line{Failed: true, Text: part.name})
			return w, fmt.Errorf("start %s: %w", part.name, err)
		}
		s.Step(screen.Line{Text: part.name, Took: time.Since(began), Note: note})
	}
	return w, nil
}

func (w *world) startKube() (note string, err error) {
	w.kube, err = startKube(w.life, w.o)
	switch {
	case err != nil:
		return "", err
	case w.kube.process == nil:
		return "the cluster of KUBECONFIG, namespaces " + home + "*", nil
	}
	w.guard(w.kube.process)
	return "etcd, API server, controllers, scheduler; two pretended nodes", nil
}

// guard ends everything when a part ends.
func (w *world) guard(p *process.Process) {
	go func() {
		<-p.Ended()
		w.end(p.Failure()) // says nothing when it was to end
	}()
}

func (w *world) startGit() (note string, err error) {
	if w.git, err = gitserver.New(filepath.Join(w.o.dir, "git"), gitserver.Options{OnPush: w.announce}); err != nil {
		return "", err
	}
	if err := w.git.Start(); err != nil {
		return "", err
	}
	w.repo, err = w.git.Create(w.life, "config")
	return "smart HTTP; its post-receive hook posts signed webhooks", err
}

// announce tells the receiver of a push without holding the pusher up, as Git
// hosts do.
func (w *world) announce(p gitserver.Push) {
	at := time.Now()
	go func() {
		err := gitserver.PostGitHub(w.life, w.plumb.hooks+"git", w.plumb.gitSecret, "push-"+p.After, p)
		w.pushes.Add(announced{p, at, err})
	}()
}

func (w *world) startSlack() (note string, err error) {
	w.slack, err = slack.Start()
	return "takes Block Kit as strictly as Slack", err
}

func (w *world) startPlumb() (note string, err error) {
	kubeconfig := w.kube.kubeconfig
	if w.kube.process == nil {
		kubeconfig = "" // it reads KUBECONFIG itself
	}
	if w.plumb, err = preparePlumb(w.o, kubeconfig, "http://"+w.git.Addr(), w.slack.URL()); err != nil {
		return "", err
	}
	if err := w.plumb.start(w.life, w.o.dir); err != nil {
		return "", err
	}
	w.guard(w.plumb.process)
	return "receiver, worker, drift-scanner, alerter, dashboard, NATS", nil
}

func (w *world) startRegistry() (note string, err error) {
	w.registry, err = registry.Start(w.plumb.hooks+"registry", w.plumb.registrySecret)
	return "CNCF Distribution, with notifications", err
}

func (w *world) startWatches() (note string, err error) {
	go func() {
		if err := w.plumb.follow(w.life); err != nil {
			w.end(w.plumb.because(err))
		}
	}()
	return "", w.kube.watch(w.life)
}

// close ends the parts, last first, and removes what the demo made.
func (w *world) close() error {
	var failed error
	if w.kube != nil && w.kube.process == nil && w.plumb != nil && w.plumb.process != nil {
		failed = w.kube.cleanup(w.life, w.plumb.process.Running())
	}
	w.end(errors.New("the demo ends"))
	if w.registry != nil {
		w.registry.Stop()
	}
	if w.plumb != nil && w.plumb.process != nil {
		w.plumb.process.Stop(stopPatience)
	}
	if w.slack != nil {
		w.slack.Stop()
	}
	if w.git != nil {
		failed = errors.Join(failed, w.git.Stop())
	}
	if w.kube != nil && w.kube.process != nil {
		w.kube.process.Stop(stopPatience)
	}
	return failed
}

// stopPatience is how long a part may take to end before it is made to.
const stopPatience = 25 * time.Second

// tree is the content of the repository as it is first pushed.
func tree() (map[string][]byte, error) {
	content := map[string][]byte{}
	const root = "files/repo"
	err := fs.WalkDir(files, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content[strings.TrimPrefix(name, root+"/")], err = files.ReadFile(name)
		return err
	})
	return content, err
}

// manifest writes the Application for the repository into a file, for people to
// look at, and returns it.
func (w *world) manifest(name string) (map[string]any, error) {
	text, err := files.ReadFile(path.Join("files", "applications", name+".yaml"))
	if err != nil {
		return nil, err
	}
	content := strings.ReplaceAll(string(text), "REPO", w.repo.URL())
	if err := os.WriteFile(filepath.Join(w.o.dir, name+".yaml"), []byte(content), 0o644); err != nil {
		return nil, fmt.Errorf("write Application: %w", err)
	}
	var o map[string]any
	return o, yaml.Unmarshal([]byte(content), &o)
}
