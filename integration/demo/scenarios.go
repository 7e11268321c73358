package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// scenarios are all, in the order in which they are played.
func scenarios() []scenario {
	return []scenario{
		{"First sync of three Applications", "A directory of YAML, a kustomization whose base lies outside its path, and a Helm chart. " +
			"Measured from the request that creates the Application to the watch that shows it Ready.", firstSync},
		{"A push changes replicas", "The git client pushes to the Git server, which posts a signed webhook. Measured from the moment the server has " +
			"taken the push: live is when a watch shows the new number in the Deployment, ready when all replicas run and the Application says so.", replicas},
		{"A push to a shared base", "It lies outside the path of the Application that uses it. Only that one is synced.", sharedBase},
		{"A change by hand is healed", "Somebody scales the Deployment with kubectl. Measured from the patch that is sent to the watch that shows the number of Git.", handChange},
		{"A deletion is undone", "Somebody deletes the Deployment. Measured from the request to the watch that shows it again.", deletion},
		{"An image push is an event", "A client pushes an image to the registry, whose notification goes to the receiver.", imagePush},
		{"A broken commit raises one alert", "YAML that cannot be read, twice, and then the fix. Measured from the moment the server has taken the push to the " +
			"request that Slack accepts. What runs is not touched.", brokenCommit},
		{"A release that crashes raises one alert", "The pods of a new image crash; the Deployment gives up after five seconds, as its manifest says. Then git revert.", crash},
	}
}

func firstSync(ctx context.Context, w *world) (outcome, error) {
	content, err := tree()
	if err != nil {
		return outcome{}, err
	}
	var first pushed
	if _, err := w.step(ctx, "git push of the repository", func(ctx context.Context) (outcome, error) {
		first, err = w.push(ctx, "Begin", content)
		return outcome{note: short(first.sha)}, err
	}); err != nil {
		return outcome{}, err
	}
	if err := w.createHome(ctx); err != nil {
		return outcome{}, err
	}
	created := map[string]time.Time{}
	for _, name := range names {
		manifest, err := w.manifest(name)
		if err != nil {
			return outcome{}, err
		}
		if created[name], err = w.kube.create(ctx, applications, manifest); err != nil {
			return outcome{}, err
		}
	}
	slowest := time.Duration(0)
	for _, name := range names {
		out, err := w.step(ctx, sorts[name], func(ctx context.Context) (outcome, error) { return w.firstReady(ctx, name, first, created[name]) })
		if err != nil {
			return outcome{}, err
		}
		slowest = max(slowest, out.took)
	}
	return outcome{took: slowest, note: "until the last of them was ready"}, nil
}

// sorts says what each Application shows.
var sorts = map[string]string{"web": "web      YAML directory", "shop": "shop     kustomize overlay, base outside", "greeter": "greeter  Helm chart"}

func (w *world) createHome(ctx context.Context) error {
	_, err := w.kube.create(ctx, namespaces, map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": home},
	})
	return err
}

func (w *world) firstReady(ctx context.Context, name string, first pushed, created time.Time) (outcome, error) {
	c, err := w.awaitObject(ctx, first.from.changes, applications, home, name, readyAt(first.sha))
	if err != nil {
		return outcome{}, err
	}
	f, err := w.awaitFinished(ctx, first.from.facts, name, first.sha)
	return outcome{took: c.at.Sub(created), note: fmt.Sprintf("%d objects", len(f.data.GetObjects()))}, err
}

// deploymentOf is the Deployment of web with a number of replicas.
func deploymentOf(replicas int) string {
	text, err := files.ReadFile("files/repo/apps/web/deployment.yaml")
	if err != nil {
		panic(err) // it is in the program
	}
	return strings.Replace(string(text), "replicas: 2", fmt.Sprintf("replicas: %d", replicas), 1)
}

const deploymentFile = "apps/web/deployment.yaml"

func imagePush(ctx context.Context, w *world) (outcome, error) {
	const image, tag = "demo/web", "1.1.0"
	return w.step(ctx, "push of "+w.registry.Host()+"/"+image+":"+tag, func(ctx context.Context) (outcome, error) {
		from := w.mark()
		digest, at, err := w.registry.Push(ctx, image, tag)
		if err != nil {
			return outcome{}, err
		}
		f, err := awaitFact(ctx, w.plumb, from.facts, event.ImagePush, func(m *eventsv1.ImagePush) bool {
			return m.GetRepository() == image && m.GetTag() == tag && m.GetDigest() == digest
		})
		if err != nil {
			return outcome{}, fmt.Errorf("wait for the fact image.push: %w", err)
		}
		return outcome{took: f.GetTime().AsTime().Sub(at), note: "image.push, " + digest[:19]}, nil
	})
}
