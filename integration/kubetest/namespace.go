package kubetest

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config is an administrator's configuration for client-go.
func (k *Kube) Config(t testing.TB) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", k.Kubeconfig())
	if err != nil {
		t.Fatalf("kubetest: %v", err)
	}
	config.QPS = -1
	return config
}

// Clientset is an administrator's client, for looking behind the code under test.
func (k *Kube) Clientset(t testing.TB) *kubernetes.Clientset {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(k.Config(t))
	if err != nil {
		t.Fatalf("kubetest: %v", err)
	}
	return clientset
}

// Namespace makes a namespace for one test and returns its name. It is deleted
// after the test, without waiting.
func (k *Kube) Namespace(t testing.TB) string {
	t.Helper()
	namespaces := k.Clientset(t).CoreV1().Namespaces()
	made, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("kubetest: make a namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := namespaces.Delete(context.Background(), made.Name, metav1.DeleteOptions{}); err != nil {
			t.Logf("kubetest: delete namespace %s: %v", made.Name, err)
		}
	})
	return made.Name
}
