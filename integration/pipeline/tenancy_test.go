package pipeline

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// tenant is an account of a namespace that may do everything with what is usual
// there, and nothing elsewhere.
const tenant = `apiVersion: v1
kind: ServiceAccount
metadata: {name: deployer, namespace: NS}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer, namespace: NS}
rules:
- {apiGroups: [""], resources: [configmaps, services], verbs: ["*"]}
- {apiGroups: [batch, apps], resources: ["*"], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployer, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects: [{kind: ServiceAccount, name: deployer, namespace: NS}]
`

func multiple(t *testing.T, s *stack.Stack, ns, manifests string) {
	t.Helper()
	for _, manifest := range strings.Split(strings.ReplaceAll(manifests, "NS", ns), "---\n") {
		apply(t, s, ns, manifest)
	}
}

// What a tenant writes is decided by the account it is applied as, however it is
// dressed up; without an account of its own nothing is written at all.
func TestATenantReachesOnlyWhatItsAccountMay(t *testing.T) {
	s := stack.New(t)
	s.Start(t, stack.Options{Settings: "worker: {impersonation: required}\n"})
	ns, victim := s.Kube.Namespace(t), s.Kube.Namespace(t)
	multiple(t, s, ns, tenant)
	multiple(t, s, victim, strings.ReplaceAll(tenant, "deployer", "owner"))
	variables{}.create(t, s, victim, "Secret", "theirs", map[string]any{"password": "of-the-victim"})
	variables{}.create(t, s, ns, "Secret", "unread", map[string]any{"password": "of-the-tenant"})
	elsewhere := "metadata: {name: x, namespace: " + victim + "}\ndata: {a: b}\n"
	other := "apiVersion: v1\nkind: ConfigMap\n" + elsewhere
	hook := func(phase string) string {
		return strings.Replace(other, "metadata: {", "metadata: {annotations: {plumb.dev/hook: "+phase+"}, ", 1) + "---\n" + stack.ConfigMap("own", "x")
	}
	application := "apiVersion: plumb.dev/v1alpha1\nkind: Application\nmetadata: {name: made, namespace: " + victim + "}\nspec: {source: {repo: \"https://example.com/x\"}, serviceAccountName: owner}\n"
	account := func(name string) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) { a.Spec.ServiceAccountName = name }
	}
	attacks := map[string]struct {
		manifest string
		spec     func(*v1alpha1.Application)
		reason   string // empty: ApplyFailed
		says     string
	}{
		"another namespace":                  {manifest: other, says: victim},
		"another namespace in a List":        {manifest: "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: x, namespace: " + victim + "}\n", says: victim},
		"another namespace in a hook":        {manifest: hook("pre-sync"), says: victim},
		"another namespace in a later hook":  {manifest: hook("post-sync"), says: victim},
		"another namespace as a destination": {manifest: goodObject, spec: func(a *v1alpha1.Application) { a.Spec.Destination.Namespace = victim }, says: victim},
		"a namespace of its own": {manifest: goodObject, spec: func(a *v1alpha1.Application) {
			a.Spec.Destination = v1alpha1.Destination{Namespace: "taken-" + ns, CreateNamespace: true}
		}, says: "taken-" + ns},
		"a kind of the cluster":               {manifest: "apiVersion: v1\nkind: Namespace\nmetadata: {name: made-" + ns + "}\n", says: "made-" + ns},
		"rights over everything":              {manifest: "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: x-" + ns + "}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: ServiceAccount, name: deployer, namespace: " + ns + "}]\n", says: "ClusterRoleBinding"},
		"rights in its namespace":             {manifest: "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: x}\nrules: [{apiGroups: [\"*\"], resources: [\"*\"], verbs: [\"*\"]}]\n", says: "Role"},
		"a Secret of another":                 {manifest: "apiVersion: v1\nkind: Secret\nmetadata: {name: theirs, namespace: " + victim + "}\nstringData: {password: stolen}\n", says: victim},
		"an Application of another":           {manifest: application, says: victim},
		"Plumb's own definition":              {manifest: "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: applications.plumb.dev}\nspec: {group: plumb.dev, scope: Namespaced, names: {kind: Application, plural: applications}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}\n", says: "applications.plumb.dev"},
		"the account of another":              {manifest: goodObject, spec: account("owner"), reason: "AccountMissing", says: "owner"},
		"no account":                          {manifest: goodObject, spec: account(""), reason: "AccountMissing", says: "serviceAccountName"},
		"variables that its account may not":  {manifest: goodObject, spec: variablesOf("unread"), reason: "RenderFailed", says: "unread"},
		"variables of another that it is not": {manifest: goodObject, spec: variablesOf("theirs"), reason: "RenderFailed", says: "theirs"},
	}
	files := map[string]string{}
	for sentence, c := range attacks {
		files[slug(sentence)+"/a.yaml"] = c.manifest
	}
	repo := s.Repo(t, "acme/tenant", files)
	for sentence, c := range attacks {
		a := stack.Application(ns, slug(sentence), repo, slug(sentence))
		a.Spec.ServiceAccountName = "deployer"
		if c.spec != nil {
			c.spec(a)
		}
		s.Create(t, a)
		t.Cleanup(func() { s.Forget(a.Key()) })
	}
	before := everything(t, s, victim)
	for sentence, c := range attacks {
		t.Run(sentence, func(t *testing.T) {
			if c.reason == "" {
				c.reason = "ApplyFailed"
			}
			got := s.Failed(t, stack.Application(ns, slug(sentence), repo, "").Key(), c.reason)
			if m := stack.Condition(got, v1alpha1.ConditionReady).Message; !strings.Contains(m, c.says) {
				t.Errorf("the message lacks %q: %s", c.says, m)
			} else {
				t.Log(m)
			}
		})
	}
	if after := everything(t, s, victim); after != before {
		t.Errorf("the victim's namespace changed from\n%s\nto\n%s", before, after)
	}
	for _, name := range []string{"taken-" + ns, "made-" + ns} {
		if _, err := s.Objects.Resource(stack.Namespaces).Get(t.Context(), name, metav1.GetOptions{}); err == nil {
			t.Errorf("namespace %s was made", name)
		}
	}
}

