package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cli"
	"github.com/plumb-gitops/plumb/pkg/cluster"
)

// former is a tool that had deployed the objects before Plumb came.
type former struct {
	tool    string
	manager string
	apply   bool                                                     // by server-side apply, else as an update
	mark    func(ns string, u *unstructured.Unstructured)            // what it writes on objects
	objects func(ns, repo string) map[string]string                  // its own, by kind and group/version
	files   func(config, workload, service string) map[string]string // of the repository
	marks   []string                                                 // labels and annotations that it knows objects by
}

func annotate(u *unstructured.Unstructured, more map[string]string) {
	all := u.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, more)
	u.SetAnnotations(all)
}

func label(u *unstructured.Unstructured, more map[string]string) {
	all := u.GetLabels()
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, more)
	u.SetLabels(all)
}

func plainFiles(config, workload, service string) map[string]string {
	return map[string]string{"web/config.yaml": config, "web/workload.yaml": workload, "web/service.yaml": service}
}

func kustomizeFiles(config, workload, service string) map[string]string {
	files := plainFiles(config, workload, service)
	files["web/kustomization.yaml"] = "resources: [config.yaml, workload.yaml, service.yaml]\n"
	return files
}

func chartOf(config, workload, service string) map[string]string {
	return map[string]string{
		"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "web/templates/config.yaml": config,
		"web/templates/workload.yaml": workload, "web/templates/service.yaml": service,
	}
}

func argoObjects(ns, repo string) map[string]string {
	return map[string]string{"applications": fmt.Sprintf(`{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: web, namespace: %[1]s, finalizers: [resources-finalizer.argocd.argoproj.io]},
  spec: {project: default, destination: {server: 'https://kubernetes.default.svc', namespace: %[1]s}, source: {repoURL: %[2]s, targetRevision: main, path: web},
  syncPolicy: {automated: {prune: true, selfHeal: true}}}}`, ns, repo)}
}

func fluxSource(ns, repo string) string {
	return fmt.Sprintf(`{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: config, namespace: %s}, spec: {url: %s, ref: {branch: main}, interval: 1m}}`, ns, repo)
}

func clientSide(u *unstructured.Unstructured) {
	raw, _ := json.Marshal(u.Object) // it came from YAML
	annotate(u, map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(raw)})
}

func argoMark(ns string, u *unstructured.Unstructured) {
	label(u, map[string]string{"app.kubernetes.io/instance": "web"})
	annotate(u, map[string]string{"argocd.argoproj.io/tracking-id": "web:" + u.GetKind() + ":" + ns + "/" + u.GetName()})
}

var argoMarks = []string{"app.kubernetes.io/instance", "argocd.argoproj.io/tracking-id", "kubectl.kubernetes.io/last-applied-configuration"}

var formers = map[string]former{
	"Argo CD, client-side": {
		tool: "argocd", manager: "argocd-controller", objects: argoObjects, files: plainFiles, marks: argoMarks,
		mark: func(ns string, u *unstructured.Unstructured) { argoMark(ns, u); clientSide(u) },
	},
	"Argo CD, server-side": {tool: "argocd", manager: "argocd-controller", apply: true, mark: argoMark, objects: argoObjects, files: plainFiles, marks: argoMarks},
	"Flux, a Kustomization": {
		tool: "flux", manager: "kustomize-controller", apply: true, files: kustomizeFiles,
		marks: []string{"kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"},
		mark: func(ns string, u *unstructured.Unstructured) {
			label(u, map[string]string{"kustomize.toolkit.fluxcd.io/name": "web", "kustomize.toolkit.fluxcd.io/namespace": ns})
		},
		objects: func(ns, repo string) map[string]string {
			return map[string]string{"gitrepositories": fluxSource(ns, repo), "kustomizations": fmt.Sprintf(`{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization,
  metadata: {name: web, namespace: %[1]s}, spec: {sourceRef: {kind: GitRepository, name: config}, path: ./web, prune: true, interval: 10m, targetNamespace: %[1]s}}`, ns)}
		},
	},
	"Flux, a HelmRelease": {
		tool: "flux", manager: "helm-controller", files: chartOf,
		marks: []string{"helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace", "app.kubernetes.io/managed-by", "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"},
		mark: func(ns string, u *unstructured.Unstructured) {
			label(u, map[string]string{"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": ns, "app.kubernetes.io/managed-by": "Helm"})
			annotate(u, map[string]string{"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": ns})
		},
		objects: func(ns, repo string) map[string]string {
			return map[string]string{"gitrepositories": fluxSource(ns, repo), "helmreleases": fmt.Sprintf(`{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease,
  metadata: {name: web, namespace: %[1]s}, spec: {chart: {spec: {chart: ./web, sourceRef: {kind: GitRepository, name: config}}}, interval: 10m}}`, ns)}
		},
	},
}

