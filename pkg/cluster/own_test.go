package cluster_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func configMapOf(t *testing.T, namespace, data string) object.Object {
	t.Helper()
	return manifests(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: "+namespace+"}, data: {"+data+"}}")[0]
}

func TestCreateAsLeavesWhatIsThere(t *testing.T) {
	client, _ := own(t)
	for sentence, data := range map[string]string{
		"of the same fields":      "x: '1'",
		"of another field":        "y: '2'",
		"of the same and another": "x: '1', y: '2'",
		"of another value":        "x: '2'",
		"of nothing":              "",
	} {
		t.Run(sentence, func(t *testing.T) {
			ns := kubetest.Start(t).Namespace(t)
			before, err := client.CreateAs(t.Context(), "other", configMapOf(t, ns, "x: '1'"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.CreateAs(t.Context(), "test", configMapOf(t, ns, data)); !errors.Is(err, cluster.ErrExists) {
				t.Errorf("error %v", err)
			}
			after, err := client.Get(t.Context(), object.IDOf(before), "v1")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before.Object["data"], after.Object["data"]); diff != "" {
				t.Errorf("it was changed (-before +after):\n%s", diff)
			}
			if managers := managersOf(after); len(managers) != 1 {
				t.Errorf("managers are %v", managers)
			}
		})
	}
}

func managersOf(u *unstructured.Unstructured) (names []string) {
	for _, f := range u.GetManagedFields() {
		names = append(names, f.Manager)
	}
	return names
}

func TestCreateAsAndApplyAsOwnTheirFields(t *testing.T) {
	client, _ := own(t)
	ns := kubetest.Start(t).Namespace(t)
	made, err := client.CreateAs(t.Context(), "test", configMapOf(t, ns, "x: '1', y: '2'"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.ApplyAs(t.Context(), "other", configMapOf(t, ns, "x: by hand, z: '3'"), made.GetUID()); err != nil {
		t.Fatal(err)
	}
	got, err := client.ApplyAs(t.Context(), "test", configMapOf(t, ns, "x: '1'"), made.GetUID())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"x": "1", "z": "3"}, got.Object["data"]); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if _, err := client.ApplyAs(t.Context(), "test", configMapOf(t, ns, "x: '2'"), "another"); !errors.Is(err, cluster.ErrReplaced) {
		t.Errorf("of another uid: %v", err)
	}
}
