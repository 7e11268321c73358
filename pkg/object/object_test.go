package object_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/object"
)

func secret(password string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata":   map[string]any{"name": "db"},
		"stringData": map[string]any{"password": password},
	}
}

func of(password string) object.Object {
	return object.New(&unstructured.Unstructured{Object: secret(password)}, "a.yaml", 1)
}

func digest(t *testing.T, o object.Object) string {
	t.Helper()
	d, err := o.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDigestOfWhatIsDrawnAtRandom(t *testing.T) {
	label := func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"a": "b"}) }
	one, two := of("k3v9").Standing(secret("xxxx")), of("q8wz").Standing(secret("xxxx"))
	if digest(t, one) != digest(t, two) {
		t.Error("two draws have two digests")
	}
	if digest(t, one.With(label)) != digest(t, two.With(label)) {
		t.Error("two draws, changed alike, have two digests")
	}
	if digest(t, one.With(label)) == digest(t, one) {
		t.Error("a change does not show in the digest")
	}
	if digest(t, one) == digest(t, of("k3v9").Standing(secret("yyyy"))) {
		t.Error("another standing content has the same digest")
	}
	if got := one.With(label).Content()["stringData"].(map[string]any)["password"]; got != "k3v9" {
		t.Errorf("the content is %v, want what was drawn", got)
	}
	if one.With(label).Unstructured().GetLabels()["a"] != "b" || one.Unstructured().GetLabels() != nil {
		t.Error("With must change the copy and nothing else")
	}
}