func variablesOf(secret string) func(*v1alpha1.Application) {
	return func(a *v1alpha1.Application) {
		a.Spec.Source.Substitute = &v1alpha1.Substitution{From: []v1alpha1.SubstitutionFrom{{Kind: "Secret", Name: secret}}}
	}
}

// everything is what a namespace holds that an attack may want, with its versions.
func everything(t *testing.T, s *stack.Stack, ns string) string {
	t.Helper()
	var all []string
	for _, resource := range []string{"configmaps", "secrets"} {
		list, err := s.Objects.Resource(stack.ConfigMaps.GroupVersion().WithResource(resource)).Namespace(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list.Items {
			if u.GetName() != "kube-root-ca.crt" {
				all = append(all, u.GetKind()+" "+u.GetName()+" "+u.GetResourceVersion())
			}
		}
	}
	list, err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range list.Items {
		all = append(all, "Application "+u.GetName())
	}
	return strings.Join(all, "\n")
}

// Accounts that are no name of the Application's own namespace are refused at once.
func TestAccountsThatAreNoNameAreRefused(t *testing.T) {
	s := stack.New(t)
	ns := s.Kube.Namespace(t)
	for _, name := range []string{"../x", "kube-system/default", "kube-system:default", "system:serviceaccount:kube-system:default", "system:masters", "x y", "X", "-"} {
		u := parse(t, "apiVersion: plumb.dev/v1alpha1\nkind: Application\nmetadata: {name: x}\nspec: {source: {repo: \"https://example.com/x\"}}\n")
		u.Object["spec"].(map[string]any)["serviceAccountName"] = name
		if _, err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).Create(t.Context(), u, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "serviceAccountName") {
			t.Errorf("account %q: %v", name, err)
		}
	}
}
