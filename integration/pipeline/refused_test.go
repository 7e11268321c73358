package pipeline

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/integration/stack"
)

// Admission, immutability and quota are the API server's to judge: the object
// fails and is named, what does not need it goes on, and nothing is pruned.
func TestRefusalsOfTheServer(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	cases := map[string]struct {
		rule   func(ns string) (resource string, manifest string) // made before the push
		first  string                                             // app/x.yaml at first; may be empty
		second string
		says   []string
	}{
		"a policy that does not admit it": {
			rule: func(ns string) (string, string) {
				return "validatingadmissionpolicies", fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-x-%[1]s}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  validations: [{expression: "object.metadata.name != 'x'", message: "the name x is taken by the law"}]
`, ns)
			},
			second: stack.ConfigMap("x", "one"),
			says:   []string{"ConfigMap", "x", "taken by the law"},
		},
		"a field that cannot change": {
			first:  deployment("x", "example.com/web:1", 0),
			second: strings.ReplaceAll(deployment("x", "example.com/web:1", 0), "{app: x}", "{app: other}"),
			says:   []string{"Deployment", "x", "spec.selector", "immutable"},
		},
		"a quota that is used up": {
			rule: func(ns string) (string, string) {
				return "resourcequotas", "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: few, namespace: " + ns + "}\nspec: {hard: {count/services: \"0\"}}\n"
			},
			second: "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 80}]}\n",
			says:   []string{"Service", "x", "quota"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ns := s.Kube.Namespace(t)
			files := map[string]string{"app/web.yaml": stack.ConfigMap("web", "one"), "app/old.yaml": stack.ConfigMap("old", "one")}
			if c.first != "" {
				files["app/x.yaml"] = c.first
			}
			repo := s.Repo(t, "refusals/"+ns, files)
			a := stack.Application(ns, "web", repo, "app")
			t.Cleanup(func() { s.Forget(a.Key()) })
			s.Create(t, a)
			s.Live(t, a.Key(), head(t, s, a.Key()))
			if c.rule != nil {
				enforce(t, s, ns, c.rule)
			}
			s.Push(t, repo, map[string]string{"app/web.yaml": stack.ConfigMap("web", "two"), "app/x.yaml": c.second, "app/old.yaml": ""})
			got := s.Failed(t, a.Key(), "ApplyFailed")
			for _, want := range c.says {
				if m := got.Status.LastAttempt.Message; !strings.Contains(m, want) {
					t.Errorf("the message does not name %q: %s", want, m)
				}
			}
			s.Data(t, ns, "web", map[string]string{"value": "two"})
			s.Data(t, ns, "old", map[string]string{"value": "one"})
		})
	}
}

// enforce makes a rule, and waits until it is in force.
func enforce(t *testing.T, s *stack.Stack, ns string, rule func(string) (string, string)) {
	t.Helper()
	resource, manifest := rule(ns)
	apply(t, s, ns, manifest)
	if resource == "validatingadmissionpolicies" {
		apply(t, s, ns, fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-x-%[1]s}
spec: {policyName: no-x-%[1]s, validationActions: [Deny]}
`, ns))
	}
	probe := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
	if resource == "resourcequotas" {
		probe = "apiVersion: v1\nkind: Service\nmetadata: {name: probe}\nspec: {ports: [{port: 80}]}\n"
	}
	s.Eventually(t, "the rule is in force", func() error {
		u := parse(t, probe)
		_, err := s.Objects.Resource(stack.ResourceOf(u)).Namespace(ns).Create(t.Context(), u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return fmt.Errorf("it admits the probe")
		}
		return nil
	})
}

func apply(t *testing.T, s *stack.Stack, ns, manifest string) {
	t.Helper()
	u := parse(t, manifest)
	target := s.Objects.Resource(stack.ResourceOf(u)).Namespace(u.GetNamespace())
	if _, err := target.Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if u.GetNamespace() == "" {
		t.Cleanup(func() { _ = target.Delete(t.Context(), u.GetName(), metav1.DeleteOptions{}) })
	}
}

func parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}