// foreign are the kinds of other tools, without their schema.
var foreign = [][3]string{
	{"argoproj.io", "v1alpha1", "Application"}, {"argoproj.io", "v1alpha1", "ApplicationSet"}, {"argoproj.io", "v1alpha1", "AppProject"},
	{"kustomize.toolkit.fluxcd.io", "v1", "Kustomization"}, {"helm.toolkit.fluxcd.io", "v2", "HelmRelease"}, {"source.toolkit.fluxcd.io", "v1", "GitRepository"},
}

func plural(kind string) string {
	if strings.HasSuffix(kind, "y") {
		return strings.ToLower(strings.TrimSuffix(kind, "y")) + "ies"
	}
	return strings.ToLower(kind) + "s"
}

func installForeign(t *testing.T, s *stack.Stack) {
	t.Helper()
	c, err := cluster.Open(cluster.Options{Kubeconfig: s.Kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range foreign {
		crd := fmt.Sprintf(`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: %[1]s.%[2]s},
  spec: {group: %[2]s, scope: Namespaced, names: {plural: %[1]s, kind: %[3]s}, versions: [{name: %[4]s, served: true, storage: true,
  schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`, plural(k[2]), k[0], k[2], k[1])
		if err := c.EnsureCRD(t.Context(), []byte(crd)); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	serviceManifest = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  ports: [{name: http, port: 80}]\n"
	configManifest  = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {kept: a, dropped: b}\n"
)

func workloadManifest(env string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {team: shop}}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n" +
		"  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n      - name: main\n        image: example.com/web:1\n        env: " + env + "\n"
}

// state is what must not change: per object its uid, its spec or data, and its
// generation. Of a Deployment the generation rises with every annotation, too
// (kubernetes, pkg/registry/apps/deployment/strategy.go), and Plumb's mark is one: what
// tells that no rollout began are its ReplicaSets.
func state(t *testing.T, s *stack.Stack, ns string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, resource := range []schema.GroupVersionResource{stack.ConfigMaps, stack.Services, stack.Deployments, replicaSets, stack.Pods} {
		list, err := s.Objects.Resource(resource).Namespace(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list.Items {
			if u.GetName() == "kube-root-ca.crt" {
				continue
			}
			generation := u.GetGeneration()
			if resource == stack.Deployments {
				generation = 0
			}
			out[resource.Resource+"/"+u.GetName()] = fmt.Sprintf("%s generation %d: %v", u.GetUID(), generation, []any{u.Object["spec"], u.Object["data"]})
		}
	}
	return out
}

var replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}

// deploy makes the objects as the tool does.
func (f former) deploy(t *testing.T, s *stack.Stack, ns string, manifests ...string) {
	t.Helper()
	for _, text := range manifests {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		u.SetNamespace(ns)
		f.mark(ns, u)
		resource := s.Objects.Resource(stack.ResourceOf(u)).Namespace(ns)
		var err error
		if f.apply {
			_, err = resource.Apply(t.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: f.manager})
		} else {
			_, err = resource.Create(t.Context(), u, metav1.CreateOptions{FieldManager: f.manager})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// installs the tool's own objects.
func (f former) own(t *testing.T, s *stack.Stack, ns, repo string) {
	t.Helper()
	for resource, text := range f.objects(ns, repo) {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		gvr := u.GroupVersionKind().GroupVersion().WithResource(resource)
		if _, err := s.Objects.Resource(gvr).Namespace(ns).Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = s.Objects.Resource(gvr).Namespace(ns).Patch(context.Background(), u.GetName(), "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		})
	}
}

func plumbImport(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = cli.Main(append([]string{"import"}, args...), cli.Env{In: strings.NewReader(""), Out: &stdout, Err: &stderr, Getenv: func(string) string { return "" }})
	return code, stdout.String(), stderr.String()
}

// What another tool deployed becomes Plumb's: nothing of it is made anew or
// restarted, and what Git drops later goes.
func TestImportAdoptsWithoutTouching(t *testing.T) {
	for name, f := range formers {
		t.Run(name, func(t *testing.T) { f.moves(t) })
	}
}

func (f former) moves(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	installForeign(t, s)
	ns := s.Kube.Namespace(t)
	workload := workloadManifest("[{name: A, value: '1'}, {name: DROPPED, value: '2'}]")
	repo := s.Repo(t, "acme/config", f.files(configManifest, workload, serviceManifest))
	f.deploy(t, s, ns, configManifest, workload, serviceManifest)
	f.own(t, s, ns, repo.URL())
	before := running(t, s, ns)

	code, out, errs := plumbImport(t, f.tool, "-n", ns, "--kubeconfig", s.Kube.Kubeconfig(), "--apply")
	key := app.Key{Namespace: ns, Name: "web"}
	t.Cleanup(func() { s.Forget(key) })
	if code != 0 || !strings.Contains(out, "created Application "+ns+"/web") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := plumbImport(t, f.tool, "-n", ns, "--kubeconfig", s.Kube.Kubeconfig(), "--apply"); code != 1 || !strings.Contains(errs, "already exists") {
		t.Errorf("a second import: exit code %d\n%s", code, errs)
	}

	s.Patch(t, key, `{"metadata":{"annotations":{"plumb.dev/sync":"first"}}}`)
	a := s.Await(t, key, "adopted", stack.Ready)
	f.adopted(t, s, a)
	if diff := cmp.Diff(before, state(t, s, ns)); diff != "" {
		t.Errorf("something was touched:\n%s", diff)
	}

	s.Patch(t, key, `{"spec":{"sync":{"mode":"auto"}}}`)
	sha := s.Push(t, repo, f.files(strings.ReplaceAll(configManifest, ", dropped: b", ""), workloadManifest("[{name: A, value: '1'}]"), serviceManifest))
	s.Live(t, key, sha)
	s.Data(t, ns, "web", map[string]string{"kept": "a"})
	u, err := s.Objects.Resource(stack.Deployments).Namespace(ns).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(u.Object["spec"]); strings.Contains(text, "DROPPED") {
		t.Errorf("what Git dropped stayed: %s", text)
	}
}

// running waits for the Pods of the Deployment.
func running(t *testing.T, s *stack.Stack, ns string) map[string]string {
	t.Helper()
	s.Eventually(t, "the Pods run", func() error {
		u, err := s.Objects.Resource(stack.Deployments).Namespace(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if ready, _, _ := unstructured.NestedInt64(u.Object, "status", "readyReplicas"); ready != 2 {
			return fmt.Errorf("%d are ready", ready)
		}
		return nil
	})
	return state(t, s, ns)
}

// adopted checks what became of each object, and that the tool is gone from them.
func (f former) adopted(t *testing.T, s *stack.Stack, a *v1alpha1.Application) {
	t.Helper()
	results := map[string]string{}
	for _, o := range a.Status.LastAttempt.Objects {
		results[o.ID] = o.Result
	}
	ns := a.Namespace
	want := map[string]string{"/ConfigMap/" + ns + "/web": "adopted", "/Service/" + ns + "/web": "adopted", "apps/Deployment/" + ns + "/web": "adopted"}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results: %s", diff)
	}
	if n := len(a.Status.Inventory.Entries); n != 3 {
		t.Errorf("%d entries in the inventory", n)
	}
	for _, resource := range []schema.GroupVersionResource{stack.ConfigMaps, stack.Services, stack.Deployments} {
		u, err := s.Objects.Resource(resource).Namespace(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range u.GetManagedFields() {
			if e.Manager == f.manager {
				t.Errorf("%s: %s still owns fields", resource.Resource, e.Manager)
			}
		}
		for _, mark := range slices.Concat(slices.Collect(maps.Keys(u.GetLabels())), slices.Collect(maps.Keys(u.GetAnnotations()))) {
			if slices.Contains(f.marks, mark) {
				t.Errorf("%s: %s stayed", resource.Resource, mark)
			}
		}
	}
}

// Both tools name value files inside of a chart that they fetch; an import writes them
// as $chart/name.
func TestAValueFileOfAFetchedChart(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	charts := chartRepository(t, "web")
	repo := s.Repo(t, "acme/config", map[string]string{"readme": "x"})
	text := fmt.Sprintf("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: %[1]s}\nspec: {project: default, destination: {name: in-cluster, namespace: %[1]s}, "+
		"source: {repoURL: '%[2]s', chart: web, targetRevision: 1.x, helm: {valueFiles: [values.yaml]}}, syncPolicy: {automated: {}}}", ns, charts.URL)
	file := filepath.Join(t.TempDir(), "argo.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := plumbImport(t, "argocd", "-f", file, "--repo", repo.URL(), "--ref", "main", "--auto", "--apply", "--kubeconfig", s.Kube.Kubeconfig())
	t.Cleanup(func() { s.Forget(app.Key{Namespace: ns, Name: "web"}) })
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	s.Data(t, ns, "web", map[string]string{"value": "default"})
}
