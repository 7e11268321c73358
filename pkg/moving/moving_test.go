package moving_test

import (
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/moving"
	"github.com/plumb-gitops/plumb/pkg/moving/argocd"
	"github.com/plumb-gitops/plumb/pkg/moving/flux"
	"github.com/plumb-gitops/plumb/pkg/moving/movingtest"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// All that is made of the golden files is what the API server takes, strictly: no
// field that it does not know, no value that the schema or its rules refuse.
func TestTheAPIServerTakesWhatIsMade(t *testing.T) {
	kube := kubetest.Start(t)
	c, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range v1alpha1.CRDs() {
		if err := c.EnsureCRD(t.Context(), crd); err != nil {
			t.Fatal(err)
		}
	}
	client := c.As(cluster.Identity{})
	for tool, convert := range map[string]movingtest.Convert{"argocd": argocd.Convert, "flux": flux.Convert} {
		taken := 0
		for name, made := range movingtest.Made(t, tool+"/testdata", convert) {
			u := &unstructured.Unstructured{Object: made}
			u.SetNamespace(kube.Namespace(t))
			if _, err := client.Apply(t.Context(), object.New(u, "", 0), cluster.ApplyOptions{}); err != nil {
				t.Errorf("%s: %s: %v", tool, name, err)
			}
			taken++
		}
		if taken < 20 {
			t.Errorf("%s: %d objects, want more", tool, taken)
		}
	}
}

// Fields that are read in several ways, and what is told of them.
func TestFields(t *testing.T) {
	in := moving.Read(map[string]any{"kind": "X", "metadata": map[string]any{"name": "a", "uid": "u"}, "status": map[string]any{"x": 1},
		"spec": map[string]any{"text": "t", "n": int64(3), "list": []any{"a", map[string]any{"b": true}}, "with.dots/x": "y", "empty": map[string]any{}, "told": "x", "null": nil}})
	in.At("spec", "text").Text()
	in.At("spec", "list").Each()[1].At("b").Bool()
	in.At("spec", "told").Tell(moving.Info, "is told")
	in.At("spec", "absent").Tell(moving.Failed, "is not")
	var got []string
	for _, n := range in.Notes() {
		got = append(got, n.String())
	}
	want := `note: X a: spec.told: is told
lost: X a: spec.empty, spec.list[0], spec.n, spec["with.dots/x"]: has no counterpart`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}
