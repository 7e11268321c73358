package cluster_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

const configMap = `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: "1"}}`

func TestApplyIsIdempotent(t *testing.T) {
	c, _ := own(t)
	o := in(kubetest.Start(t).Namespace(t), manifests(t, configMap)[0])
	first := apply(t, c, o)
	again := apply(t, c, o)
	if first.GetResourceVersion() != again.GetResourceVersion() {
		t.Errorf("the second apply wrote: %s, then %s", first.GetResourceVersion(), again.GetResourceVersion())
	}
	if cluster.FieldsHash(first) == "" || cluster.FieldsHash(first) != cluster.FieldsHash(again) {
		t.Errorf("fields hash %q, then %q", cluster.FieldsHash(first), cluster.FieldsHash(again))
	}
}

func apply(t *testing.T, c *cluster.Client, o object.Object) *unstructured.Unstructured {
	t.Helper()
	live, err := c.Apply(t.Context(), o, cluster.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return live.Unstructured
}

// TestFieldsHash: it moves with edits of what Git owns and with nothing else.
func TestFieldsHash(t *testing.T) {
	kube := kubetest.Start(t)
	c, _ := own(t)
	const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web:1}]}}`
	cases := map[string]struct {
		patch       string
		subresource string
		moves       bool
	}{
		"a foreign annotation":     {patch: `{"metadata":{"annotations":{"other":"x"}}}`},
		"a foreign field":          {patch: `{"spec":{"minReadySeconds":3}}`},
		"status":                   {patch: `{"status":{"observedGeneration":7}}`, subresource: "status"},
		"an owned field":           {patch: `{"spec":{"replicas":1}}`, moves: true},
		"an owned field in a list": {patch: `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:2"}]}}}}`, moves: true},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			namespace := kube.Namespace(t)
			before := cluster.FieldsHash(apply(t, c, in(namespace, manifests(t, deployment)[0])))
			var subresources []string
			if tc.subresource != "" {
				subresources = []string{tc.subresource}
			}
			_, err := kube.Clientset(t).AppsV1().Deployments(namespace).Patch(t.Context(), "web", types.StrategicMergePatchType,
				[]byte(tc.patch), metav1.PatchOptions{FieldManager: "somebody"}, subresources...)
			if err != nil {
				t.Fatal(err)
			}
			live, err := c.Get(t.Context(), object.ID{Group: "apps", Kind: "Deployment", Namespace: namespace, Name: "web"}, "v1")
			if err != nil {
				t.Fatal(err)
			}
			if moved := cluster.FieldsHash(live) != before; moved != tc.moves {
				t.Errorf("moved: %t, want %t", moved, tc.moves)
			}
		})
	}
}

