package apply_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/ignore"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

const stackYAML = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {tier: front}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx
        ports: [{containerPort: 80}]
        env: [{name: MODE, value: a}, {name: DEBUG, value: "1"}]
        resources: {limits: {cpu: 1000m, memory: 1024Mi}, requests: {cpu: "0.5", memory: 0.5Gi}}
        readinessProbe: {httpGet: {port: 80}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 3, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {a: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: web}
stringData: {token: canary-one, other: canary-two}
`

// injector changes every Deployment of the namespace, as a mesh does.
const injector = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: NAME}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAME}}
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: >-
        Object{metadata: Object.metadata{labels: {"injected": "yes"}}, spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
        containers: [Object.spec.template.spec.containers{name: "sidecar", image: "mesh"}]}}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: NAME}
spec: {policyName: NAME}
`

// differences asks what an attempt would change of objects that all have to be
// applied, and how often the cluster was asked.
func (r *real) differences(source string, rules ignore.Rules) ([]plan.ObjectDiff, int) {
	r.t.Helper()
	var unsettled []inventory.Entry
	for _, e := range r.owned.Entries() {
		unsettled = append(unsettled, inventory.Entry{ID: e.ID, Version: e.Version})
	}
	settled := r.owned
	r.owned = r.owned.Claim(unsettled...)
	in := r.input(source, true)
	r.owned = settled
	in.Ignore, in.Fields = rules, rules.Fields
	return r.tried(in)
}

func (r *real) tried(in plan.Input) ([]plan.ObjectDiff, int) {
	r.t.Helper()
	p, err := plan.Decide(in)
	if err != nil {
		r.t.Fatal(err)
	}
	var asked atomic.Int32
	diffs, err := plan.Differences(r.t.Context(), p, func(ctx context.Context, a plan.Action) (*unstructured.Unstructured, error) {
		asked.Add(1)
		sent, err := p.Sent(a)
		if err != nil {
			return nil, err
		}
		would, err := r.client.Apply(ctx, sent, cluster.ApplyOptions{DryRun: true, Takeover: a.Live})
		return would.Unstructured, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return diffs, int(asked.Load())
}

// inject puts the policy into force.
func (r *real) inject() {
	r.t.Helper()
	for _, text := range strings.Split(strings.ReplaceAll(injector, "NAME", r.app.TargetNamespace()), "---\n") {
		var u unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			r.t.Fatal(err)
		}
		applied, err := r.client.Apply(r.t.Context(), object.New(&u, "", 0), cluster.ApplyOptions{})
		if err != nil {
			r.t.Fatal(err)
		}
		id := object.IDOf(applied.Unstructured)
		r.t.Cleanup(func() { _ = r.client.Delete(context.Background(), id, "v1", cluster.DeleteOptions{}) })
	}
	deployments := r.kube.Clientset(r.t).AppsV1().Deployments(r.app.TargetNamespace())
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		touched, err := deployments.Patch(r.t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"annotations":{"touched":"yes"}}}`), metav1.PatchOptions{DryRun: []string{"All"}})
		if err != nil {
			r.t.Fatal(err)
		}
		if touched.Labels["injected"] == "yes" {
			return
		}
		<-ticker.C
	}
}

func TestDifferences(t *testing.T) {
	r := newReal(t)
	r.attempt(stackYAML, false)
	t.Run("what is settled asks nobody", func(t *testing.T) {
		if diffs, asked := r.tried(r.input(stackYAML, true)); len(diffs) != 0 || asked != 0 {
			t.Errorf("%d requests: %v", asked, diffs)
		}
	})
	t.Run("defaults and normal forms are none", func(t *testing.T) {
		if diffs, asked := r.differences(stackYAML, ignore.Rules{}); len(diffs) != 0 || asked != 5 {
			t.Errorf("%d requests: %+v", asked, diffs)
		}
	})
	r.inject()
	r.differencesOfEdits(t)
	t.Run("what a policy adds is none, once it is there", func(t *testing.T) {
		r.attempt(strings.Replace(stackYAML, "tier: front", "tier: back", 1), true)
		r.attempt(stackYAML, true)
		if diffs, _ := r.differences(stackYAML, ignore.Rules{}); len(diffs) != 0 {
			t.Errorf("%+v", diffs)
		}
	})
}

func change(path, before, after string) []plan.FieldChange {
	return []plan.FieldChange{{Path: path, Before: before, After: after}}
}

func (r *real) differencesOfEdits(t *testing.T) {
	r.attempt(strings.Replace(stackYAML, "tier: front", "tier: side", 1), true)
	r.attempt(stackYAML, true) // the policy has done its part
	rules, err := ignore.Compile([]v1alpha1.IgnoreRule{
		{Group: "apps", Kind: "Deployment", Paths: []string{"/spec/replicas", "/spec/template/spec/containers/0/image"}},
		{Kind: "ConfigMap", Expressions: []string{"object.data.map(k, pointer(['data', k]))"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const web = "spec.template.spec.containers[name=web]"
	tests := map[string]struct {
		old, new string
		rules    ignore.Rules
		want     []plan.FieldChange
	}{
		"a changed field":                {old: "image: nginx", new: "image: other", want: change(web+".image", `"nginx"`, `"other"`)},
		"the same quantity":              {old: "memory: 1024Mi", new: "memory: 1Gi"},
		"another quantity":               {old: "cpu: 1000m", new: "cpu: 2000m", want: change(web+".resources.limits.cpu", `"1"`, `"2"`)},
		"a removed field":                {old: ", labels: {tier: front}", new: "", want: change("metadata.labels.tier", `"front"`, "")},
		"a removed element":              {old: `, {name: DEBUG, value: "1"}`, new: "", want: change(web+".env[name=DEBUG]", `{"name":"DEBUG","value":"1"}`, "")},
		"a removed field with a default": {old: "        readinessProbe: {httpGet: {port: 80}}\n", new: "        readinessProbe: {httpGet: {port: 80}, periodSeconds: 10}\n"},
		"a changed secret, unseen":       {old: "canary-one", new: "canary-three", want: change("data.token", `"(redacted)"`, `"(redacted)"`)},
		"a dropped secret, unseen":       {old: ", other: canary-two", new: "", want: change("data.other", `"(redacted)"`, "")},
		"an ignored field":               {old: "replicas: 0", new: "replicas: 5", rules: rules},
		"one of an element":              {old: "image: nginx", new: "image: other", rules: rules},
		"one by an expression":           {old: `data: {a: "1"}`, new: `data: {a: "2"}`, rules: rules},
		"one beside the ignored":         {old: "value: a", new: "value: b", rules: rules, want: change(web+".env[name=MODE].value", `"a"`, `"b"`)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(stackYAML, tt.old) {
				t.Fatal("the edit changes nothing")
			}
			diffs, _ := r.differences(strings.Replace(stackYAML, tt.old, tt.new, 1), tt.rules)
			var got []plan.FieldChange
			for _, d := range diffs {
				if d.Err != nil {
					t.Error(d.Err)
				}
				got = append(got, d.Fields...)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("what is new is shown as a whole, without secrets", func(t *testing.T) {
		diffs, _ := r.differences(stackYAML+"---\napiVersion: v1\nkind: Secret\nmetadata: {name: more}\nstringData: {k: canary-four}\n", ignore.Rules{})
		if len(diffs) != 1 || diffs[0].Verb != plan.Create || len(diffs[0].Fields) != 1 || diffs[0].Fields[0].Path != "" ||
			!strings.Contains(diffs[0].Fields[0].After, `"k":"(redacted)"`) {
			t.Errorf("got %+v", diffs)
		}
	})
	t.Run("what is refused says so", func(t *testing.T) {
		diffs, _ := r.differences(strings.Replace(stackYAML, "matchLabels: {app: web}", "matchLabels: {app: other}", 1), ignore.Rules{})
		if len(diffs) != 1 || diffs[0].Err == nil || !strings.Contains(diffs[0].Err.Error(), "spec.") {
			t.Errorf("got %+v", diffs)
		}
	})
}

// TestSyncHonoursIgnore: a whole attempt with rules, as the worker makes it.
func TestSyncHonoursIgnore(t *testing.T) {
	r := newReal(t)
	rules, err := ignore.Compile([]v1alpha1.IgnoreRule{{Group: "apps", Kind: "Deployment", Paths: []string{"/spec/replicas"}}})
	if err != nil {
		t.Fatal(err)
	}
	attempt := func(source string, fresh bool) []string {
		t.Helper()
		in := r.input(source, fresh)
		in.Ignore, in.Fields = rules, rules.Fields
		for _, ref := range plan.Needs(in, fresh) {
			if in.Live[ref.ID], err = r.client.Get(t.Context(), ref.ID, ref.Version); err != nil {
				t.Fatal(err)
			}
		}
		p, err := plan.Decide(in)
		if err != nil {
			t.Fatal(err)
		}
		var changed []string
		for _, line := range r.run(p) {
			if !strings.HasPrefix(line, "unchanged") {
				changed = append(changed, line)
			}
		}
		return changed
	}
	attempt(stackYAML, false)
	deployments := r.kube.Clientset(t).AppsV1().Deployments(r.app.TargetNamespace())
	if _, err := deployments.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{FieldManager: "autoscaler"}, "scale"); err != nil {
		t.Fatal(err)
	}
	if changed := attempt(stackYAML, true); changed != nil {
		t.Errorf("what is ignored is drift: %v", changed)
	}
	// Not fresh: the object is read only because a rule is about it.
	if diff := cmp.Diff([]string{"updated Deployment"}, attempt(strings.Replace(stackYAML, "value: a", "value: b", 1), false)); diff != "" {
		t.Error(diff)
	}
	live, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if *live.Spec.Replicas != 2 || live.Spec.Template.Spec.Containers[0].Env[0].Value != "b" {
		t.Errorf("%d replicas, env %v", *live.Spec.Replicas, live.Spec.Template.Spec.Containers[0].Env)
	}
	rules = ignore.Rules{}
	if diff := cmp.Diff([]string{"updated Deployment"}, attempt(strings.Replace(stackYAML, "value: a", "value: b", 1), true)); diff != "" {
		t.Errorf("a rule that went is told as drift, or not at all: %s", diff)
	}
	if live, err = deployments.Get(t.Context(), "web", metav1.GetOptions{}); err != nil || *live.Spec.Replicas != 0 {
		t.Errorf("%v, %v", live.Spec.Replicas, err)
	}
}
