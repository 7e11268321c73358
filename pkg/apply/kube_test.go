package apply_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// real is one Application in a real cluster.
type real struct {
	t      *testing.T
	app    *v1alpha1.Application
	client *cluster.Client
	owned  inventory.Inventory
	kube   *kubetest.Kube
}

func newReal(t *testing.T) *real {
	kube := kubetest.Start(t)
	c, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	r := &real{t: t, app: &v1alpha1.Application{}, client: c.As(cluster.Identity{}), kube: kube}
	r.app.Namespace, r.app.Name = kube.Namespace(t), "web"
	r.app.Spec.Destination = v1alpha1.Destination{Namespace: r.app.Namespace + "-web", CreateNamespace: true}
	return r
}

// attempt reads, decides and applies; fresh looks at everything.
func (r *real) attempt(source string, fresh bool) []string {
	r.t.Helper()
	in := r.input(source, fresh)
	p, err := plan.Decide(in)
	if err != nil {
		r.t.Fatal(err)
	}
	if p.Blocked != "" {
		r.app.Annotations = map[string]string{v1alpha1.ConfirmPruneAnnotation: p.Digest}
		if p, err = plan.Decide(in); err != nil {
			r.t.Fatal(err)
		}
	}
	return r.run(p)
}

func (r *real) run(p plan.Plan) []string {
	r.t.Helper()
	r.owned = p.Claim(r.owned)
	result, err := apply.Run(r.t.Context(), p, r.client, func() error { return nil }, apply.Options{Wait: func(ctx context.Context, ids []object.ID, until plan.Await) error {
		return await(ctx, r.client, p, ids, until)
	}})
	r.owned = result.Inventory(r.owned)
	if err != nil {
		r.t.Fatalf("%v\n%s", err, p)
	}
	var out []string
	for _, o := range result.Outcomes {
		line := o.Word() + " " + o.Action.ID.Kind
		if d := o.Action.Drift; d != nil {
			line += fmt.Sprintf(", %s by %s: %v", d.Kind, d.Manager, d.Fields)
		}
		out = append(out, line)
	}
	return out
}

func (r *real) input(source string, fresh bool) plan.Input {
	r.t.Helper()
	in := plan.Input{
		Application: r.app, Inventory: r.owned, Heal: true, Fields: cluster.FieldsHash,
		Live: map[object.ID]*unstructured.Unstructured{}, Exists: func(app.Key) bool { return false },
	}
	set, err := plan.Prepare(r.parse(source), r.app, func(gvk schema.GroupVersionKind) (bool, error) { return r.client.Scope(r.t.Context(), gvk) })
	if err != nil {
		r.t.Fatal(err)
	}
	in.Desired = set
	for _, ref := range plan.Needs(in, fresh) {
		if in.Live[ref.ID], err = r.client.Get(r.t.Context(), ref.ID, ref.Version); err != nil {
			r.t.Fatal(err)
		}
	}
	return in
}

func (r *real) parse(source string) object.Set {
	r.t.Helper()
	var objects []object.Object
	for _, text := range strings.Split(source, "---\n") {
		var u unstructured.Unstructured
		if strings.TrimSpace(text) == "" {
			continue
		}
		if err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, "GROUP", r.app.Namespace+".example.com")), &u.Object); err != nil {
			r.t.Fatal(err)
		}
		objects = append(objects, object.New(&u, "src.yaml", 1))
	}
	set, err := object.NewSet(objects)
	if err != nil {
		r.t.Fatal(err)
	}
	return set
}

const foundation = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.GROUP, creationTimestamp: null}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
---
apiVersion: GROUP/v1
kind: Thing
metadata: {name: one}
spec: {size: 1}
---
`

const objects = `
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {password: hunter2}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: example.com/app:1
        env: [{name: A, value: b}]
        resources: {limits: {cpu: 1000m, memory: 1024Mi}, requests: {cpu: 0.5}}
        ports: [{containerPort: 8080}]
