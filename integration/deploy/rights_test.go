package deploy

import (
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/stack"
)

// What the accounts of deploy/kubernetes may do, asked of the API server. {joined}
// has bound deploy/kubernetes/tenant, {other} has not.
func TestRights(t *testing.T) {
	s := stack.New(t)
	install(t, s.Kube, rendered(t, "base"), system)
	joined, other := s.Kube.Namespace(t), s.Kube.Namespace(t)
	install(t, s.Kube, rendered(t, "tenant"), joined)
	aggregated(t, s)

	type right struct{ account, verb, group, resource, namespace string }
	cases := map[string]struct {
		right
		want bool
	}{
		"the worker watches Applications everywhere": {right{"plumb-worker", "watch", "plumb.dev", "applications", ""}, true},
		"it writes their status":                     {right{"plumb-worker", "update", "plumb.dev", "applications/status", other}, true},
		"it writes the status of sets":               {right{"plumb-worker", "update", "plumb.dev", "applicationsets/status", other}, true},
		"it patches sets":                            {right{"plumb-worker", "patch", "plumb.dev", "applicationsets", other}, true},
		"it creates no sets":                         {right{"plumb-worker", "create", "plumb.dev", "applicationsets", joined}, false},
		"it creates none":                            {right{"plumb-worker", "create", "plumb.dev", "applications", joined}, false},
		"it deletes none":                            {right{"plumb-worker", "delete", "plumb.dev", "applications", joined}, false},
		"it tells of them":                           {right{"plumb-worker", "create", "events.k8s.io", "events", other}, true},
		"it acts as accounts of who joined":          {right{"plumb-worker", "impersonate", "", "serviceaccounts", joined}, true},
		"of nobody else":                             {right{"plumb-worker", "impersonate", "", "serviceaccounts", other}, false},
		"least of all of kube-system":                {right{"plumb-worker", "impersonate", "", "serviceaccounts", "kube-system"}, false},
		"as no user":                                 {right{"plumb-worker", "impersonate", "", "users", ""}, false},
		"as no group":                                {right{"plumb-worker", "impersonate", "", "groups", ""}, false},
		"it reads credentials of who joined":         {right{"plumb-worker", "get", "", "secrets", joined}, true},
		"and no others":                              {right{"plumb-worker", "get", "", "secrets", other}, false},
		"it lists none":                              {right{"plumb-worker", "list", "", "secrets", joined}, false},
		"it writes no ConfigMap":                     {right{"plumb-worker", "patch", "", "configmaps", joined}, false},
		"it reads no Deployment":                     {right{"plumb-worker", "get", "apps", "deployments", joined}, false},
		"it makes no tokens":                         {right{"plumb-worker", "create", "", "serviceaccounts/token", joined}, false},
		"it reads no other CRD":                      {right{"plumb-worker", "get", "apiextensions.k8s.io", "customresourcedefinitions", ""}, false},

		"the scanner watches Applications":   {right{"plumb-drift-scanner", "watch", "plumb.dev", "applications", ""}, true},
		"it watches ApplicationSets":         {right{"plumb-drift-scanner", "watch", "plumb.dev", "applicationsets", ""}, true},
		"it watches what they own":           {right{"plumb-drift-scanner", "watch", "apps", "deployments", ""}, true},
		"also what view leaves out":          {right{"plumb-drift-scanner", "watch", "rbac.authorization.k8s.io", "clusterroles", ""}, true},
		"but no Secrets":                     {right{"plumb-drift-scanner", "watch", "", "secrets", ""}, false},
		"it reads credentials of the joined": {right{"plumb-drift-scanner", "get", "", "secrets", joined}, true},
		"it acts as nobody":                  {right{"plumb-drift-scanner", "impersonate", "", "serviceaccounts", joined}, false},
		"it writes no status":                {right{"plumb-drift-scanner", "update", "plumb.dev", "applications/status", joined}, false},
		"it changes nothing":                 {right{"plumb-drift-scanner", "patch", "apps", "deployments", joined}, false},
		"it deletes nothing":                 {right{"plumb-drift-scanner", "delete", "", "configmaps", joined}, false},

		"the receiver sees no Applications":  {right{"plumb-receiver", "list", "plumb.dev", "applications", ""}, false},
		"the receiver reads no Secrets":      {right{"plumb-receiver", "get", "", "secrets", system}, false},
		"the alerter sees no Applications":   {right{"plumb-alerter", "list", "plumb.dev", "applications", ""}, false},
		"the dashboard sees no Applications": {right{"plumb-dashboard", "list", "plumb.dev", "applications", ""}, false},
		"NATS sees no Applications":          {right{"plumb-nats", "list", "plumb.dev", "applications", ""}, false},
	}
	for sentence, c := range cases {
		t.Run(sentence, func(t *testing.T) {
			if got := allowed(t, s, c.account, c.verb, c.group, c.resource, c.namespace); got != c.want {
				t.Errorf("%+v: allowed = %v", c.right, got)
			}
		})
	}
	t.Run("with drift-secrets the scanner watches Secrets", func(t *testing.T) {
		install(t, s.Kube, rendered(t, "drift-secrets"), "")
		s.Eventually(t, "the role is aggregated", func() error {
			return unless(allowed(t, s, "plumb-drift-scanner", "watch", "", "secrets", ""))
		})
		must(t, s.Kube.Clientset(t).RbacV1().ClusterRoles().Delete(t.Context(), "plumb-drift-scanner-secrets", metav1.DeleteOptions{}))
	})
}

// aggregated waits until the controller has filled in the scanner's role.
func aggregated(t *testing.T, s *stack.Stack) {
	t.Helper()
	s.Eventually(t, "the scanner's role is aggregated", func() error {
		return unless(allowed(t, s, "plumb-drift-scanner", "list", "plumb.dev", "applications", "") &&
			allowed(t, s, "plumb-drift-scanner", "list", "", "configmaps", ""))
	})
}

// allowed asks the API server what an account of plumb-system may do.
func allowed(t *testing.T, s *stack.Stack, account, verb, group, resource, namespace string) bool {
	t.Helper()
	resource, sub := cut(resource)
	review, err := s.Kube.Clientset(t).AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   "system:serviceaccount:" + system + ":" + account,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + system, "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: verb, Group: group, Resource: resource, Subresource: sub, Namespace: namespace,
			},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	return review.Status.Allowed
}
