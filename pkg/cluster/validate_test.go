package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

const gadgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.validate.example.com}
spec:
  group: validate.example.com
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, maximum: 9}
              color: {type: string, enum: [red, blue]}
              name: {type: string, pattern: "^[a-z]+$", maxLength: 5}
              port: {x-kubernetes-int-or-string: true}
              anything: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {known: {type: integer}}}
              template: {type: object, x-kubernetes-embedded-resource: true, properties: {spec: {type: object, properties: {a: {type: string}}}}}
              labels: {type: object, additionalProperties: {type: string}}
              tags: {type: array, x-kubernetes-list-type: set, maxItems: 3, items: {type: string}}
              either: {type: object, properties: {a: {type: integer}, b: {type: integer}}, oneOf: [{required: [a]}, {required: [b]}]}
              ratio: {type: number}
`

func TestValidate(t *testing.T) {
	c, cl := own(t)
	if err := cl.EnsureCRD(t.Context(), []byte(gadgets)); err != nil {
		t.Fatal(err)
	}
	const pod = `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: i, `
	const gadget = `{apiVersion: validate.example.com/v1, kind: Gadget, metadata: {name: a}, spec: {size: 1, `
	cases := map[string]struct {
		manifest string
		want     string // the error after its place; empty: it fits
	}{
		"quantities as text and number": {pod + `resources: {limits: {cpu: 2, memory: 1Gi}}}]}}`, ""},
		"ports as text and number":      {`{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1, targetPort: x}, {port: 2, name: b, targetPort: 2}]}}`, ""},
		"null is absence":               {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, creationTimestamp: null}, data: null}`, ""},
		"status is not looked at":       {`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: a}, spec: {}, status: {}}`, ""},
		"a CustomResourceDefinition":    {gadgets, ""},
		"an empty policy":               {pod + `imagePullPolicy: ""}]}}`, ""},
		"one port for two protocols":    {pod + `ports: [{containerPort: 53, protocol: UDP}, {containerPort: 53}]}]}}`, ""},
		"stringData":                    {`{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {k: v}, data: {l: "eA=="}}`, ""},
		"a custom object":               {gadget + `color: red, name: abc, port: http, labels: {a: b}, tags: [a, b], either: {a: 1}, ratio: 2}}`, ""},
		"any field where all are kept":  {gadget + `anything: {x: {y: 1}, known: 3}}}`, ""},
		"an embedded object":            {gadget + `template: {apiVersion: v1, kind: X, metadata: {name: a}, spec: {a: b}}}}`, ""},
		"a whole float as integer":      {`{apiVersion: validate.example.com/v1, kind: Gadget, metadata: {name: a}, spec: {size: 3.0}}`, ""},

		"an unknown field":                 {`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replica: 1, selector: {}, template: {}}}`, "spec.replica: unknown field"},
		"an unknown field of the top":      {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, spec: {}}`, "spec: unknown field"},
		"a field in the wrong case":        {pod + `imagepullpolicy: Always}]}}`, "spec.containers[0].imagepullpolicy: unknown field, it is written imagePullPolicy"},
		"a number where a text belongs":    {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {port: 80}}`, "data[port]: want string, got integer"},
		"a text where a number belongs":    {`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: "3", selector: {}, template: {}}}`, "spec.replicas: want integer of 32 bits, got string"},
		"a number that does not fit":       {`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 3000000000, selector: {}, template: {}}}`, "spec.replicas: want integer of 32 bits, got integer"},
		"a label that is a bool":           {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {enabled: true}}}`, "metadata.labels[enabled]: want string, got boolean"},
		"a list where an object belongs":   {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: [a]}`, "data: want object, got array"},
		"what is required":                 {`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {}}}`, "spec.selector: is required"},
		"a value outside an enum":          {pod + `imagePullPolicy: Sometimes}]}}`, "spec.containers[0].imagePullPolicy: must be one of Always, IfNotPresent, Never"},
		"two variables of one name":        {pod + `env: [{name: A, value: "1"}, {name: B}, {name: A, value: "2"}]}]}}`, "spec.containers[0].env[2]: is the same item as [0] by name"},
		"two ports, one by default":        {pod + `ports: [{containerPort: 53, protocol: TCP}, {containerPort: 53}]}]}}`, "spec.containers[0].ports[1]: is the same item as [0] by containerPort, protocol"},
		"a Secret that is not base64":      {`{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {k: hunter2!}}`, "data[k]: is not base64"},
		"a Secret with a number":           {`{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {k: 1234567}}`, "stringData[k]: want string, got integer"},
		"a time that is none":              {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, creationTimestamp: yesterday}}`, "metadata.creationTimestamp: is not a time as in 2006-01-02T15:04:05Z"},
		"an unknown custom field":          {gadget + `weight: 2}}`, "spec.weight: unknown field"},
		"a custom enum":                    {gadget + `color: green}}`, "spec.color: must be one of red, blue"},
		"too small":                        {`{apiVersion: validate.example.com/v1, kind: Gadget, metadata: {name: a}, spec: {size: 0}}`, "spec.size: must be at least 1"},
		"a broken pattern":                 {gadget + `name: A}}`, "spec.name: must match ^[a-z]+$"},
		"too long":                         {gadget + `name: abcdef}}`, "spec.name: has 6 characters, at most 5 are allowed"},
		"too many":                         {gadget + `tags: [a, b, c, d]}}`, "spec.tags: has 4 items, at most 3 are allowed"},
		"the same in a set":                {gadget + `tags: [a, a]}}`, "spec.tags[1]: is the same item as [0]"},
		"neither text nor number":          {gadget + `port: true}}`, "spec.port: want integer or string, got boolean"},
		"a known field where all are kept": {gadget + `anything: {known: x}}}`, "spec.anything.known: want integer, got string"},
		"none of the alternatives":         {gadget + `either: {}}}`, "spec.either: fits none of the alternatives of its schema"},
		"two things at once":               {gadget + `color: green, tags: x}}`, "spec.color: must be one of red, blue; spec.tags: want array, got string"},
		"no name":                          {`{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}`, "metadata.name: a name is required; generateName does not work with server-side apply"},
		"an unknown kind": {`{apiVersion: example.com/v1, kind: Nothing, metadata: {name: a}}`,
			"find kind Nothing of example.com/v1: the cluster does not serve this kind; correct apiVersion and kind, or install its CustomResourceDefinition"},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			o := manifests(t, tc.manifest)[0]
			err := c.Validate(t.Context(), o)
			if tc.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			want := "a.yaml:1: " + o.ID().Human() + ": " + tc.want
			if err == nil || err.Error() != want {
				t.Fatalf("got  %v\nwant %s", err, want)
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Errorf("it is %s", class)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "1234567") {
				t.Errorf("a Secret's value leaked: %v", err)
			}
		})
	}
}

// TestValidateSendsNothing once it knows a group version.
func TestValidateSendsNothing(t *testing.T) {
	g := through(t)
	c := open(t, g.kubeconfig).As(cluster.Identity{})
	o := manifests(t, configMap)[0]
	for _, first := range []bool{true, false} {
		if err := c.Validate(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if sent := g.requests(); (len(sent) > 0) != first {
			t.Errorf("first: %t, and it sent %q", first, sent)
		}
	}
}

// TestValidateFollowsTheCluster: a schema that changed neither refuses what it
// allows now, nor does a kind just served need another attempt.
func TestValidateFollowsTheCluster(t *testing.T) {
	c, cl := own(t)
	crd := strings.ReplaceAll(gadgets, "validate.example.com", "follow.example.com")
	if err := cl.EnsureCRD(t.Context(), []byte(crd)); err != nil {
		t.Fatal(err)
	}
	old := manifests(t, `{apiVersion: follow.example.com/v1, kind: Gadget, metadata: {name: a}, spec: {size: 1}}`)[0]
	if err := c.Validate(t.Context(), old); err != nil {
		t.Fatalf("right after EnsureCRD: %v", err)
	}
	next := old.With(func(u *unstructured.Unstructured) { set(t, u, int64(3), "spec", "weight") })
	if err := c.Validate(t.Context(), next); err == nil {
		t.Fatal("a field that the schema lacks was accepted")
	}
	widened := strings.Replace(crd, "ratio:", "weight: {type: integer}\n              ratio:", 1)
	if err := cl.EnsureCRD(t.Context(), []byte(widened)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { // until it is published, for who sees it for the first time
		stranger, _ := own(t)
		return stranger.Validate(t.Context(), next)
	})
	if err := c.Validate(t.Context(), next); err != nil {
		t.Errorf("refused by a schema of the past: %v", err)
	}
}

func set(t *testing.T, u *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}

// TestUsable applies a namespace, a CRD and objects of both at once.
func TestUsable(t *testing.T) {
	c, _ := own(t)
	first := manifests(t, `{apiVersion: v1, kind: Namespace, metadata: {name: usable}}