func TestStringDataIsOwned(t *testing.T) {
	kube := kubetest.Start(t)
	c, _ := own(t)
	namespace := kube.Namespace(t)
	before := apply(t, c, in(namespace, manifests(t, `{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: "1", b: "2"}}`)[0]))
	if diff := cmp.Diff(map[string]any{"a": "MQ==", "b": "Mg=="}, before.Object["data"]); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	_, err := kube.Clientset(t).CoreV1().Secrets(namespace).Patch(t.Context(), "s", types.MergePatchType,
		[]byte(`{"data":{"a":"eA=="}}`), metav1.PatchOptions{FieldManager: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	edited, err := c.Get(t.Context(), object.ID{Kind: "Secret", Namespace: namespace, Name: "s"}, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if cluster.FieldsHash(edited) == cluster.FieldsHash(before) {
		t.Error("an edit of a value goes unnoticed")
	}
	after := apply(t, c, in(namespace, manifests(t, `{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: "1"}}`)[0]))
	if diff := cmp.Diff(map[string]any{"a": "MQ=="}, after.Object["data"]); diff != "" {
		t.Errorf("data after b was removed in Git (-want +got):\n%s", diff)
	}
}

func TestStringDataWinsOverData(t *testing.T) {
	c, _ := own(t)
	o := in(kubetest.Start(t).Namespace(t), manifests(t, `{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: eA==, b: eQ==}, stringData: {a: "1"}}`)[0])
	if diff := cmp.Diff(map[string]any{"a": "MQ==", "b": "eQ=="}, apply(t, c, o).Object["data"]); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

func TestApplyOfAnExportedManifest(t *testing.T) {
	c, _ := own(t)
	o := in(kubetest.Start(t).Namespace(t), manifests(t, `
apiVersion: v1
kind: ConfigMap
metadata:
  name: exported
  uid: 00000000-0000-0000-0000-000000000000
  resourceVersion: "1"
  creationTimestamp: null
  generation: 4
  managedFields: [{manager: kubectl}]
`)[0])
	apply(t, c, o)
	apply(t, c, o)
}

func TestApplyGuardedByUID(t *testing.T) {
	c, _ := own(t)
	o := in(kubetest.Start(t).Namespace(t), manifests(t, configMap)[0])
	guarded := func(uid types.UID) error {
		_, err := c.Apply(t.Context(), o, cluster.ApplyOptions{UID: uid})
		return err
	}
	if err := guarded("00000000-0000-0000-0000-000000000000"); !errors.Is(err, cluster.ErrReplaced) {
		t.Errorf("of an object that is not there: %v", err)
	}
	live := apply(t, c, o)
	if err := guarded(live.GetUID()); err != nil {
		t.Errorf("of the same object: %v", err)
	}
	if err := guarded("00000000-0000-0000-0000-000000000000"); !errors.Is(err, cluster.ErrReplaced) {
		t.Errorf("of another object: %v", err)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	c, _ := own(t)
	o := in(kubetest.Start(t).Namespace(t), manifests(t, configMap)[0])
	if _, err := c.Apply(t.Context(), o, cluster.ApplyOptions{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if live, err := c.Get(t.Context(), o.ID(), "v1"); live != nil || err != nil {
		t.Errorf("after a dry run: %v, %v", live, err)
	}
}

func TestApplyErrors(t *testing.T) {
	kube := kubetest.Start(t)
	c, _ := own(t)
	namespace := kube.Namespace(t)
	for _, o := range manifests(t, `
{apiVersion: v1, kind: Secret, metadata: {name: sealed}, immutable: true, stringData: {k: hunter2}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: fixed}, spec: {replicas: 0, selector: {matchLabels: {a: b}},
  template: {metadata: {labels: {a: b, c: d}}, spec: {containers: [{name: c, image: i}]}}}}
`) {
		apply(t, c, in(namespace, o))
	}
	cases := map[string]struct {
		manifest  string
		namespace string
		class     fault.Class
		is        error
		want      string
	}{
		"an unknown kind": {manifest: `{apiVersion: example.com/v1, kind: Nothing, metadata: {name: a}}`,
			class: fault.Permanent, is: cluster.ErrUnknownKind, want: "find kind Nothing of example.com/v1"},
		"an unknown version": {manifest: `{apiVersion: apps/v7, kind: Deployment, metadata: {name: a}}`,
			class: fault.Permanent, is: cluster.ErrUnknownKind, want: "find kind Deployment of apps/v7"},
		"a group that climbs": {manifest: `{apiVersion: ../v1, kind: Deployment, metadata: {name: a}}`,
			class: fault.Permanent, is: cluster.ErrUnknownKind, want: "find kind Deployment"},
		"a name that climbs": {manifest: `{apiVersion: v1, kind: ConfigMap, metadata: {name: ../../secrets/a}}`,
			class: fault.Permanent, want: "metadata.name: may not contain '/'"},
		"no name": {manifest: `{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}`,
			class: fault.Permanent, want: "generateName does not work"},
		"a missing namespace": {manifest: configMap, namespace: "nowhere",
			class: fault.Transient, want: "namespace nowhere does not exist; add it to the source"},
		"an unknown field": {manifest: `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dada: {}}`,
			class: fault.Permanent, want: ".dada: field not declared in schema"},
		"a wrong value": {manifest: `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 70000}]}}`,
			class: fault.Permanent, want: "spec.ports[0].port: must be between 1 and 65535"},
		"an immutable field": {manifest: `{apiVersion: apps/v1, kind: Deployment, metadata: {name: fixed}, spec: {replicas: 0, selector: {matchLabels: {c: d}},
  template: {metadata: {labels: {a: b, c: d}}, spec: {containers: [{name: c, image: i}]}}}}`,
			class: fault.Permanent, want: "apply Deployment " + namespace + "/fixed: spec.selector: field is immutable"},
		"a sealed Secret": {manifest: `{apiVersion: v1, kind: Secret, metadata: {name: sealed}, immutable: true, stringData: {k: correcthorse}}`,
			class: fault.Permanent, want: "apply Secret " + namespace + "/sealed: 422 Unprocessable Entity at data (the message is withheld"},
		"a Secret of a wrong type": {manifest: `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {k: {correcthorse: 1}}}`,
			class: fault.Permanent, want: "the message is withheld"},
		"a Secret that is not base64": {manifest: `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {k: "correcthorse!"}}`,
			class: fault.Permanent, want: "the message is withheld"},
		"stringData of a wrong type": {manifest: `{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {k: [correcthorse]}}`,
			class: fault.Permanent, want: "a.yaml:1: Secret " + namespace + "/a: stringData: every value must be a string"},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			if tc.namespace == "" {
				tc.namespace = namespace
			}
			_, err := c.Apply(t.Context(), in(tc.namespace, manifests(t, tc.manifest)[0]), cluster.ApplyOptions{})
			if err == nil {
				t.Fatal("accepted")
			}
			if class, _ := fault.ClassOf(err); class != tc.class {
				t.Errorf("%v is %s, want %s", err, class, tc.class)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "correcthorse") {
				t.Errorf("a Secret's value leaked: %v", err)
			}
		})
	}
}

func TestGet(t *testing.T) {
	kube := kubetest.Start(t)
	c, _ := own(t)
	namespace := kube.Namespace(t)
	apply(t, c, in(namespace, manifests(t, configMap)[0]))
	apply(t, c, in(namespace, manifests(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 0, selector: {matchLabels: {a: b}},
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}`)[0]))
	cases := map[string]struct {
		id      object.ID
		version string
		found   bool
	}{
		"an object":                     {object.ID{Kind: "ConfigMap", Namespace: namespace, Name: "settings"}, "v1", true},
		"in any version":                {object.ID{Kind: "ConfigMap", Namespace: namespace, Name: "settings"}, "", true},
		"in a version that is gone":     {object.ID{Group: "apps", Kind: "Deployment", Namespace: namespace, Name: "web"}, "v1beta9", true},
		"no such object":                {object.ID{Kind: "ConfigMap", Namespace: namespace, Name: "none"}, "v1", false},
		"of a kind that is gone":        {object.ID{Group: "example.com", Kind: "Widget", Namespace: namespace, Name: "a"}, "v1", false},
		"of a kind gone from its group": {object.ID{Group: "apps", Kind: "Widget", Namespace: namespace, Name: "a"}, "v1", false},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			live, err := c.Get(t.Context(), tc.id, tc.version)
			if err != nil || (live != nil) != tc.found {
				t.Errorf("got %v, %v", live, err)
			}
		})
	}
}

func TestGetWithoutNamespaceIsNotAbsence(t *testing.T) {
	c, _ := own(t)
	live, err := c.Get(t.Context(), object.ID{Kind: "ConfigMap", Name: "settings"}, "v1")
	if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
		t.Errorf("got %v, %v", live, err)
	}
}

func TestList(t *testing.T) {
	kube := kubetest.Start(t)
	g := through(t)
	c := open(t, g.kubeconfig).As(cluster.Identity{})
	namespace := kube.Namespace(t)
	for _, name := range []string{"a", "b", "c"} {
		o := in(namespace, manifests(t, configMap)[0]).With(func(u *unstructured.Unstructured) {
			u.SetName(name)
			u.SetLabels(map[string]string{"mine": name})
		})
		apply(t, c, o)
	}
	names := func(t *testing.T, selector string) []string {
		t.Helper()
		list, err := c.List(t.Context(), configMaps, namespace, selector)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, u := range list {
			if u.GetKind() != "ConfigMap" || u.GetAPIVersion() != "v1" {
				t.Errorf("an item is %s %s", u.GetAPIVersion(), u.GetKind())
			}
			out = append(out, u.GetName())
		}
		return out
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names(t, "mine")); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b"}, names(t, "mine=b")); diff != "" {
		t.Errorf("one (-want +got):\n%s", diff)
	}

	t.Run("in pages whose snapshot expires", func(t *testing.T) {
		expired := 0
		g.interfere(func(w http.ResponseWriter, r *http.Request) bool {
			query := r.URL.Query()
			switch {
			case query.Get("continue") != "":
				expired++
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusGone)
				w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`))
				return true
			case query.Get("limit") != "":
				query.Set("limit", "2")
				r.URL.RawQuery = query.Encode()
			}
			return false
		})
		if diff := cmp.Diff([]string{"a", "b", "c"}, names(t, "mine")); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		if expired != 1 {
			t.Errorf("%d pages expired", expired)
		}
	})
}

