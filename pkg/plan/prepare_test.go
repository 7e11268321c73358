package plan_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

func TestPrepare(t *testing.T) {
	text, err := os.ReadFile("testdata/prepare.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct {
		CreateNamespace    bool
		In, Unmarked, Want []map[string]any
		Error              string
	}
	if err := yaml.UnmarshalStrict(text, &cases); err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := application()
			a.Spec.Destination.CreateNamespace = c.CreateNamespace
			in := set(t, c.In)
			before := contents(in)
			got, err := plan.Prepare(in, a, scope)
			if diff := cmp.Diff(before, contents(in)); diff != "" {
				t.Errorf("the render changed (-before +after):\n%s", diff)
			}
			if c.Error != "" {
				class, _ := fault.ClassOf(err)
				if err == nil || !strings.Contains(err.Error(), c.Error) || class != fault.Permanent || fault.ReasonOf(err) != fault.RenderFailed {
					t.Errorf("got %s %s %v, want %s", class, fault.ReasonOf(err), err, c.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := c.Unmarked
			for _, content := range c.Want {
				want = append(want, marked(content))
			}
			if diff := cmp.Diff(want, contents(got)); diff != "" {
				t.Errorf("prepared (-want +got):\n%s", diff)
			}
		})
	}
}

func scope(gvk schema.GroupVersionKind) (bool, error) {
	switch gvk.Kind {
	case "ClusterRole", "Namespace", "CustomResourceDefinition":
		return false, nil
	case "Unheard":
		return false, fault.Refuse("", fault.Place{}, "no such kind: %s", gvk.Kind)
	}
	return true, nil
}

func marked(content map[string]any) map[string]any {
	u := &unstructured.Unstructured{Object: content}
	annotations, labels := u.GetAnnotations(), u.GetLabels()
	if annotations == nil {
		annotations = map[string]string{}
	}
	if labels == nil {
		labels = map[string]string{}
	}
	annotations[v1alpha1.OwnerAnnotation] = "team/web"
	labels[v1alpha1.OwnerLabel] = "a5cb1ff62f8ed32c" // printf team/web | sha256sum
	u.SetAnnotations(annotations)
	u.SetLabels(labels)
	return u.Object
}

func set(t *testing.T, contents []map[string]any) object.Set {
	t.Helper()
	var objects []object.Object
	for i, content := range contents {
		objects = append(objects, object.New(&unstructured.Unstructured{Object: content}, "src.yaml", i+1))
	}
	set, err := object.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func contents(set object.Set) []map[string]any {
	var out []map[string]any
	for _, o := range set.All() {
		out = append(out, o.Unstructured().Object)
	}
	return out
}
