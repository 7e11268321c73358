package kubetest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kubelet makes a node for one test whose pods have logs, and returns its name. A
// pod gets there by spec.nodeName alone. log answers what the API server asks the
// kubelet for: <namespace>/<pod>/<container> and the parameters of the request.
func (k *Kube) Kubelet(t testing.TB, log func(container string, parameters url.Values) string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, log(r.PathValue("namespace")+"/"+r.PathValue("pod")+"/"+r.PathValue("container"), r.URL.Query()))
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatalf("kubetest: %v", err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatalf("kubetest: %v", err)
	}
	nodes := k.Clientset(t).CoreV1().Nodes()
	node, err := nodes.Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "logs-"}, Spec: corev1.NodeSpec{Unschedulable: true},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: host}, {Type: corev1.NodeInternalIP, Address: host}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(number)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("kubetest: make a node: %v", err)
	}
	t.Cleanup(func() {
		if err := nodes.Delete(context.Background(), node.Name, metav1.DeleteOptions{}); err != nil {
			t.Logf("kubetest: delete node %s: %v", node.Name, err)
		}
	})
	return node.Name
}
