package health_test

import (
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
)

func rules(t testing.TB, text string) []v1alpha1.HealthRule {
	t.Helper()
	var list []v1alpha1.HealthRule
	if err := yaml.UnmarshalStrict([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRulesOf(t *testing.T) {
	const whole = `[{apiVersion: db.example.com/v1, kind: Cluster, failed: "object.status.state == 'broken'",
  inProgress: "object.status.state == 'growing'", current: "object.status.ready >= object.spec.size"}]`
	cluster := func(rest string) string {
		return "{apiVersion: db.example.com/v1, kind: Cluster, metadata: {name: main, namespace: web, generation: 4}, " + rest + "}"
	}
	tests := map[string]struct {
		rules, object   string
		status, message string // the beginning of it
	}{
		"current": {whole, cluster("spec: {size: 3}, status: {state: ok, ready: 3}"), "Healthy", "spec.health[0].current is true"},
		"in progress comes before current": {whole, cluster("spec: {size: 3}, status: {state: growing, ready: 3}"), "Progressing",
			"spec.health[0].inProgress is true"},
		"failed comes before all, with what the object says": {whole,
			cluster(`spec: {size: 3}, status: {state: broken, ready: 3, conditions: [{type: Ready, status: "False", reason: Split, message: no quorum}]}`),
			"Degraded", "spec.health[0].failed is true: Split: no quorum"},
		"none of them": {whole, cluster("spec: {size: 3}, status: {state: ok, ready: 2}"), "Progressing", "spec.health[0].current is not true"},
		"a status that is not there yet fails nothing, and is told": {whole, cluster("spec: {size: 3}"), "Progressing",
			"spec.health[0].failed: no such key; spec.health[0].inProgress: no such key; spec.health[0].current: no such key"},
		"has() guards": {`[{apiVersion: db.example.com/v1, kind: Cluster, current: "has(object.status) && object.status.ready > 0"}]`,
			cluster("spec: {}"), "Progressing", "spec.health[0].current is not true"},
		"optional values": {`[{apiVersion: db.example.com/v1, kind: Cluster, current: "object.?status.?ready.orValue(0) > 0"}]`,
			cluster("status: {ready: 1}"), "Healthy", ""},
		"conditions": {`[{apiVersion: db.example.com/v1, kind: Cluster, current: "object.status.conditions.exists(c, c.type == 'Up' && c.status == 'True')"}]`,
			cluster(`status: {conditions: [{type: Ready, status: "False"}, {type: Up, status: "True"}]}`), "Healthy", ""},
		"a field that is a bool": {`[{apiVersion: db.example.com/v1, kind: Cluster, current: object.status.ok}]`, cluster("status: {ok: true}"), "Healthy", ""},
		"a field that is none": {`[{apiVersion: db.example.com/v1, kind: Cluster, current: object.status.ok}]`, cluster("status: {ok: sure}"), "Progressing",
			"spec.health[0].current gives string, not true or false"},
		"a rule wins over what is known of the kind": {`[{apiVersion: apps/v1, kind: Deployment, current: "true"}]`,
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: web}, spec: {replicas: 3}}", "Healthy", ""},
		"without current the known rules go on": {`[{apiVersion: apps/v1, kind: Deployment, failed: "object.status.replicas > 9"}]`,
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: web}, spec: {replicas: 3, paused: true}}", "Healthy", "paused"},
		"another version of the kind": {whole, "{apiVersion: db.example.com/v2, kind: Cluster, metadata: {name: main}}", "Healthy", "Resource is current"},
		"the second rule": {`[{apiVersion: v1, kind: Secret, current: "false"}, {apiVersion: db.example.com/v1, kind: Cluster, current: "false"}]`,
			cluster("spec: {}"), "Progressing", "spec.health[1].current is not true"},
		"an old generation says nothing": {whole, cluster("spec: {size: 3}, status: {observedGeneration: 3, state: ok, ready: 3}"), "Progressing",
			"generation 4 is not observed yet"},
		"what is being deleted is on its way out": {whole,
			"{apiVersion: db.example.com/v1, kind: Cluster, metadata: {name: main, deletionTimestamp: \"2026-01-02T03:04:05Z\"}, spec: {size: 0}, status: {state: ok, ready: 1}}",
			"Progressing", "is being deleted"},
		"an expression without an end": {`[{apiVersion: db.example.com/v1, kind: Cluster, current: "object.l.all(a, object.l.all(b, object.l.all(c, object.l.all(d, object.l.all(e, a <= 9)))))"}]`,
			cluster("l: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"), "Progressing", "spec.health[0].current: cost limit exceeded"},
		"an error keeps what it was made of to itself": {`[{apiVersion: db.example.com/v1, kind: Cluster, current: "{'a': 1}[object.spec.password] == 1"}]`,
			cluster("spec: {password: hunter2}"), "Progressing", "spec.health[0].current: no such key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			compiled, err := health.Compile(rules(t, tt.rules))
			if err != nil {
				t.Fatal(err)
			}
			u := &unstructured.Unstructured{Object: parse(t, tt.object)}
			got := compiled.Of(u)
			if got.Status.String() != tt.status || !strings.HasPrefix(got.Message, tt.message) {
				t.Errorf("got %s %q, want %s %q", got.Status, got.Message, tt.status, tt.message)
			}
			if strings.Contains(got.Message, "hunter2") {
				t.Error("the message holds a value")
			}
		})
	}
	if got := (health.Rules{}).Of(nil); got.Status != health.Missing {
		t.Errorf("absent: %v", got)
	}
}

