package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// good is what every case has live before its bad input comes.
var good = map[string]string{
	"app/a.yaml":                 stack.ConfigMap("a", "one"),
	"app/b.yaml":                 stack.ConfigMap("b", "one"),
	"overlay/cm.yaml":            stack.ConfigMap("from-kustomize", "one"),
	"overlay/kustomization.yaml": "resources:\n- cm.yaml\n- https://example.com/base?ref=v1\n",
	"chart/Chart.yaml":           "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
	"chart/templates/c.yaml":     "{{ fail \"no value\" }}\n",
}

func TestBadInputChangesNothing(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	cases := map[string]struct {
		push   map[string]string // files of the bad revision; empty content deletes
		spec   string            // or a patch of the Application
		reason string
		says   []string
	}{
		"YAML that cannot be parsed": {
			push:   map[string]string{"app/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b\ndata: {}\n"},
			reason: "RenderFailed", says: []string{"app/b.yaml"},
		},
		"an unknown kind": {
			push:   map[string]string{"app/c.yaml": "apiVersion: example.com/v1\nkind: Unheard\nmetadata: {name: c}\n", "app/a.yaml": stack.ConfigMap("a", "two")},
			reason: "RenderFailed", says: []string{"Unheard"},
		},
		"an object with a wrong field among valid ones": {
			push: map[string]string{
				"app/a.yaml": stack.ConfigMap("a", "two"),
				"app/c.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: c}\nspec: {ports: [{port: eighty}]}\n",
			},
			reason: "RenderFailed", says: []string{"app/c.yaml", "Service", "spec.ports[0].port"},
		},
		"a field that does not exist": {
			push: map[string]string{
				"app/a.yaml": stack.ConfigMap("a", "two"),
				"app/c.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: c}\nspec: {prots: []}\n",
			},
			reason: "RenderFailed", says: []string{"app/c.yaml", "prots"},
		},
		"an empty directory": {
			push:   map[string]string{"app/a.yaml": "", "app/b.yaml": "", "app/readme.md": "nothing\n"},
			reason: "RenderFailed", says: []string{"app"},
		},
		"a path that is missing": {
			spec:   `{"spec":{"source":{"path":"nowhere"}}}`,
			reason: "RenderFailed", says: []string{"nowhere"},
		},
		"a ref that is missing": {
			spec:   `{"spec":{"source":{"ref":"nowhere"}}}`,
			reason: "FetchFailed", says: []string{"nowhere"},
		},
		"a repository that is missing": {
			spec:   `{"spec":{"source":{"repo":"REPO-nowhere"}}}`,
			reason: "FetchFailed", says: []string{"nowhere"},
		},
		"a repository URL of an unwanted kind": {
			spec:   `{"spec":{"source":{"repo":"http://metadata.example.com/latest"}}}`,
			reason: "SourceRefused", says: []string{"spec.source.repo"},
		},
		"a Secret that is missing": {
			spec:   `{"spec":{"source":{"secretRef":{"name":"nowhere"}}}}`,
			reason: "SourceRefused", says: []string{"nowhere"},
		},
		"a kustomization with a remote base": {
			spec:   `{"spec":{"source":{"path":"overlay"}}}`,
			reason: "RenderFailed", says: []string{"overlay/kustomization.yaml", "resources"},
		},
		"a chart that fails to render": {
			spec:   `{"spec":{"source":{"path":"chart"}}}`,
			reason: "RenderFailed", says: []string{"templates/c.yaml", "no value"},
		},
		"a symlink out of the tree": {
			push:   map[string]string{"app/c.yaml": "symlink:/etc/passwd"},
			reason: "SourceRefused", says: []string{"app/c.yaml"},
		},
		"a file of 200 MB": {
			push:   map[string]string{"app/c.yaml": strings.Repeat("# nothing but a long comment, over and over\n", 200<<20/44)},
			reason: "RenderFailed", says: []string{"app/c.yaml"},
		},
		"an account that does not exist": {
			spec:   `{"spec":{"serviceAccountName":"nobody"}}`,
			reason: "AccountMissing", says: []string{"nobody"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "bad/"+ns, good)
			a := stack.Application(ns, "app", repo, "app")
			s.Create(t, a)
			t.Cleanup(func() { s.Forget(a.Key()) })
			s.Live(t, a.Key(), head(t, s, a.Key()))
			before := versions(t, s, ns)
			if c.push != nil {
				s.Push(t, repo, c.push)
			}
			if c.spec != "" {
				s.Patch(t, a.Key(), strings.ReplaceAll(c.spec, "REPO", repo.URL()))
			}
			got := s.Failed(t, a.Key(), c.reason)
			message := stack.Condition(got, v1alpha1.ConditionReady).Message
			for _, want := range c.says {
				if !strings.Contains(message, want) {
					t.Errorf("the message does not name %q: %s", want, message)
				}
			}
			if diff := cmp.Diff(before, versions(t, s, ns)); diff != "" {
				t.Errorf("the cluster changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestAnObjectOfAnotherApplicationIsNotTaken(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "two/"+ns, map[string]string{"one/cm.yaml": stack.ConfigMap("shared", "one"), "two/cm.yaml": stack.ConfigMap("shared", "two"), "two/own.yaml": stack.ConfigMap("own", "two")})
	one, two := stack.Application(ns, "one", repo, "one"), stack.Application(ns, "two", repo, "two")
	for _, a := range []*v1alpha1.Application{one, two} {
		t.Cleanup(func() { s.Forget(a.Key()) })
	}
	s.Create(t, one)
	s.Live(t, one.Key(), head(t, s, one.Key()))
	s.Create(t, two)
	got := s.Failed(t, two.Key(), "OwnershipConflict")
	for _, want := range []string{ns + "/one", "ConfigMap", "shared"} {
		if message := stack.Condition(got, v1alpha1.ConditionReady).Message; !strings.Contains(message, want) {
			t.Errorf("the message does not name %q: %s", want, message)
		}
	}
	s.Data(t, ns, "shared", map[string]string{"value": "one"})
	if owned := s.Owned(t, two.Key(), ns); len(owned) != 0 {
		t.Errorf("the refused revision wrote %v", owned)
	}
}

func TestWrongCredentialsAreTold(t *testing.T) {
	s := stack.Guarded(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "guarded/"+ns, good)
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "git"},
		"stringData": map[string]any{"username": "somebody", "password": "hunter-two-canary"},
	}}
	if _, err := s.Objects.Resource(stack.Secrets).Namespace(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	a := stack.Application(ns, "app", repo, "app")
	a.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "git"}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	got := s.Failed(t, a.Key(), "FetchFailed")
	for _, want := range []string{repo.URL(), "spec.source.secretRef"} {
		if message := stack.Condition(got, v1alpha1.ConditionReady).Message; !strings.Contains(message, want) {
			t.Errorf("the message does not name %q: %s", want, message)
		}
	}
	if there := versions(t, s, ns); len(there) != 0 {
		t.Errorf("the cluster holds %v", there)
	}
	if status := fmt.Sprintf("%+v", got.Status); strings.Contains(status, "hunter-two-canary") || strings.Contains(s.Logs(), "hunter-two-canary") {
		t.Error("the password stands in the status or in a log")
	}
	patch := fmt.Sprintf(`{"stringData":{"username":%q,"password":%q}}`, stack.GitUser, stack.GitPassword)
	s.PatchObject(t, stack.Secrets, ns, "git", patch)
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"2"}}}`)
	s.Live(t, a.Key(), head(t, s, a.Key()))
}

// versions are the resourceVersions of all ConfigMaps and Services of a
// namespace that somebody owns.
func versions(t *testing.T, s *stack.Stack, ns string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, kind := range []schema.GroupVersionResource{stack.ConfigMaps, stack.Services} {
		list, err := s.Objects.Resource(kind).Namespace(ns).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.OwnerLabel})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list.Items {
			found[kind.Resource+"/"+u.GetName()] = u.GetResourceVersion()
		}
	}
	return found
}
