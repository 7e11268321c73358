package ignore_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/ignore"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(b, &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func compile(t *testing.T, rules string) (ignore.Rules, error) {
	t.Helper()
	var list []v1alpha1.IgnoreRule
	if err := yaml.UnmarshalStrict([]byte(rules), &list); err != nil {
		t.Fatal(err)
	}
	return ignore.Compile(list)
}

func TestCompileRefuses(t *testing.T) {
	tests := map[string]struct {
		rules string
		want  []string // parts of the error
	}{
		"a bad glob":                         {`[{kind: A, name: "[", paths: [/a]}]`, []string{"spec.ignore[0].name", "glob"}},
		"a bad pointer, in its place":        {`[{kind: A, paths: [/a]}, {kind: A, paths: [/a, "b"]}]`, []string{"spec.ignore[1].paths[1]", "begins with /"}},
		"the name":                           {`[{kind: A, paths: [/metadata/name]}]`, []string{"spec.ignore[0].paths[0]", "/metadata/name"}},
		"the namespace":                      {`[{kind: A, paths: [/metadata/namespace]}]`, []string{"/metadata/namespace"}},
		"the kind":                           {`[{kind: A, paths: [/kind]}]`, []string{"/kind"}},
		"the version":                        {`[{kind: A, paths: [/apiVersion]}]`, []string{"/apiVersion"}},
		"metadata as a whole":                {`[{kind: A, paths: [/metadata]}]`, []string{"covers /metadata/name"}},
		"all annotations":                    {`[{kind: A, paths: [/metadata/annotations]}]`, []string{"covers /metadata/annotations/plumb.dev~1application", "single fields"}},
		"the mark":                           {`[{kind: A, paths: [/metadata/labels/plumb.dev~1owner]}]`, []string{"plumb.dev~1owner"}},
		"below the mark":                     {`[{kind: A, paths: [/metadata/labels/plumb.dev~1owner/x]}]`, []string{"plumb.dev~1owner"}},
		"a policy":                           {`[{kind: A, paths: [/metadata/annotations/plumb.dev~1prune]}]`, []string{"Plumb's own"}},
		"what is no CEL":                     {`[{kind: A, expressions: ["'/a'", "object."]}]`, []string{"spec.ignore[0].expressions[1]", "no CEL"}},
		"a function that takes memory first": {`[{kind: A, expressions: ["'a'.replace('a', 'b')"]}]`, []string{"undeclared reference to 'replace'"}},
		"an unknown variable":                {`[{kind: A, expressions: ["self.a"]}]`, []string{"undeclared reference to 'self'"}},
		"an expression that gives a number":  {`[{kind: A, expressions: ["1"]}]`, []string{"gives int"}},
		"all that is wrong, at once":         {`[{kind: A, paths: ["x", "/kind"], expressions: ["1"]}]`, []string{"paths[0]", "paths[1]", "expressions[0]"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := compile(t, tt.rules)
			if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
				t.Fatalf("got %v", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not say %q", err, part)
				}
			}
		})
	}
}