func TestCompileRefuses(t *testing.T) {
	tests := map[string]struct {
		rules string
		want  []string
	}{
		"text that is no expression": {`[{apiVersion: v1, kind: A, current: "object.("}]`, []string{"spec.health[0].current: is no CEL expression"}},
		"a number":                   {`[{apiVersion: v1, kind: A, failed: "1 + 1"}]`, []string{"spec.health[0].failed: gives int; want true or false"}},
		"a text":                     {`[{apiVersion: v1, kind: A, inProgress: "'true'"}]`, []string{"spec.health[0].inProgress: gives string"}},
		"another variable":           {`[{apiVersion: v1, kind: A, current: "self.ok"}]`, []string{"spec.health[0].current", "undeclared reference to 'self'"}},
		"no expression":              {`[{apiVersion: v1, kind: A}]`, []string{"spec.health[0]: failed, inProgress or current is required"}},
		"no API version":             {`[{apiVersion: a/b/c, kind: A, current: "true"}]`, []string{`spec.health[0].apiVersion: "a/b/c" is no API version`}},
		"a kind twice": {`[{apiVersion: v1, kind: A, current: "true"}, {apiVersion: v1, kind: A, failed: "true"}]`,
			[]string{"spec.health[1]: an earlier rule is about A of v1, too"}},
		"all that is wrong": {`[{apiVersion: v1, kind: A, current: "1"}, {apiVersion: v1, kind: B, failed: "(", inProgress: "2"}]`,
			[]string{"spec.health[0].current", "spec.health[1].failed", "spec.health[1].inProgress"}},
		"an expression that is too long": {`[{apiVersion: v1, kind: A, current: "` + strings.Repeat("true || ", 600) + `true"}]`,
			[]string{"spec.health[0].current: has 4804 bytes, at most 4096 are allowed"}},
		"functions whose cost is counted too late": {`[{apiVersion: v1, kind: A, current: "object.a.replace('a', 'aa') == ''"}]`,
			[]string{"spec.health[0].current", "undeclared reference to 'replace'"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var cache health.Cache
			_, err := cache.Compile(rules(t, tt.rules))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Errorf("class %s", class)
			}
		})
	}
}

func TestCacheKeepsRulesApart(t *testing.T) {
	var cache health.Cache
	u := &unstructured.Unstructured{Object: parse(t, "{apiVersion: v1, kind: A, metadata: {name: a}}")}
	for _, want := range []health.Status{health.Healthy, health.Degraded, health.Healthy} {
		field := map[health.Status]string{health.Healthy: "current", health.Degraded: "failed"}[want]
		compiled, err := cache.Compile(rules(t, `[{apiVersion: v1, kind: A, `+field+`: "true"}]`))
		if err != nil || compiled.Of(u).Status != want {
			t.Errorf("%s: %v, %v", field, compiled.Of(u), err)
		}
	}
}

// FuzzCompile wants an answer, whatever the expression and the object.
func FuzzCompile(f *testing.F) {
	f.Add("object.status.ready", "status: {ready: true}")
	f.Add("object.l.all(a, object.l.exists(b, a == b + 'x'))", "l: [a, b]")
	f.Add("[object].map(o, o)[1] == duration('1h') || object.?a[0].hasValue()", "a: []")
	f.Add("object.a.matches(object.a)", "a: '(a*)*b'")
	f.Fuzz(func(t *testing.T, expression, object string) {
		compiled, err := health.Compile([]v1alpha1.HealthRule{{APIVersion: "v1", Kind: "A", Failed: expression, Current: expression}})
		if err != nil {
			return
		}
		content := map[string]any{}
		if yaml.Unmarshal([]byte(object), &content) != nil || content == nil {
			content = map[string]any{}
		}
		content["apiVersion"], content["kind"] = "v1", "A"
		_ = compiled.Of(&unstructured.Unstructured{Object: content}).Status.String()
	})
}

// docs/health.md shows rules that compile.
func TestTheRulesOfThePageCompile(t *testing.T) {
	page, err := os.ReadFile("../../docs/health.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	block, _, _ := strings.Cut(rest, "```")
	var shown struct {
		Spec struct{ Health []v1alpha1.HealthRule }
	}
	if err := yaml.UnmarshalStrict([]byte(block), &shown); err != nil || len(shown.Spec.Health) != 2 {
		t.Fatalf("%d rules, %v", len(shown.Spec.Health), err)
	}
	compiled, err := health.Compile(shown.Spec.Health)
	if err != nil {
		t.Fatal(err)
	}
	paused := parse(t, "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: web, generation: 2}, status: {phase: Paused, observedGeneration: '2'}}")
	if got := compiled.Of(&unstructured.Unstructured{Object: paused}); got.Status != health.Progressing {
		t.Errorf("got %v", got)
	}
}
