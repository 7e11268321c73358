package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// inGit is how many replicas web has in Git after the pushes.
const inGit = 2 + rounds%2

// byHand is the field manager of a change that people make with kubectl.
const byHand = "kubectl-scale"

func handChange(ctx context.Context, w *world) (outcome, error) {
	var from marks
	out, err := w.step(ctx, fmt.Sprintf("web: replicas %d → 9 by hand", inGit), func(ctx context.Context) (outcome, error) {
		from = w.mark()
		sent := time.Now()
		_, err := w.kube.objects.Resource(deployments).Namespace(target("web")).
			Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"replicas":9}}`), metav1.PatchOptions{FieldManager: byHand})
		if err != nil {
			return outcome{}, fmt.Errorf("scale the Deployment: %w", err)
		}
		changed, err := w.awaitObject(ctx, from.changes, deployments, target("web"), "web", wanted(9))
		if err != nil {
			return outcome{}, err
		}
		healed, err := w.awaitObject(ctx, from.changes, deployments, target("web"), "web", func(c change) bool {
			return wanted(inGit)(c) && c.object.GetGeneration() > changed.object.GetGeneration()
		})
		return outcome{took: healed.at.Sub(sent), note: "healed"}, err
	})
	if err != nil {
		return out, err
	}
	return out, w.told(ctx, from, "changed")
}

func deletion(ctx context.Context, w *world) (outcome, error) {
	var from marks
	out, err := w.step(ctx, "web: Deployment deleted by hand", func(ctx context.Context) (outcome, error) {
		from = w.mark()
		sent := time.Now()
		err := w.kube.objects.Resource(deployments).Namespace(target("web")).Delete(ctx, "web", metav1.DeleteOptions{})
		if err != nil {
			return outcome{}, fmt.Errorf("delete the Deployment: %w", err)
		}
		gone, err := w.awaitObject(ctx, from.changes, deployments, target("web"), "web", func(c change) bool { return c.gone })
		if err != nil {
			return outcome{}, err
		}
		back, err := w.awaitObject(ctx, from.changes, deployments, target("web"), "web", func(c change) bool {
			return !c.gone && c.object.GetUID() != gone.object.GetUID()
		})
		if err != nil {
			return outcome{}, err
		}
		_, err = w.awaitObject(ctx, from.changes, deployments, target("web"), "web", func(c change) bool {
			return running(inGit)(c) && c.object.GetUID() == back.object.GetUID()
		})
		return outcome{took: back.at.Sub(sent), note: "restored"}, err
	})
	if err != nil {
		return out, err
	}
	return out, w.told(ctx, from, "deleted")
}

// told shows what Plumb says about a drift that it healed.
func (w *world) told(ctx context.Context, from marks, kind string) error {
	_, err := w.step(ctx, "and told, field by field", func(ctx context.Context) (outcome, error) {
		healed, err := awaitFact(ctx, w.plumb, from.facts, event.DriftHealed, func(m *eventsv1.DriftHealed) bool {
			return m.GetName() == "web" && len(m.GetObjects()) > 0 && m.GetObjects()[0].GetKind() == kind
		})
		if err != nil {
			return outcome{}, fmt.Errorf("wait for the fact drift.healed: %w", err)
		}
		return outcome{note: drifted(healed.data.GetObjects()[0])}, nil
	})
	return err
}

// drifted is one object's drift on a line.
func drifted(o *eventsv1.DriftedObject) string {
	parts := []string{o.GetKind()}
	for _, f := range o.GetFields() {
		parts = append(parts, fmt.Sprintf("%s was %s, found %s", f.GetPath(), f.GetBefore(), f.GetAfter()))
	}
	if o.GetManager() != "" {
		parts = append(parts, "by "+o.GetManager())
	}
	return strings.Join(parts, ", ")
}

// environment of the first container of a Deployment.
func environment(c change) map[string]string {
	env := map[string]string{}
	d := into[appsv1.Deployment](c.object)
	for _, container := range d.Spec.Template.Spec.Containers {
		for _, e := range container.Env {
			env[e.Name] = e.Value
		}
	}
	return env
}