---
`

func TestAgainstARealCluster(t *testing.T) {
	r := newReal(t)
	check := func(step string, got []string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", step, diff)
		}
	}
	check("first", r.attempt(foundation+objects, false), "created Namespace", "created CustomResourceDefinition",
		"created Secret", "created Service", "created Thing", "created Deployment")
	check("fresh look at what was applied", r.attempt(foundation+objects, true), "unchanged Namespace", "unchanged CustomResourceDefinition",
		"unchanged Secret", "unchanged Service", "unchanged Thing", "unchanged Deployment")
	for _, o := range r.input(foundation+objects, true).Desired.All() {
		live, err := r.client.Get(t.Context(), o.ID(), o.GroupVersionKind().Version)
		if err != nil {
			t.Fatal(err)
		}
		if diff := plan.Diff(o, live); len(diff) > 0 {
			t.Errorf("%s as applied differs: %v", o.ID(), diff)
		}
	}

	// The API server says that a definition is established before it serves its new fields.
	grown := strings.NewReplacer("size: {type: integer}", "size: {type: integer}, colour: {type: string}", "size: 1", "size: 1, colour: red").Replace(foundation)
	check("a definition and its object grow", r.attempt(grown+objects, false), "unchanged Namespace", "updated CustomResourceDefinition",
		"unchanged Secret", "unchanged Service", "updated Thing", "unchanged Deployment")

	r.edit()
	check("healed", r.attempt(grown+objects, true), "unchanged Namespace", "unchanged CustomResourceDefinition",
		`updated Secret, changed by editor: [{data.password "(redacted)" "(redacted)"}]`, "unchanged Service", "unchanged Thing",
		"updated Deployment, changed by editor: [{spec.replicas 0 2}]")
	check("healed for good", r.attempt(objects+grown, true), "unchanged Namespace", "unchanged CustomResourceDefinition",
		"unchanged Secret", "unchanged Service", "unchanged Thing", "unchanged Deployment")

	r.replace()
	changed := strings.ReplaceAll(objects, "hunter2", "hunter3")
	check("replaced behind the inventory", r.attempt(grown+changed, false), "unchanged Namespace", "unchanged CustomResourceDefinition",
		"adopted Secret", "unchanged Service", "unchanged Thing", "unchanged Deployment")
	check("pruned", r.attempt(changed, false), "unchanged Namespace", "unchanged Secret", "unchanged Service", "unchanged Deployment",
		"pruned Thing", "pruned CustomResourceDefinition")

	// A finalizer holds the definition for a moment longer.
	definition := object.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "things." + r.app.Namespace + ".example.com"}
	r.owned = r.owned.Without(definition)
	check("torn down", r.run(plan.Teardown(r.input("", true), v1alpha1.DeletionDelete)), "pruned Deployment", "pruned Service", "pruned Secret")
	if r.owned.Len() > 0 {
		t.Errorf("still owned: %v", r.owned.Entries())
	}
}

// edit changes fields that Git owns, and one that it does not, as kubectl edit would.
func (r *real) edit() {
	r.t.Helper()
	set, namespace := r.kube.Clientset(r.t), r.app.TargetNamespace()
	options := metav1.PatchOptions{FieldManager: "editor"}
	patch := []byte(`{"spec":{"replicas":2},"metadata":{"annotations":{"seen":"yes"}}}`)
	if _, err := set.AppsV1().Deployments(namespace).Patch(r.t.Context(), "web", types.MergePatchType, patch, options); err != nil {
		r.t.Fatal(err)
	}
	patch = []byte(`{"data":{"password":"bmV3"}}`)
	if _, err := set.CoreV1().Secrets(namespace).Patch(r.t.Context(), "key", types.MergePatchType, patch, options); err != nil {
		r.t.Fatal(err)
	}
	patch = []byte(`{"metadata":{"labels":{"seen":"yes"}}}`)
	if _, err := set.CoreV1().Services(namespace).Patch(r.t.Context(), "web", types.MergePatchType, patch, options); err != nil {
		r.t.Fatal(err)
	}
}

// replace puts another Secret under the name of the owned one.
func (r *real) replace() {
	r.t.Helper()
	secrets := r.kube.Clientset(r.t).CoreV1().Secrets(r.app.TargetNamespace())
	if err := secrets.Delete(r.t.Context(), "key", metav1.DeleteOptions{}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := secrets.Create(r.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "key"}}, metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}