const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: team-a, annotations: {"sidecar/x": "1", "sidecar/y": "2", own: "3"}},
  spec: {replicas: 1, template: {spec: {containers: [{name: web, image: a}, {name: proxy, image: b}]}}}}`

func TestPointers(t *testing.T) {
	tests := map[string]struct {
		rules string
		want  []string
		err   string
	}{
		"no rules":                    {rules: `[]`},
		"a path":                      {rules: `[{group: apps, kind: Deployment, paths: [/spec/replicas]}]`, want: []string{"/spec/replicas"}},
		"another group":               {rules: `[{kind: Deployment, paths: [/spec/replicas]}]`},
		"another kind":                {rules: `[{group: apps, kind: StatefulSet, paths: [/spec/replicas]}]`},
		"every kind":                  {rules: `[{kind: "*", paths: [/spec/replicas]}]`, want: []string{"/spec/replicas"}},
		"globs that fit":              {rules: `[{group: apps, kind: Deployment, name: "w?b", namespace: "team-*", paths: [/a]}]`, want: []string{"/a"}},
		"a name that does not fit":    {rules: `[{group: apps, kind: Deployment, name: "we", paths: [/a]}]`},
		"a namespace that does not":   {rules: `[{group: apps, kind: Deployment, namespace: "team", paths: [/a]}]`},
		"several rules, once each":    {rules: `[{kind: "*", paths: [/b, /a]}, {kind: "*", paths: [/a]}]`, want: []string{"/a", "/b"}},
		"an expression of a string":   {rules: `[{kind: "*", expressions: ["'/spec/' + 'replicas'"]}]`, want: []string{"/spec/replicas"}},
		"an expression of a list":     {rules: `[{kind: "*", expressions: ["object.metadata.annotations.filter(k, k.startsWith('sidecar/')).map(k, pointer(['metadata', 'annotations', k]))"]}]`, want: []string{"/metadata/annotations/sidecar~1x", "/metadata/annotations/sidecar~1y"}},
		"an expression with an index": {rules: `[{kind: "*", expressions: ["object.spec.template.spec.containers.transformList(i, c, c.name == 'proxy', pointer(['spec', 'template', 'spec', 'containers', i, 'image']))"]}]`, want: []string{"/spec/template/spec/containers/1/image"}},
		"an expression of nothing":    {rules: `[{kind: "*", expressions: ["[]"]}]`},
		"one that is not there":       {rules: `[{kind: "*", expressions: ["object.spec.nothing.map(x, '/a')"]}]`, err: "spec.ignore[0].expressions[0]: no such key"},
		"one that is guarded":         {rules: `[{kind: "*", expressions: ["has(object.spec.nothing) ? ['/a'] : ['/b']"]}]`, want: []string{"/b"}},
		"one of another type":         {rules: `[{kind: "*", expressions: ["object.spec.replicas"]}]`, err: "gives int"},
		"a list of another type":      {rules: `[{kind: "*", expressions: ["[object.spec.replicas]"]}]`, err: "gives list"},
		"one that gives the name":     {rules: `[{kind: "*", expressions: ["'/metadata/name'"]}]`, err: "cannot be ignored"},
		"one that gives no pointer":   {rules: `[{kind: "*", expressions: ["object.metadata.annotations.own"]}]`, err: "begins with /"},
		"one without end":             {rules: `[{kind: "*", expressions: ["lists.range(1000).map(a, lists.range(1000).map(b, lists.range(1000).map(c, 1))).map(x, '/a')"]}]`, err: "cost limit"},
		"too many":                    {rules: `[{kind: "*", expressions: ["(lists.range(900) + lists.range(900)).map(a, '/a')"]}]`, err: "1800 JSON pointers"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rules, err := compile(t, tt.rules)
			if err != nil {
				t.Fatal(err)
			}
			pointers, err := rules.Pointers(parse(t, deployment))
			if tt.err != "" {
				if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "Deployment team-a/web") {
					t.Errorf("got %v", err)
				}
				return
			}
			var got []string
			for _, p := range pointers {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

// TestErrorsHoldNoSecret: an expression may make anything of a Secret.
func TestErrorsHoldNoSecret(t *testing.T) {
	for _, expression := range []string{"object.data.k", "'/metadata/labels/plumb.dev~1' + object.data.k", "object.data[object.data.k]", "object.data.k + 1", "[object.data.k]", "object.data.k.matches('(') ? '/a' : '/b'", "string(int(object.data.k))"} {
		rules, err := compile(t, `[{kind: Secret, expressions: [`+string(must(json.Marshal(expression)))+`]}]`)
		if err != nil {
			continue // refused before it saw any object
		}
		_, err = rules.Pointers(parse(t, `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {k: canary}}`))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestFieldsOfOtherRulesAreNotCompared(t *testing.T) {
	u := parse(t, deployment)
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "plumb", Operation: "Apply", APIVersion: "apps/v1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`)}})
	hash := func(rules string) string {
		r, err := compile(t, rules)
		if err != nil {
			t.Fatal(err)
		}
		return r.Fields(u)
	}
	plain, one, two := hash(`[]`), hash(`[{kind: "*", paths: [/a]}]`), hash(`[{kind: "*", paths: [/b]}]`)
	if ignore.Comparable(plain, one) || ignore.Comparable(one, two) {
		t.Errorf("hashes of different rules pass for comparable: %q, %q, %q", plain, one, two)
	}
	if again := hash(`[{kind: "*", paths: [/a]}, {kind: Other, paths: [/b]}]`); again != one || !ignore.Comparable(again, one) {
		t.Errorf("a rule for other objects changes the hash: %q, %q", one, again)
	}
	if plain != cluster.FieldsHash(u) {
		t.Errorf("without a rule the hash is %q, not %q", plain, cluster.FieldsHash(u))
	}
}

