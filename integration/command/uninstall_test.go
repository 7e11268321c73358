package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

const workloads = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: nginx}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, labels: {mine: "yes"}, annotations: {mine: "yes"}}
data: {a: "1"}
`

var workloadKinds = []schema.GroupVersionResource{
	{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "replicasets"},
	{Version: "v1", Resource: "pods"}, configMaps,
}

// own is up on a cluster of this test's alone: uninstalling is for whole clusters.
func own(t *testing.T) *site {
	t.Helper()
	return upOn(t, kubetest.Own(t))
}

// identity is what would tell that an object was touched.
type identity struct {
	Generation int64
	Version    string // resourceVersion; empty when it does not count
}

func (s *site) objects(t *testing.T) dynamic.Interface {
	t.Helper()
	objects, err := dynamic.NewForConfig(s.kube.Config(t))
	must(t, err)
	return objects
}

// live is every workload object of a namespace, by kind, name and uid. Without its
// annotations a Deployment is of another generation, though nothing is rolled out.
func (s *site) live(t *testing.T, namespace string, marked bool) map[string]identity {
	t.Helper()
	found := map[string]identity{}
	for _, kind := range workloadKinds {
		all, err := s.objects(t).Resource(kind).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
		must(t, err)
		for _, o := range all.Items {
			i := identity{o.GetGeneration(), o.GetResourceVersion()}
			if !marked {
				i.Version = ""
			}
			if !marked && kind == workloadKinds[0] {
				i.Generation = 0
			}
			found[kind.Resource+" "+o.GetName()+" "+string(o.GetUID())] = i
		}
	}
	return found
}

// deployAll syncs an Application of its own and one of a set, both of which would
// delete their objects.
func deployAll(t *testing.T, s *site) (namespace string) {
	t.Helper()
	repo := repository(t)
	commit(t, repo, "web/web.yaml", workloads)
	commit(t, repo, "two/two.yaml", named("ConfigMap", "two", ""))
	namespace = s.kube.Namespace(t)
	d := &deployed{site: s, repo: repo, namespace: namespace, key: namespace + "/web"}
	d.create(t, fmt.Sprintf(`
apiVersion: plumb.dev/v1alpha1
kind: Application
metadata: {name: web, namespace: %s}
spec: {source: {repo: %q, path: web}, deletionPolicy: delete}
`, namespace, repo.URL()))
	u := &unstructured.Unstructured{}
	must(t, yaml.Unmarshal([]byte(fmt.Sprintf(`
apiVersion: plumb.dev/v1alpha1
kind: ApplicationSet
metadata: {name: all, namespace: %s}
spec:
  generators: [{list: {elements: [{name: two}]}}]
  template: {metadata: {name: "{{.name}}"}, spec: {source: {repo: %q, path: two}, deletionPolicy: delete}}
