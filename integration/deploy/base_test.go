package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render"
)

const system = "plumb-system"

// rendered is what Plumb itself makes of a directory of deploy/kubernetes, what
// others need first.
func rendered(t testing.TB, path string) []object.Object {
	t.Helper()
	renderer := render.New(render.Options{})
	defer renderer.Close()
	tree, ok := os.DirFS(filepath.Join(root, "deploy/kubernetes")).(render.Tree)
	if !ok {
		t.Fatal("a directory is no tree")
	}
	result, err := renderer.Render(t.Context(), render.Request{Tree: tree, Source: v1alpha1.Source{Path: path}, Name: "plumb", Namespace: system})
	must(t, err)
	objects := slices.Clone(result.Objects.All())
	slices.SortStableFunc(objects, func(a, b object.Object) int { return stage(a) - stage(b) })
	return objects
}

func stage(o object.Object) int {
	if kind := o.ID().Kind; kind == "Namespace" || kind == "CustomResourceDefinition" {
		return 0
	}
	return 1
}

// install applies objects server-side as an administrator; those that name no
// namespace go to the given one.
func install(t testing.TB, kube *kubetest.Kube, objects []object.Object, namespace string) {
	t.Helper()
	c, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	must(t, err)
	admin := c.As(cluster.Identity{})
	for _, o := range objects {
		namespaced, err := admin.Scope(t.Context(), o.GroupVersionKind())
		must(t, err)
		if namespaced && o.ID().Namespace == "" {
			o = o.With(func(u *unstructured.Unstructured) { u.SetNamespace(namespace) })
		}
		if err := admin.Validate(t.Context(), o); err != nil {
			t.Errorf("%s does not fit what the cluster publishes: %v", o.ID().Human(), err)
		}
		if _, err := admin.Apply(t.Context(), o, cluster.ApplyOptions{}); err != nil {
			t.Fatalf("the API server refuses %s: %v", o.ID().Human(), err)
		}
		if stage(o) == 0 {
			must(t, admin.Usable(t.Context(), []object.ID{o.ID()}))
		}
	}
}

func TestTheBaseRunsInARestrictedNamespace(t *testing.T) {
	s := stack.New(t)
	install(t, s.Kube, rendered(t, "base"), system)
	kube := s.Kube.Clientset(t)
	s.Eventually(t, "every pod is admitted and ready", func() error {
		deployments, err := kube.AppsV1().Deployments(system).List(t.Context(), metav1.ListOptions{})
		must(t, err)
		if len(deployments.Items) != 5 {
			return fmt.Errorf("%d Deployments, want 5", len(deployments.Items))
		}
		for _, d := range deployments.Items {
			if d.Status.ReadyReplicas != *d.Spec.Replicas {
				return fmt.Errorf("%s: %d of %d ready: %v", d.Name, d.Status.ReadyReplicas, *d.Spec.Replicas, d.Status.Conditions)
			}
		}
		nats, err := kube.AppsV1().StatefulSets(system).Get(t.Context(), "plumb-nats", metav1.GetOptions{})
		must(t, err)
		if nats.Status.ReadyReplicas != 1 {
			return fmt.Errorf("NATS: %+v", nats.Status)
		}
		return nil
	})
	t.Run("which refuses other pods", func(t *testing.T) {
		_, err := kube.CoreV1().Pods(system).Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "any"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "any", Image: "any"}}},
		}, metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "restricted") {
			t.Errorf("got %v", err)
		}
	})
	pods, err := kube.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	t.Run("with no more in its pods than they need", func(t *testing.T) {
		for _, pod := range pods.Items {
			modest(t, pod)
		}
	})
}

// modest says what a pod has too much of, or lacks.
func modest(t *testing.T, pod corev1.Pod) {
	t.Helper()
	name := pod.Labels["app.kubernetes.io/name"]
	asks := name == "plumb-worker" || name == "plumb-drift-scanner"
	for _, v := range pod.Spec.Volumes {
		if v.Projected != nil && !asks {
			t.Errorf("%s is given a token for the API server", pod.Name)
		}
		if v.Secret != nil && v.Secret.SecretName != name {
			t.Errorf("%s is given Secret %s", pod.Name, v.Secret.SecretName)
		}
	}
	c := pod.Spec.Containers[0]
	switch {
	case pod.Spec.ServiceAccountName != name:
		t.Errorf("%s runs as %s", pod.Name, pod.Spec.ServiceAccountName)
	case c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem:
		t.Errorf("%s can write to its root", pod.Name)
	case c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero():
		t.Errorf("%s has no requests or limits", pod.Name)
	case c.LivenessProbe == nil || c.ReadinessProbe == nil:
		t.Errorf("%s is not probed", pod.Name)
	}
}

func TestTheDeployedCRDIsTheGeneratedOne(t *testing.T) {
	for file, generated := range map[string][]byte{"crd.yaml": v1alpha1.CRD(), "applicationset-crd.yaml": v1alpha1.SetCRD()} {
		if diff := cmp.Diff(strings.TrimSpace(string(generated)), read(t, root, "deploy/kubernetes/base/"+file)); diff != "" {
			t.Errorf("copy pkg/app/v1alpha1/%s to deploy/kubernetes/base (-generated +deployed):\n%s", file, diff)
		}
	}
}

// What would only be told by a container that does not start.
func TestEveryConfigurationIsUnderstood(t *testing.T) {
	for _, dir := range []string{"deploy/compose", "deploy/kubernetes/base/config"} {
		for _, service := range []string{"receiver", "worker", "drift-scanner", "alerter", "dashboard"} {
			file := filepath.Join(dir, service+".yaml")
			// No section's files are looked for: they are inside the container.
			c, err := config.Parse(file, []byte(read(t, root, file)), "none")
			switch {
			case err != nil:
				t.Error(err)
			case c.NATS.URL == "" || c.NATS.CredentialsFile != "/run/plumb/nats.nk":
				t.Errorf("%s: nats is %+v", file, c.NATS)
			case service == "worker" && c.Worker.Impersonation != config.ImpersonationRequired:
				t.Errorf("%s: impersonation is %q", file, c.Worker.Impersonation)
			}
		}
	}
}