// TestSyncLeavesWhatIsIgnored plays syncs on the real API server.
func TestSyncLeavesWhatIsIgnored(t *testing.T) {
	kube := kubetest.Start(t)
	namespace := kube.Namespace(t)
	opened, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	s := &syncs{t: t, client: opened.As(cluster.Identity{}), namespace: namespace}
	objects, err := dynamic.NewForConfig(kube.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	s.deployments = objects.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(namespace)
	if s.rules, err = compile(t, `
- {group: apps, kind: Deployment, paths: [/spec/replicas, /spec/template/spec/containers/0/image]}
- {group: apps, kind: Deployment, expressions: ["object.spec.template.spec.containers.transformList(i, c, c.name.startsWith('proxy'), pointer(['spec', 'template', 'spec', 'containers', i]))",
    "object.metadata.?annotations.orValue({}).filter(k, k == 'note').map(k, pointer(['metadata', 'annotations', k]))"]}
`); err != nil {
		t.Fatal(err)
	}
	git := func(lines string) string {
		return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {note: git}}, spec: {` + lines + `selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: web, image: "git:1", env: [{name: A, value: "1"}]}]}}}}`
	}

	s.apply(git("replicas: 2, "))
	s.expect("a creation sends all", "replicas 2, note git, web git:1")
	s.apply(git(""))
	s.expect("what Plumb alone owns, and Git drops, stays", "replicas 2, note git, web git:1")

	before := s.rules.Fields(s.live())
	s.patch("autoscaler", `{"spec":{"replicas":5}}`, "scale")
	s.patch("kubectl-edit", `{"metadata":{"annotations":{"note":"live"}}}`)
	s.strategic("updater", `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"live:2"},{"name":"proxy","image":"p"}]}}}}`)
	if after := s.rules.Fields(s.live()); after != before {
		t.Errorf("edits of ignored fields are drift: %q, then %q", before, after)
	}
	s.apply(git("replicas: 3, "))
	s.expect("what others set stays", "replicas 5, note live, web live:2, proxy p")
	if losers := s.last.Losers; losers != nil {
		t.Errorf("somebody lost %v", losers)
	}
	s.patch("kubectl-edit", `{"metadata":{"annotations":{"note":null}}}`)
	s.apply(git("replicas: 3, "))
	s.expect("what others took away stays away", "replicas 5, note , web live:2, proxy p")

	before = s.rules.Fields(s.live())
	s.strategic("kubectl-edit", `{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"2"}]}]}}}}`)
	if s.rules.Fields(s.live()) == before {
		t.Error("an edit of what is not ignored is no drift")
	}
}

type syncs struct {
	t           *testing.T
	client      *cluster.Client
	deployments dynamic.ResourceInterface
	namespace   string
	rules       ignore.Rules
	last        cluster.Applied
}

func (s *syncs) live() *unstructured.Unstructured {
	s.t.Helper()
	live, err := s.client.Get(s.t.Context(), object.ID{Group: "apps", Kind: "Deployment", Namespace: s.namespace, Name: "web"}, "v1")
	if err != nil {
		s.t.Fatal(err)
	}
	return live
}

func (s *syncs) apply(manifest string) {
	s.t.Helper()
	u := parse(s.t, manifest)
	u.SetNamespace(s.namespace)
	live := s.live()
	desired, err := s.rules.Without(object.New(u, "a.yaml", 1), live)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.last, err = s.client.Apply(s.t.Context(), desired, cluster.ApplyOptions{Takeover: live}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *syncs) patch(manager, patch string, subresources ...string) {
	s.t.Helper()
	if _, err := s.deployments.Patch(s.t.Context(), "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}, subresources...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *syncs) strategic(manager, patch string) {
	s.t.Helper()
	if _, err := s.deployments.Patch(s.t.Context(), "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *syncs) expect(sentence, want string) {
	s.t.Helper()
	u := s.live()
	replicas, _, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "replicas")
	got := "replicas " + string(must(json.Marshal(replicas))) + ", note " + u.GetAnnotations()["note"]
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		got += ", " + c.(map[string]any)["name"].(string) + " " + c.(map[string]any)["image"].(string)
	}
	if got != want {
		s.t.Errorf("%s: %s; want %s", sentence, got, want)
	}
}

// TestThePageCompiles: the rules of docs/diff-and-ignore.md are accepted.
func TestThePageCompiles(t *testing.T) {
	page, err := os.ReadFile("../../docs/diff-and-ignore.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```yaml\n")
	block, _, found := strings.Cut(block, "```")
	var application struct {
		Spec struct {
			Ignore []v1alpha1.IgnoreRule `json:"ignore"`
		} `json:"spec"`
	}
	if err := yaml.UnmarshalStrict([]byte(block), &application); err != nil || !found {
		t.Fatal(err)
	}
	rules, err := ignore.Compile(application.Spec.Ignore)
	if err != nil {
		t.Fatal(err)
	}
	if pointers, err := rules.Pointers(parse(t, strings.ReplaceAll(deployment, "name: web,", "name: web-a,"))); err != nil || len(pointers) != 3 {
		t.Errorf("got %v, %v", pointers, err)
	}
}
