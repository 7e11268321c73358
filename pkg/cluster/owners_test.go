package cluster_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fields"
	"github.com/plumb-gitops/plumb/pkg/object"
)

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web, tier: front}, annotations: {note: old}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "nginx:1", env: [{name: MODE, value: a}, {name: DEBUG, value: "1"}]}
      - {name: helper, image: "helper:1"}
`

// trimmed is web without one of everything.
const trimmed = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "nginx:1", env: [{name: MODE, value: a}]}
`

// somebody are other clients of the API server.
type somebody struct {
	t           *testing.T
	deployments dynamic.ResourceInterface
}

func others(t *testing.T, namespace string) somebody {
	t.Helper()
	client, err := dynamic.NewForConfig(kubetest.Start(t).Config(t))
	if err != nil {
		t.Fatal(err)
	}
	return somebody{t, client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(namespace)}
}

// creates does as kubectl apply on the client's side does: the annotation and an update.
func (s somebody) creates(manager, manifest string, lastApplied bool) {
	s.t.Helper()
	u := manifests(s.t, manifest)[0].Unstructured()
	if lastApplied {
		whole, err := json.Marshal(u.Object)
		if err != nil {
			s.t.Fatal(err)
		}
		annotations := u.GetAnnotations()
		annotations["kubectl.kubernetes.io/last-applied-configuration"] = string(whole)
		u.SetAnnotations(annotations)
	}
	if _, err := s.deployments.Create(s.t.Context(), u, metav1.CreateOptions{FieldManager: manager}); err != nil {
		s.t.Fatal(err)
	}
}

func (s somebody) applies(manager, manifest string) {
	s.t.Helper()
	u := manifests(s.t, manifest)[0].Unstructured()
	if _, err := s.deployments.Apply(s.t.Context(), "web", u, metav1.ApplyOptions{FieldManager: manager, Force: true}); err != nil {
		s.t.Fatal(err)
	}
}

func (s somebody) patches(manager, patch string, subresources ...string) {
	s.t.Helper()
	if _, err := s.deployments.Patch(s.t.Context(), "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}, subresources...); err != nil {
		s.t.Fatal(err)
	}
}

// summary is what the tests look at.
func summary(u *unstructured.Unstructured) map[string]any {
	annotations := map[string]string{}
	for key, value := range u.GetAnnotations() {
		if !strings.HasPrefix(key, "deployment.kubernetes.io/") {
			annotations[key] = value
		}
	}
	out := map[string]any{"labels": u.GetLabels(), "annotations": annotations}
	out["replicas"], _, _ = unstructured.NestedFieldNoCopy(u.Object, "spec", "replicas")
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	var names []string
	for _, c := range containers {
		env, _, _ := unstructured.NestedSlice(c.(map[string]any), "env")
		names = append(names, c.(map[string]any)["name"].(string))
		for _, e := range env {
			names = append(names, "env "+e.(map[string]any)["name"].(string))
		}
	}
	out["containers"] = names
	return out
}

