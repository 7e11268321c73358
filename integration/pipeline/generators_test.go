package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/config"
)

// A matrix pairs this cluster, by its name and labels, with what files say; a list
// stands beside it.
func TestASetOfSeveralGenerators(t *testing.T) {
	s := stack.New(t)
	s.Work(t, func(c *config.Config) { c.ClusterLabels = map[string]string{"region": "eu"} })
	ns := s.Kube.Namespace(t)
	files := apps("shop", "search", "extra")
	files["tenants/eu.yaml"], files["tenants/us.yaml"] = "{tenant: shop}\n---\n{tenant: search}\n", "{tenant: other}\n"
	repo := s.Repo(t, "acme/config", files)
	set := makeSet(t, s, ns, "all", fmt.Sprintf(`apiVersion: plumb.dev/v1alpha1
kind: ApplicationSet
metadata: {name: all, namespace: %s}
spec:
  generators:
  - matrix:
      generators:
      - clusters: {selector: {region: eu}}
      - gitFiles: {repo: %q, ref: main, files: ["tenants/{{ .cluster.labels.region }}.yaml"]}
  - clusters: {selector: {region: us}}
  - list: {elements: [{tenant: extra}]}
  template:
    metadata: {name: "{{ .tenant }}"}
    spec:
      source: {repo: %q, ref: main, path: "apps/{{ .tenant }}"}
`, ns, repo.URL(), repo.URL()))
	wantNames(t, s, ns, "extra", "search", "shop")
	awaitSet(t, s, set, "Succeeded", "")
	sha := s.Push(t, repo, map[string]string{"tenants/eu.yaml": "{tenant: shop}\n"})
	awaitSet(t, s, set, "Succeeded", sha)
	wantNames(t, s, ns, "extra", "shop")
	sha = s.Push(t, repo, map[string]string{"tenants/eu.yaml": "{tenant: shop}\n---\n{name: nobody}\n"})
	failed := awaitSet(t, s, set, "GenerateFailed", sha)
	if message := meta.FindStatusCondition(failed.Status.Conditions, v1alpha1.ConditionReady).Message; !strings.Contains(message, "tenants/eu.yaml[1]") || !strings.Contains(message, "tenant") {
		t.Errorf("message %q does not name the file's document and the parameter", message)
	}
	wantNames(t, s, ns, "extra", "shop")
}

// The set's Applications are written as the account that it names, with its rights.
func TestASetWritesAsItsAccount(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", apps("a", "b", "c"))
	apply(t, s, ns, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: maker, namespace: "+ns+"}\n")
	set := makeSet(t, s, ns, "all", setOf(ns, "all", repo, "  serviceAccountName: maker\n"))
	got := awaitSet(t, s, set, "ApplyFailed", "")
	message := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady).Message
	if !strings.Contains(message, "system:serviceaccount:"+ns+":maker") || len(namesOf(t, s, ns)) > 0 {
		t.Errorf("message %q, Applications %v", message, namesOf(t, s, ns))
	}
	apply(t, s, ns, `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: maker, namespace: `+ns+`}
rules: [{apiGroups: [plumb.dev], resources: [applications], verbs: [create, patch, delete]}]
`)
	apply(t, s, ns, `apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: maker, namespace: `+ns+`}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: maker}
subjects: [{kind: ServiceAccount, name: maker, namespace: `+ns+`}]
`)
	awaitSet(t, s, set, "Succeeded", "")
	wantNames(t, s, ns, "a", "b", "c")
	sha := s.Push(t, repo, map[string]string{"apps/b/cm.yaml": ""})
	awaitSet(t, s, set, "Succeeded", sha)
	wantNames(t, s, ns, "a", "c")
}