func TestApplyGuardedByAbsence(t *testing.T) {
	c, _ := own(t)
	const other = `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: "2"}}`
	o, changed := manifests(t, configMap)[0], manifests(t, other)[0]
	absent := cluster.ApplyOptions{Absent: true}
	cases := map[string]func(t *testing.T, namespace string){
		"its own object": func(t *testing.T, namespace string) { apply(t, c, in(namespace, o)) },
		"somebody's fields in conflict": func(t *testing.T, namespace string) {
			made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"a": "3"}}
			if _, err := kubetest.Start(t).Clientset(t).CoreV1().ConfigMaps(namespace).Create(t.Context(), made, metav1.CreateOptions{FieldManager: "somebody"}); err != nil {
				t.Fatal(err)
			}
		},
	}
	for sentence, exists := range cases {
		t.Run(sentence, func(t *testing.T) {
			namespace := kubetest.Start(t).Namespace(t)
			exists(t, namespace)
			before, err := c.Get(t.Context(), in(namespace, o).ID(), "v1")
			if err != nil {
				t.Fatal(err)
			}
			for _, tried := range []object.Object{in(namespace, o), in(namespace, changed)} {
				if _, err := c.Apply(t.Context(), tried, absent); !errors.Is(err, cluster.ErrReplaced) {
					t.Errorf("applied over what exists: %v", err)
				}
			}
			after, err := c.Get(t.Context(), in(namespace, o).ID(), "v1")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("it changed:\n%s", diff)
			}
		})
	}
	t.Run("nothing of that name", func(t *testing.T) {
		applied, err := c.Apply(t.Context(), in(kubetest.Start(t).Namespace(t), o), absent)
		if err != nil || applied.GetUID() == "" || applied.GetResourceVersion() == "1" {
			t.Errorf("created %v: %v", applied.Unstructured, err)
		}
	})
}