func TestTakeover(t *testing.T) {
	tests := map[string]struct {
		before      func(somebody)
		replicas    int64
		labels      map[string]string
		annotations map[string]string
		owners      []string // who stays beside Plumb
	}{
		"of kubectl apply, with its annotation": {
			before:   func(s somebody) { s.creates("kubectl-client-side-apply", web, true) },
			replicas: 1,
		},
		"of kubectl apply on the server's side": {
			before:   func(s somebody) { s.applies("kubectl", web) },
			replicas: 1,
		},
		"of Argo CD": {
			before:   func(s somebody) { s.applies("argocd-controller", web) },
			replicas: 1,
		},
		"of Helm and of Argo CD over it": {
			before:   func(s somebody) { s.creates("helm", web, false); s.applies("argocd-controller", web) },
			replicas: 1,
		},
		"of Flux, that applies and updates": {
			before: func(s somebody) {
				s.applies("kustomize-controller", web)
				s.patches("kustomize-controller", `{"metadata":{"labels":{"more":"x"}}}`)
			},
			replicas: 1,
		},
		"of what there was before managed fields": {
			before: func(s somebody) {
				s.creates("anything", web, true)
				s.patches("anything", `{"metadata":{"managedFields":[{}]}}`)
			},
			replicas: 1,
		},
		"not of an autoscaler": {
			before: func(s somebody) {
				s.creates("kubectl-client-side-apply", web, true)
				s.patches("kube-controller-manager", `{"spec":{"replicas":7}}`, "scale")
			},
			replicas: 7, owners: []string{"kube-controller-manager/scale"},
		},
		"not of another controller": {
			before: func(s somebody) {
				s.creates("kubectl-client-side-apply", web, true)
				s.patches("istio", `{"metadata":{"labels":{"mesh":"on"}}}`)
			},
			replicas: 1, labels: map[string]string{"mesh": "on"}, owners: []string{"istio"},
		},
		"not of a person's edit": {
			before: func(s somebody) {
				s.creates("kubectl-create", web, false)
				s.patches("kubectl-edit", `{"metadata":{"annotations":{"why":"incident"}}}`)
			},
			replicas: 1, annotations: map[string]string{"why": "incident"}, owners: []string{"kubectl-edit"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			namespace := kubetest.Start(t).Namespace(t)
			c, _ := own(t)
			o := in(namespace, manifests(t, trimmed)[0])
			tt.before(others(t, namespace))
			read := func() *unstructured.Unstructured {
				live, err := c.Get(t.Context(), o.ID(), "v1")
				if err != nil || live == nil {
					t.Fatalf("got %v, %v", live, err)
				}
				return live
			}
			dry, err := c.Apply(t.Context(), o, cluster.ApplyOptions{Takeover: read(), DryRun: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Apply(t.Context(), o, cluster.ApplyOptions{Takeover: read()}); err != nil {
				t.Fatal(err)
			}
			live := read()
			want := map[string]any{"labels": map[string]string{"app": "web"}, "annotations": map[string]string{}, "replicas": tt.replicas, "containers": []string{"web", "env MODE"}}
			maps.Copy(want["labels"].(map[string]string), tt.labels)
			maps.Copy(want["annotations"].(map[string]string), tt.annotations)
			if diff := cmp.Diff(want, summary(live)); diff != "" {
				t.Error("after the apply", diff)
			}
			if diff := cmp.Diff(want, summary(dry.Unstructured)); diff != "" {
				t.Error("in the dry run", diff)
			}
			if diff := cmp.Diff(tt.owners, stayed(live)); diff != "" {
				t.Error("owners", diff)
			}
			if fields.NeedsTakeover(live) {
				t.Error("there is still something to take over")
			}
		})
	}
}

// stayed are the managers beside Plumb and the deployment controller.
func stayed(u *unstructured.Unstructured) []string {
	var out []string
	for _, e := range u.GetManagedFields() {
		name := e.Manager
		if e.Subresource != "" {
			name += "/" + e.Subresource
		}
		if name != "plumb" && e.Subresource != "status" && !strings.Contains(string(e.FieldsV1.GetRawBytes()), "deployment.kubernetes.io") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// TestTakeoverOfABusyObject: somebody writes between the read and the takeover.
func TestTakeoverOfABusyObject(t *testing.T) {
	namespace := kubetest.Start(t).Namespace(t)
	g := through(t)
	c := open(t, g.kubeconfig).As(cluster.Identity{})
	o := in(namespace, manifests(t, trimmed)[0])
	s := others(t, namespace)
	s.creates("kubectl-client-side-apply", web, true)
	var live *unstructured.Unstructured
	eventually(t, func() (err error) { // the deployment controller has written, and lets it be
		if live, err = c.Get(t.Context(), o.ID(), "v1"); err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		if made, _, _ := unstructured.NestedInt64(live.Object, "status", "replicas"); made != 2 || len(conditions) != 2 {
			return errors.New("it has not done with it")
		}
		return nil
	})
	meddle := 0
	g.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Content-Type") == string(types.JSONPatchType) && meddle > 0 {
			meddle--
			s.patches("istio", `{"metadata":{"labels":{"n":"`+strconv.Itoa(meddle)+`"}}}`)
		}
		return false
	})
	t.Run("twice", func(t *testing.T) {
		meddle = 2
		applied, err := c.Apply(t.Context(), o, cluster.ApplyOptions{Takeover: live, UID: live.GetUID()})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"istio"}, stayed(applied.Unstructured)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("without end", func(t *testing.T) {
		s.applies("argocd-controller", web)
		live, err := c.Get(t.Context(), o.ID(), "v1")
		if err != nil {
			t.Fatal(err)
		}
		meddle = 100
		if _, err := c.Apply(t.Context(), o, cluster.ApplyOptions{Takeover: live}); !errors.Is(err, cluster.ErrChanged) {
			t.Errorf("got %v", err)
		}
	})
}

func TestConflicts(t *testing.T) {
	namespace := kubetest.Start(t).Namespace(t)
	g := through(t)
	c := open(t, g.kubeconfig).As(cluster.Identity{})
	o := in(namespace, manifests(t, web)[0])
	s := others(t, namespace)
	if _, err := c.Apply(t.Context(), o, cluster.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	g.requests()
	t.Run("none, one request", func(t *testing.T) {
		applied, err := c.Apply(t.Context(), o, cluster.ApplyOptions{})
		if err != nil || applied.Losers != nil || len(g.requests()) != 1 {
			t.Errorf("got %v, %v", applied.Losers, err)
		}
	})
	t.Run("the losers are named, for one request more", func(t *testing.T) {
		s.patches("kubectl-edit", `{"metadata":{"labels":{"tier":"back"}},"spec":{"template":{"spec":{"dnsPolicy":"Default"}}}}`)
		s.patches("autoscaler", `{"spec":{"replicas":9}}`, "scale")
		applied, err := c.Apply(t.Context(), o, cluster.ApplyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := []cluster.Loser{
			{Manager: "autoscaler/scale", Fields: []string{".spec.replicas"}},
			{Manager: "kubectl-edit", Fields: []string{".metadata.labels.tier"}},
		}
		if diff := cmp.Diff(want, applied.Losers); diff != "" {
			t.Error(diff)
		}
		if n := len(g.requests()); n != 2 {
			t.Errorf("%d requests", n)
		}
		if replicas, _, _ := unstructured.NestedInt64(applied.Object, "spec", "replicas"); replicas != 2 {
			t.Errorf("%d replicas", replicas)
		}
	})
	t.Run("with the right uid it is no replacement", func(t *testing.T) {
		s.patches("autoscaler", `{"spec":{"replicas":9}}`, "scale")
		live, err := c.Get(t.Context(), o.ID(), "v1")
		if err != nil {
			t.Fatal(err)
		}
		if applied, err := c.Apply(t.Context(), o, cluster.ApplyOptions{UID: live.GetUID()}); err != nil || len(applied.Losers) != 1 {
			t.Errorf("got %v, %v", applied.Losers, err)
		}
	})
	t.Run("a guard stops the second write", func(t *testing.T) {
		s.patches("autoscaler", `{"spec":{"replicas":9}}`, "scale")
		lost := errors.New("the lease is lost")
		_, err := c.Apply(t.Context(), o, cluster.ApplyOptions{Guard: func() error { return lost }})
		if !errors.Is(err, lost) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of an object that was replaced", func(t *testing.T) {
		_, err := c.Apply(t.Context(), o, cluster.ApplyOptions{UID: "00000000-0000-0000-0000-000000000000"})
		if !errors.Is(err, cluster.ErrReplaced) {
			t.Errorf("got %v", err)
		}
		_, err = c.Apply(t.Context(), o.With(func(u *unstructured.Unstructured) { u.SetName("absent") }), cluster.ApplyOptions{UID: "x"})
		if !errors.Is(err, cluster.ErrReplaced) {
			t.Errorf("got %v", err)
		}
	})
}

func TestConflictOfASecretNamesNoValue(t *testing.T) {
	kube := kubetest.Start(t)
	namespace := kube.Namespace(t)
	c, _ := own(t)
	o := in(namespace, object.New(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "key"}, "stringData": map[string]any{"token": "canary-a"},
	}}, "a.yaml", 1))
	if _, err := c.Apply(t.Context(), o, cluster.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := kube.Clientset(t).CoreV1().Secrets(namespace).Patch(t.Context(), "key", types.MergePatchType, []byte(`{"stringData":{"token":"canary-b"}}`), metav1.PatchOptions{FieldManager: "thief"})
	if err != nil {
		t.Fatal(err)
	}
	applied, err := c.Apply(t.Context(), o, cluster.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]cluster.Loser{{Manager: "thief", Fields: []string{".data.token"}}}, applied.Losers); diff != "" {
		t.Error(diff)
	}
}
