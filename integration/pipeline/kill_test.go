package pipeline

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/failpoint"
)

// TestAWorkerKilledAnywhere kills a worker at each point of an attempt that
// changes, adds and prunes objects in all stages, and lets another take over.
func TestAWorkerKilledAnywhere(t *testing.T) {
	s := stack.New(t)
	for _, point := range failpoint.All() {
		t.Run(string(point), func(t *testing.T) { killAt(t, s, point) })
	}
}

func killAt(t *testing.T, s *stack.Stack, point failpoint.Point) {
	ns := s.Kube.Namespace(t)
	before := tree(ns, map[string]string{"keep": "same", "change": "old", "drop": "x"}, "")
	repo := s.Repo(t, "kill/"+ns, before)
	a := stack.Application(ns, "app", repo, "app")
	foreign := plant(t, s, ns)

	first := s.Start(t, stack.Options{})
	s.Create(t, a)
	old := s.Live(t, a.Key(), head(t, s, a.Key()))
	first.Kill()

	victim := s.Start(t, stack.Options{Failpoint: point, Action: "kill"})
	after := tree(ns, map[string]string{"keep": "same", "change": "new", "add": "y"}, "second")
	revision := s.Push(t, repo, with(after, "app/drop.yaml", ""))
	s.AwaitEnd(t, victim)
	if !victim.Reached() {
		t.Fatal("the worker ended elsewhere than at the failpoint")
	}
	heir := s.Start(t, stack.Options{})
	got := s.Live(t, a.Key(), revision)
	heir.Kill()

	want := map[string]map[string]string{"keep": {"value": "same"}, "change": {"value": "new"}, "add": {"value": "y"}}
	if diff := cmp.Diff(want, s.Owned(t, a.Key(), ns)); diff != "" {
		t.Errorf("objects in the cluster (-want +got):\n%s", diff)
	}
	checkInventory(t, s, got)
	neverPruned(t, s, old, got)
	untouched(t, s, foreign)
	remove(t, s, a.Key())
}

// tree is a source with objects of all three stages: a CRD, ConfigMaps, and an
// admission policy that nothing binds.
func tree(ns string, maps map[string]string, description string) map[string]string {
	files := map[string]string{
		"app/crd.yaml": fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.%[1]s.example.com}
spec:
  group: %[1]s.example.com
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, description: "d%[2]s", x-kubernetes-preserve-unknown-fields: true}}
`, ns, description),
		"app/policy.yaml": fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: policy-%[1]s}
spec:
  matchConstraints: {resourceRules: [{apiGroups: ["%[1]s.example.com"], apiVersions: [v1], operations: [CREATE], resources: [things]}]}
  validations: [{expression: "true", message: "m%[2]s"}]
`, ns, description),
		"app/thing.yaml": fmt.Sprintf("apiVersion: %s.example.com/v1\nkind: Thing\nmetadata: {name: one}\ncolour: c%s\n", ns, description),
	}
	for name, value := range maps {
		files["app/"+name+".yaml"] = stack.ConfigMap(name, value)
	}
	return files
}

func with(files map[string]string, name, content string) map[string]string {
	files[name] = content
	return files
}

// plant leaves an object of somebody else in the namespace.
func plant(t *testing.T, s *stack.Stack, ns string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "foreign"}, "data": map[string]any{"of": "somebody"},
	}}
	u, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Create(t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func untouched(t *testing.T, s *stack.Stack, u *unstructured.Unstructured) {
	t.Helper()
	now, err := s.Objects.Resource(stack.ConfigMaps).Namespace(u.GetNamespace()).Get(t.Context(), u.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if now.GetResourceVersion() != u.GetResourceVersion() {
		t.Errorf("ConfigMap %s of somebody else was changed", u.GetName())
	}
}

// head waits until an Application was applied and returns the revision.
func head(t *testing.T, s *stack.Stack, key app.Key) string {
	t.Helper()
	return s.Await(t, key, "applied", func(a *v1alpha1.Application) error {
		if a.Status.Revision == "" {
			return fmt.Errorf("no revision is applied")
		}
		return nil
	}).Status.Revision
}

// checkInventory compares what the status says is owned with what is there.
func checkInventory(t *testing.T, s *stack.Stack, a *v1alpha1.Application) {
	t.Helper()
	want := map[string]bool{
		"/ConfigMap/" + a.Namespace + "/keep": true, "/ConfigMap/" + a.Namespace + "/change": true, "/ConfigMap/" + a.Namespace + "/add": true,
		"apiextensions.k8s.io/CustomResourceDefinition//things." + a.Namespace + ".example.com": true,
		"admissionregistration.k8s.io/ValidatingAdmissionPolicy//policy-" + a.Namespace:         true,
		a.Namespace + ".example.com/Thing/" + a.Namespace + "/one":                              true,
	}
	got := map[string]bool{}
	for _, e := range a.Status.Inventory.Entries {
		got[e.ID] = e.UID != "" && e.Digest != ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inventory, and whether each entry is settled (-want +got):\n%s", diff)
	}
	thing := schema.GroupVersionResource{Group: a.Namespace + ".example.com", Version: "v1", Resource: "things"}
	u, err := s.Objects.Resource(thing).Namespace(a.Namespace).Get(t.Context(), "one", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if u.Object["colour"] != "csecond" {
		t.Errorf("the custom resource has colour %v", u.Object["colour"])
	}
}

// neverPruned fails when an object that Git held all the time is another one now:
// then it was deleted in between, and made again.
func neverPruned(t *testing.T, s *stack.Stack, old, now *v1alpha1.Application) {
	t.Helper()
	uids := map[string]string{}
	for _, e := range now.Status.Inventory.Entries {
		uids[e.ID] = e.UID
	}
	for _, e := range old.Status.Inventory.Entries {
		if uid, held := uids[e.ID]; held && uid != e.UID {
			t.Errorf("%s was pruned in between, though Git holds it", e.ID)
		}
	}
	list, err := s.Objects.Resource(stack.ConfigMaps).Namespace(now.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.OwnerLabel + "=" + v1alpha1.OwnerHash(now.Key())})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range list.Items {
		if id := "/ConfigMap/" + u.GetNamespace() + "/" + u.GetName(); uids[id] != string(u.GetUID()) {
			t.Errorf("the inventory holds another %s than the cluster", id)
		}
	}
}

// remove deletes an Application without a worker, so that it bothers no other test.
func remove(t *testing.T, s *stack.Stack, key app.Key) {
	t.Helper()
	s.Patch(t, key, `{"metadata":{"finalizers":null}}`)
	err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(key.Namespace).Delete(t.Context(), key.Name, metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
}
