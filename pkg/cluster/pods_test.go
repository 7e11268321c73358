package cluster_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func template(labels map[string]string, image, node string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
}

// podsOf waits until the object of that name has as many Pods as it should.
func podsOf(t *testing.T, c *cluster.Client, id object.ID, count int) (pods []unstructured.Unstructured) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := c.Until(ctx, []object.ID{id}, func(_ object.ID, live *unstructured.Unstructured) (done bool, err error) {
		pods, err = c.Pods(ctx, live)
		return len(pods) == count, err
	})
	if err != nil {
		t.Fatalf("%d Pods, want %d, %v", len(pods), count, err)
	}
	return pods
}

// The Pods of the newest ReplicaSet count, and none that only bears the labels.
func TestPodsAreThoseThatAnObjectControls(t *testing.T) {
	kube := kubetest.Start(t)
	ns, clientset, c := kube.Namespace(t), kube.Clientset(t), open(t, kube.Kubeconfig()).As(cluster.Identity{})
	labels := map[string]string{"app": "web"}
	two := int32(2)
	deployment, err := clientset.AppsV1().Deployments(ns).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       appsv1.DeploymentSpec{Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template(labels, "web:1", "")},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	id := object.ID{Group: "apps", Kind: "Deployment", Namespace: ns, Name: "web"}
	podsOf(t, c, id, 2)
	patch := `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"web:crash"}]}}}}`
	if _, err := clientset.AppsV1().Deployments(ns).Patch(t.Context(), deployment.Name, "application/strategic-merge-patch+json", []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, pod := range podsOf(t, c, id, 1) { // the new one crashes, so the old ones stay
		if got := fmt.Sprint(pod.Object["spec"]); !strings.Contains(got, "web:crash") {
			t.Errorf("a Pod of an old ReplicaSet: %s", got)
		}
	}
	if none, err := c.Pods(t.Context(), &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Service"}}); err != nil || none != nil {
		t.Errorf("a Service has %d Pods, %v", len(none), err)
	}
	other := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "StatefulSet",
		"metadata": map[string]any{"namespace": ns, "name": "web", "uid": "another"}, "spec": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}}}}}
	if taken, err := c.Pods(t.Context(), other); err != nil || len(taken) != 0 {
		t.Errorf("%d Pods of another are taken for its own, %v", len(taken), err)
	}
	all := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": map[string]any{"namespace": ns, "name": "x"}}}
	if _, err := c.Pods(t.Context(), all); err == nil {
		t.Error("an object without a selector selected everything")
	}
}

// The API server hands the request on to the kubelet of the Pod's node.
func TestLastLine(t *testing.T) {
	kube := kubetest.Start(t)
	ns := kube.Namespace(t)
	asked := make(chan string, 10)
	node := kube.Kubelet(t, func(container string, parameters url.Values) string {
		asked <- container + " " + parameters.Encode()
		if parameters.Get("previous") == "true" {
			return "panic: no database\n"
		}
		return strings.Repeat("x", 5000)
	})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "one"}, Spec: template(nil, "web:crash", node).Spec}
	if _, err := kube.Clientset(t).CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cl := open(t, kube.Kubeconfig())
	c, id := cl.As(cluster.Identity{}), object.ID{Kind: "Pod", Namespace: ns, Name: "one"}
	line, whole, err := c.LastLine(t.Context(), id, "main", true)
	if err != nil || line != "panic: no database\n" || !whole {
		t.Errorf("line %q, whole %v, %v", line, whole, err)
	}
	if got, want := <-asked, ns+"/one/main limitBytes=4096&previous=true&tailLines=1"; got != want {
		t.Errorf("the kubelet was asked for %s, want %s", got, want)
	}
	if line, whole, err = c.LastLine(t.Context(), id, "main", false); err != nil || len(line) != 4096 || whole {
		t.Errorf("%d bytes of an endless line, whole %v, %v", len(line), whole, err)
	}
	if _, _, err = cl.As(cluster.Identity{Namespace: ns, ServiceAccount: "default"}).LastLine(t.Context(), id, "main", false); err == nil || !strings.Contains(err.Error(), "read the log of Pod") {
		t.Errorf("an account without rights: %v", err)
	}
	if class, _ := fault.ClassOf(err); class != fault.Permanent {
		t.Errorf("class %s", class)
	}
	if _, _, err = c.LastLine(t.Context(), object.ID{Kind: "Pod", Namespace: ns, Name: "../x"}, "main", false); err == nil {
		t.Error("a name that leaves its place was sent")
	}
}
