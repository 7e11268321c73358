package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// variant is another way to write down the objects of objectsOf.
type variant struct {
	name   string
	shared func(change string) map[string][]byte // what all Applications are made from
	own    func(i int) map[string][]byte         // what tells one from the others
	source func(i int) map[string]any            // of the Application, but for repo and ref
}

// helm is one chart, and a file of values for each Application.
var helm = variant{
	name: "Helm",
	shared: func(change string) map[string][]byte {
		files := map[string][]byte{"chart/Chart.yaml": []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")}
		for n, m := range manifests {
			files[fmt.Sprintf("chart/templates/%d.yaml", n)] = fmt.Appendf(nil, m, "{{ .Values.name }}", change)
		}
		return files
	},
	own: func(i int) map[string][]byte {
		return map[string][]byte{"values/" + appName(i) + ".yaml": fmt.Appendf(nil, "name: %s\n", appName(i))}
	},
	source: func(i int) map[string]any {
		return map[string]any{"path": "chart", "helm": map[string]any{"valueFiles": []any{"../values/" + appName(i) + ".yaml"}}}
	},
}

// kustomize is one base, and an overlay for each Application.
var kustomize = variant{
	name: "kustomize",
	shared: func(change string) map[string][]byte {
		files := map[string][]byte{"base/kustomization.yaml": []byte("resources: [0.yaml, 1.yaml, 2.yaml, 3.yaml]\n")}
		for n, m := range manifests {
			files[fmt.Sprintf("base/%d.yaml", n)] = fmt.Appendf(nil, m, "app", change)
		}
		return files
	},
	own: func(i int) map[string][]byte {
		return map[string][]byte{"overlays/" + appName(i) + "/kustomization.yaml": fmt.Appendf(nil, overlay, appName(i)[len("app"):], appName(i))}
	},
	source: func(i int) map[string]any { return map[string]any{"path": "overlays/" + appName(i)} },
}

const overlay = `resources: [../../base]
nameSuffix: "%[1]s"
patches:
- target: {kind: Service}
  patch: |-
    - {op: replace, path: /spec/selector/app, value: %[2]s}
- target: {kind: Deployment}
  patch: |-
    - {op: replace, path: /spec/selector/matchLabels/app, value: %[2]s}
    - {op: replace, path: /spec/template/metadata/labels/app, value: %[2]s}
- target: {kind: Ingress}
  patch: |-
    - {op: replace, path: /spec/rules/0/host, value: %[2]s.example.com}
`

func (b *bench) variant(ctx context.Context, v variant, applications int) error {
	var rounds []versus
	var before statuses
	for n := range b.rounds {
		label := fmt.Sprintf("%s-%d", strings.ToLower(v.name), n)
		var r versus
		err := b.onFresh(ctx, func() error {
			return b.beside(ctx, n, applications, label, &before, &r, func(l *left) error { return b.variantPlumb(ctx, v, applications, label, l, &r) })
		})
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		rounds = append(rounds, r)
	}
	b.add(versusFigures(applications, " by "+v.name, rounds)...)
	return nil
}

func (b *bench) variantPlumb(ctx context.Context, v variant, applications int, label string, l *left, r *versus) error {
	p, err := b.startPlumb(ctx, label)
	if err != nil {
		return err
	}
	defer p.stop()
	repo, err := b.git.Create(ctx, "bench/"+label)
	if err != nil {
		return err
	}
	if _, err := repo.CommitAndPush(ctx, "Add all", v.files(applications, "one")); err != nil {
		return err
	}
	if err := b.namespace(ctx, label); err != nil {
		return err
	}
	if err := b.variantCases(ctx, v, applications, label, repo, p, l, r); err != nil {
		return fmt.Errorf("%w\n%s", err, p.tail())
	}
	return b.clear(ctx, label)
}

func (b *bench) variantCases(ctx context.Context, v variant, applications int, ns string, repo *gitserver.Repo, p *plumb, l *left, r *versus) (err error) {
	if err := b.settle(ctx, p); err != nil {
		return err
	}
	r.first, err = b.timed(ctx, p, ns+"-first", func() (time.Duration, error) {
		return b.untilReady(ctx, ns, applications, "", func() error { return b.createFrom(ctx, ns, applications, repo.Name, 0, v.source) })
	})
	if err != nil {
		return fmt.Errorf("first sync: %w", err)
	}
	if err := l.see(ctx, b.world, ns, firstSync); err != nil {
		return err
	}
	r.all, err = changes(applications, func(change string) (spent, error) {
		s, err := b.changeAll(ctx, p, ns, applications, repo, ns+"-all", func() (string, error) {
			return repo.CommitAndPush(ctx, "Change what all share", v.shared(change))
		})
		if err != nil {
			return s, err
		}
		return s, l.see(ctx, b.world, ns, change)
	})
	return err
}

func (v variant) files(applications int, change string) map[string][]byte {
	files := v.shared(change)
	for i := range applications {
		maps.Copy(files, v.own(i))
	}
	return files
}

// createFrom creates Applications side by side, of given sources, from the first on.
func (w *world) createFrom(ctx context.Context, ns string, count int, repo string, first int, sourceOf func(i int) map[string]any) error {
	return w.each(ctx, 16, count, func(ctx context.Context, n int) error {
		i := first + n
		source := map[string]any{"repo": w.git.URL(repo), "ref": "main"}
		maps.Copy(source, sourceOf(i))
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "plumb.dev/v1alpha1", "kind": "Application",
			"metadata": map[string]any{"name": appName(i), "namespace": ns},
			"spec":     map[string]any{"source": source},
		}}
		_, err := w.objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).Create(ctx, u, metav1.CreateOptions{})
		return err
	})
}
