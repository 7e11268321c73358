package kubetest_test

import (
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

func TestRestartKeepsAddressAndData(t *testing.T) {
	kube := kubetest.Start(t)
	before := kube.Config(t).Host
	namespace := kube.Namespace(t)

	kube.Restart(t)

	if after := kube.Config(t).Host; after != before {
		t.Errorf("the address changed from %s to %s", before, after)
	}
	if _, err := kube.Clientset(t).CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{}); err != nil {
		t.Errorf("read the namespace made before: %v", err)
	}
}
