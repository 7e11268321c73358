package deploy

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/stack"
)

// deployer makes an account of a namespace that may write ConfigMaps there.
func deployer(t *testing.T, s *stack.Stack, namespace string) {
	t.Helper()
	account(t, s, namespace, "deployer")
	kube := s.Kube.Clientset(t).RbacV1()
	_, err := kube.Roles(namespace).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "deployer"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = kube.RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "deployer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "deployer"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "deployer"}},
	}, metav1.CreateOptions{})
	must(t, err)
}

// account makes an account that may do nothing.
func account(t *testing.T, s *stack.Stack, namespace, name string) {
	t.Helper()
	_, err := s.Kube.Clientset(t).CoreV1().ServiceAccounts(namespace).
		Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(t, err)
}