`, namespace, repo.URL())), &u.Object))
	_, err := d.sets(t).Create(t.Context(), u, metav1.CreateOptions{})
	must(t, err)
	d.sync(t)
	d.key = namespace + "/two"
	d.sync(t)
	s.eventually(t, "pods are settled", func() error { return s.settled(t, namespace) })
	return namespace
}

// settled is for the writes of others to have come to their end.
func (s *site) settled(t *testing.T, namespace string) error {
	d, err := s.objects(t).Resource(workloadKinds[0]).Namespace(namespace).Get(t.Context(), "web", metav1.GetOptions{})
	must(t, err)
	if ready, _, _ := unstructured.NestedInt64(d.Object, "status", "readyReplicas"); ready != 1 {
		return fmt.Errorf("%d replicas are ready", ready)
	}
	return nil
}

func (s *site) uninstall(t *testing.T, args ...string) (int, string) {
	t.Helper()
	return s.plumb(t, append([]string{"uninstall", "--kubeconfig", s.kube.Kubeconfig()}, args...)...)
}

func TestUninstallLeavesEveryWorkload(t *testing.T) {
	for sentence, worker := range map[string]bool{"while a worker runs": true, "when none does": false} {
		t.Run(sentence, func(t *testing.T) {
			s := own(t)
			namespace := deployAll(t, s)
			if !worker {
				s.end(t)
			}
			before := s.live(t, namespace, true)
			if len(before) < 5 {
				t.Fatalf("only %v is there", before)
			}
			if code, out := s.uninstall(t); code != 2 || !strings.Contains(out, "Application "+namespace+"/web: its 2 objects stay") ||
				!strings.Contains(out, "there is no terminal") {
				t.Errorf("exit code %d:\n%s", code, out)
			}
			code, out := s.uninstall(t, "--yes")
			if code != 0 || !strings.Contains(out, "3 objects stay as they were") {
				t.Fatalf("exit code %d:\n%s\n%s", code, out, s.log.String())
			}
			if diff := cmp.Diff(before, s.live(t, namespace, true)); diff != "" {
				t.Errorf("workloads changed:\n%s", diff)
			}
			s.gone(t)
			if code, out := s.uninstall(t, "--yes"); code != 0 || !strings.Contains(out, "nothing of Plumb is in the cluster") {
				t.Errorf("again: exit code %d:\n%s", code, out)
			}
		})
	}
}

// gone looks for the definitions.
func (s *site) gone(t *testing.T) {
	t.Helper()
	definitions := s.objects(t).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, name := range []string{"applications.plumb.dev", "applicationsets.plumb.dev"} {
		if _, err := definitions.Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUninstallTakesTheMarksAway(t *testing.T) {
	s := own(t)
	namespace := deployAll(t, s)
	s.end(t)
	before := s.live(t, namespace, false)
	if code, out := s.uninstall(t, "--yes", "--strip-marks"); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	if diff := cmp.Diff(before, s.live(t, namespace, false)); diff != "" {
		t.Errorf("workloads changed:\n%s", diff)
	}
	for kind, name := range map[schema.GroupVersionResource]string{workloadKinds[0]: "web", configMaps: "web"} {
		o, err := s.objects(t).Resource(kind).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
		must(t, err)
		if o.GetAnnotations()[v1alpha1.OwnerAnnotation] != "" || o.GetLabels()[v1alpha1.OwnerLabel] != "" {
			t.Errorf("%s %s is still marked: %v %v", kind.Resource, name, o.GetAnnotations(), o.GetLabels())
		}
		for _, e := range o.GetManagedFields() {
			if e.Manager == v1alpha1.FieldManager {
				t.Errorf("%s %s is still managed by %s", kind.Resource, name, e.Manager)
			}
		}
		if kind == configMaps && (o.GetLabels()["mine"] != "yes" || o.GetAnnotations()["mine"] != "yes") {
			t.Errorf("more than the marks is gone: %v %v", o.GetAnnotations(), o.GetLabels())
		}
	}
}

// A foreign finalizer holds it up half-way; what was begun is finished by another run.
func TestUninstallGoesOnWhereItWasInterrupted(t *testing.T) {
	s := own(t)
	namespace := deployAll(t, s)
	s.end(t)
	before := s.live(t, namespace, true)
	applications := s.objects(t).Resource(v1alpha1.GroupVersionResource).Namespace(namespace)
	patch := func(finalizers string) {
		t.Helper()
		_, err := applications.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{})
		must(t, err)
	}
	patch(`["plumb.dev/prune","example.org/mine"]`)
	if code, out := s.uninstall(t, "--yes", "--timeout", "15s"); code != 1 || !strings.Contains(out, "example.org/mine") || !strings.Contains(out, "run it again") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	patch(`[]`)
	if code, out := s.uninstall(t, "--yes"); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	s.gone(t)
	if diff := cmp.Diff(before, s.live(t, namespace, true)); diff != "" {
		t.Errorf("workloads changed:\n%s", diff)
	}
}

// What deploy/ installs goes, and nothing that only looks like it.
func TestUninstallRemovesWhatDeployInstalls(t *testing.T) {
	s := &site{dir: t.TempDir(), kube: kubetest.Own(t)}
	s.install(t, "../../deploy/kubernetes/base")
	core := s.kube.Clientset(t).CoreV1()
	foreign := []string{"web", "plumb-like"}
	for i, name := range foreign {
		labels := map[string]any{"app.kubernetes.io/part-of": "plumb"}
		if i > 0 {
			labels = nil
		}
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "labels": labels}}}
		_, err := s.objects(t).Resource(configMaps).Namespace("plumb-system").Create(t.Context(), u, metav1.CreateOptions{})
		must(t, err)
	}
	code, out := s.uninstall(t, "--yes")
	if code != 0 || !strings.Contains(out, "Namespace plumb-system, with the Secrets") || !strings.Contains(out, "removed Deployment plumb-system/plumb-worker") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	left, err := core.ConfigMaps("plumb-system").List(t.Context(), metav1.ListOptions{})
	must(t, err)
	var names []string
	for _, c := range left.Items {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"kube-root-ca.crt", "plumb-like", "web"}, names); diff != "" {
		t.Error(diff)
	}
	roles, err := s.kube.Clientset(t).RbacV1().ClusterRoles().List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=plumb"})
	must(t, err)
	if len(roles.Items) > 0 {
		t.Errorf("%d ClusterRoles are left", len(roles.Items))
	}
	s.gone(t)
}

// install renders a kustomization by plumb's own renderer, and applies it.
func (s *site) install(t *testing.T, dir string) {
	t.Helper()
	absolute, err := filepath.Abs(dir)
	must(t, err)
	app := s.write(t, "base.yaml", "apiVersion: plumb.dev/v1alpha1\nkind: Application\nmetadata: {name: base, namespace: default}\nspec: {source: {repo: \"https://example.org/x\"}}\n")
	cmd := command(t.Context(), "render", "-f", app, "--dir", absolute)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	must(t, err)
	for _, document := range strings.Split(string(out), "---\n") {
		u := &unstructured.Unstructured{}
		must(t, yaml.Unmarshal([]byte(document), &u.Object))
		if len(u.Object) > 0 {
			s.applyObject(t, u)
		}
	}
}

func (s *site) applyObject(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	gvk := u.GroupVersionKind()
	plural := map[string]string{"NetworkPolicy": "networkpolicies"}[gvk.Kind]
	if plural == "" {
		plural = strings.ToLower(gvk.Kind) + "s"
	}
	var to dynamic.ResourceInterface = s.objects(t).Resource(gvk.GroupVersion().WithResource(plural))
	if u.GetNamespace() != "" {
		to = s.objects(t).Resource(gvk.GroupVersion().WithResource(plural)).Namespace(u.GetNamespace())
	}
	_, err := to.Apply(context.Background(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "test", Force: true})
	must(t, err)
}