---
`+strings.ReplaceAll(gadgets, "validate.example.com", "usable.example.com"))
	var ids []object.ID
	for _, o := range first {
		apply(t, c, o)
		ids = append(ids, o.ID())
	}
	if err := c.Usable(t.Context(), append(ids, object.ID{Kind: "ConfigMap", Namespace: "usable", Name: "never"})); err != nil {
		t.Fatal(err)
	}
	o := manifests(t, `{apiVersion: usable.example.com/v1, kind: Gadget, metadata: {name: a, namespace: usable}, spec: {size: 1}}`)[0]
	if namespaced, err := c.Scope(t.Context(), o.GroupVersionKind()); !namespaced || err != nil {
		t.Errorf("scope: %t, %v", namespaced, err)
	}
	if err := c.Validate(t.Context(), o); err != nil {
		t.Errorf("validate: %v", err)
	}
	apply(t, c, o)
}

func TestUsableTellsOfTakenNames(t *testing.T) {
	c, cl := own(t)
	crd := strings.ReplaceAll(gadgets, "validate.example.com", "taken.example.com")
	if err := cl.EnsureCRD(t.Context(), []byte(crd)); err != nil {
		t.Fatal(err)
	}
	thief := strings.NewReplacer("gadgets", "thieves", "singular: gadget", "singular: thief").Replace(crd)
	err := cl.EnsureCRD(t.Context(), []byte(thief))
	if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent || !strings.Contains(err.Error(), "its names are taken") {
		t.Errorf("got %v", err)
	}
	if err := c.Delete(t.Context(), manifests(t, thief)[0].ID(), "v1", cluster.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// TestKindsComeAndGo: what is known of a kind does not outlive it.
func TestKindsComeAndGo(t *testing.T) {
	kube := kubetest.Start(t)
	c, cl := own(t)
	namespace := kube.Namespace(t)
	crd := strings.ReplaceAll(gadgets, "validate.example.com", "gone.example.com")
	if err := cl.EnsureCRD(t.Context(), []byte(crd)); err != nil {
		t.Fatal(err)
	}
	o := in(namespace, manifests(t, `{apiVersion: gone.example.com/v1, kind: Gadget, metadata: {name: a}, spec: {size: 1}}`)[0])
	apply(t, c, o)
	definition := manifests(t, crd)[0].ID()
	if err := c.Delete(t.Context(), definition, "v1", cluster.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	err := c.Until(t.Context(), []object.ID{definition}, func(_ object.ID, u *unstructured.Unstructured) (bool, error) { return u == nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if live, err := c.Get(t.Context(), o.ID(), "v1"); live != nil || err != nil {
			return errors.Join(errors.New("still there"), err)
		}
		if _, err := c.Apply(t.Context(), o, cluster.ApplyOptions{}); !errors.Is(err, cluster.ErrUnknownKind) {
			return errors.Join(errors.New("still served"), err)
		}
		return nil
	})
}
