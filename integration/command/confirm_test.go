package command

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

var digest = regexp.MustCompile(`digest: ([0-9a-f]{16})`)

// waiting runs plumb confirm without a terminal until it shows a digest.
func (s *site) waiting(t *testing.T, name string) string {
	t.Helper()
	var found string
	s.eventually(t, "a confirmation is waited for", func() error {
		code, out := s.plumb(t, "confirm", name)
		m := digest.FindStringSubmatch(out)
		if m == nil {
			return errors.New(out)
		}
		if code != 2 || !strings.Contains(out, "there is no terminal to ask on") {
			t.Fatalf("exit code %d:\n%s", code, out)
		}
		found = m[1]
		return nil
	})
	return found
}

func TestConfirmLetsJustTheShownDeletionsGo(t *testing.T) {
	files := map[string]string{"web/keep.yaml": named("ConfigMap", "keep", "")}
	gone := map[string]string{}
	for i := range 5 {
		name := fmt.Sprintf("web/%d.yaml", i)
		files[name], gone[name] = named("ConfigMap", fmt.Sprintf("map-%d", i), ""), ""
	}
	d := deploy(t, files, "")
	d.create(t, d.manifest)
	d.sync(t)
	d.expect(t, 0, "nothing waits for a confirmation", "confirm", d.key)

	last := "web/4.yaml"
	delete(gone, last)
	d.push(t, gone)
	d.expect(t, 1, "PruneBlocked", "sync", d.key)
	old := d.waiting(t, d.key)
	d.expect(t, 1, "blocked: nothing would be changed", "diff", d.key, "--exit-code")
	d.expect(t, 0, "plumb confirm "+d.key+" "+old, "diff", d.key)

	d.push(t, map[string]string{last: ""}) // the plan deletes one more now
	d.expect(t, 1, "the plan is another one now", "confirm", d.key, old, "--yes")
	if left := d.maps(t); left != 6 {
		t.Fatalf("%d ConfigMaps are left of 6", left)
	}
	d.expect(t, 2, "--yes needs the digest", "confirm", d.key, "--yes")
	now := d.waiting(t, d.key)
	if now == old {
		t.Fatal("the digest is the same")
	}
	d.expect(t, 0, "succeeded", "confirm", d.key, now, "--yes")
	if left := d.maps(t); left != 1 {
		t.Errorf("%d ConfigMaps are left of 1", left)
	}
	d.expect(t, 0, "nothing waits for a confirmation", "confirm", d.key, now, "--yes")
	d.end(t)
}

// maps counts the ConfigMaps of the Application.
func (d *deployed) maps(t *testing.T) int {
	t.Helper()
	all, err := d.kube.Clientset(t).CoreV1().ConfigMaps(d.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.OwnerLabel})
	must(t, err)
	return len(all.Items)
}

func TestConfirmServesSetsToo(t *testing.T) {
	d := deploy(t, map[string]string{"web/keep.yaml": named("ConfigMap", "keep", "")}, "")
	d.create(t, d.manifest) // a cluster is known by its Applications
	d.sync(t)
	const set = `
apiVersion: plumb.dev/v1alpha1
kind: ApplicationSet
metadata: {name: all, namespace: %s}
spec:
  generators: [{list: {elements: [%s]}}]
  template:
    metadata: {name: "app-{{.name}}"}
    spec: {source: {repo: %q, path: web}, sync: {mode: manual}}
`
	sets := d.sets(t)
	apply := func(elements string) {
		t.Helper()
		u := &unstructured.Unstructured{}
		must(t, yaml.Unmarshal([]byte(fmt.Sprintf(set, d.namespace, elements, d.repo.URL())), &u.Object))
		_, err := sets.Apply(t.Context(), "all", u, metav1.ApplyOptions{FieldManager: "test"})
		must(t, err)
	}
	apply("{name: a}, {name: b}, {name: c}, {name: d}")
	name := "set/" + d.namespace + "/all"
	d.eventually(t, "the set is expanded", func() error {
		if n := d.applications(t); n != 5 {
			return fmt.Errorf("%d Applications", n)
		}
		return nil
	})
	d.expect(t, 0, "nothing waits for a confirmation", "confirm", name)
	apply("{name: a}")
	found := d.waiting(t, name)
	d.expect(t, 1, "the plan is another one now", "confirm", name, "0123456789abcdef", "--yes")
	d.expect(t, 0, "done", "confirm", name, found, "--yes")
	d.eventually(t, "the Applications are gone", func() error {
		if n := d.applications(t); n != 2 {
			return fmt.Errorf("%d Applications", n)
		}
		return nil
	})
	d.expect(t, 1, "there is no ApplicationSet", "confirm", "set/"+d.namespace+"/nope")
	d.end(t)
}

func (d *deployed) sets(t *testing.T) dynamic.ResourceInterface {
	t.Helper()
	objects, err := dynamic.NewForConfig(d.kube.Config(t))
	must(t, err)
	return objects.Resource(v1alpha1.SetResource).Namespace(d.namespace)
}

func (d *deployed) applications(t *testing.T) int {
	t.Helper()
	objects, err := dynamic.NewForConfig(d.kube.Config(t))
	must(t, err)
	all, err := objects.Resource(v1alpha1.GroupVersionResource).Namespace(d.namespace).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	return len(all.Items)
}
