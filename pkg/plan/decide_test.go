package plan_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

type policy struct {
	Prune           *bool
	Limit           string
	Confirm         string // any: the digest of the plan
	CreateNamespace bool
}

// scenario is a case of testdata/decide.yaml and prune.yaml.
type scenario struct {
	App                              policy
	Desired, Inventory, Live, Exists []string
	Heal                             bool
	Hooks                            bool // they run, in run 5
	Behind                           []string
	Presume                          bool     // what nobody holds is taken to be absent
	Held                             []string // names of what other Applications hold

	Want, Error, Reason, Class string
}

func scenarios(t *testing.T, file string) map[string]scenario {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]scenario
	if err := yaml.UnmarshalStrict(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDecide(t *testing.T) {
	for _, file := range []string{"decide", "waves", "hooks", "policies", "moves"} {
		for name, s := range scenarios(t, "testdata/"+file+".yaml") {
			t.Run(file+": "+name, func(t *testing.T) { s.check(t, describe) })
		}
	}
}

func TestPrune(t *testing.T) {
	for name, s := range scenarios(t, "testdata/prune.yaml") {
		t.Run(name, func(t *testing.T) {
			s.Desired = append(s.Desired, "ConfigMap stays=1")
			s.Inventory = append(s.Inventory, "ConfigMap stays=1 uid:stays")
			s.check(t, func(p plan.Plan) string {
				p.Stages = nil
				return describe(p)
			})
		})
	}
}

func (s scenario) check(t *testing.T, describe func(plan.Plan) string) {
	t.Helper()
	in := s.input(t)
	p, err := plan.Decide(in)
	if s.App.Confirm == "any" {
		if p.Blocked == "" || p.Err() == nil {
			t.Errorf("is not blocked before the confirmation")
		}
		in.Application.Annotations = map[string]string{v1alpha1.ConfirmPruneAnnotation: p.Digest}
		p, err = plan.Decide(in)
	}
	if s.Error != "" {
		class, _ := fault.ClassOf(err)
		if err == nil || !strings.Contains(err.Error(), s.Error) || class.String() != s.Class || s.Reason != "" && string(fault.ReasonOf(err)) != s.Reason {
			t.Errorf("got %s %s %v, want %s %s %s", class, fault.ReasonOf(err), err, s.Class, s.Reason, s.Error)
		}
		if !p.Settled() {
			t.Errorf("a plan beside the error:\n%s", p)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Want, describe(p)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if blocked := p.Err() != nil; blocked != (p.Blocked != "") {
		t.Errorf("blocked %q, error %v", p.Blocked, p.Err())
	}
}

// describe is Plan.String with preconditions and drift, and without the digest.
func describe(p plan.Plan) string {
	text := strings.Replace(p.String(), "prune "+p.Digest+"\n", "prune\n", 1)
	for _, a := range p.Actions() {
		text = strings.Replace(text, a.String()+"\n", a.String()+details(a)+"\n", 1)
	}
	return text
}

func details(a plan.Action) string {
	var out string
	if a.UID != "" {
		out += " [uid " + a.UID + "]"
	}
	if a.ResourceVersion != "" {
		out += " [rv " + a.ResourceVersion + "]"
	}
	if a.Presumed {
		out += " [absent]"
	}
	if a.To != (app.Key{}) {
		out += " [to " + a.To.String() + "]"
	}
	if a.Drift == nil {
		return out
	}
	out += " " + a.Drift.Kind
	if a.Drift.Manager != "" {
		out += " by " + a.Drift.Manager
	}
	for i, f := range a.Drift.Fields {
		out += []string{": ", ", "}[min(i, 1)] + fmt.Sprintf("%s %s -> %s", f.Path, f.Before, f.After)
	}
	return out
}

func application() *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Namespace, a.Name = "team", "web"
	a.Spec.Destination.Namespace = "web"
	return a
}

func (s scenario) input(t *testing.T) plan.Input {
	t.Helper()
	a := application()
	a.Spec.Sync.Prune, a.Spec.Sync.PruneLimit = s.App.Prune, s.App.Limit
	a.Spec.Destination.CreateNamespace = s.App.CreateNamespace
	if s.App.Confirm != "any" {
		a.Annotations = map[string]string{v1alpha1.ConfirmPruneAnnotation: s.App.Confirm}
	}
	in := plan.Input{Application: a, Heal: s.Heal, Fields: fields, Live: map[object.ID]*unstructured.Unstructured{}}
	in.Exists = func(key app.Key) bool { return slices.Contains(s.Exists, key.String()) }
	if s.Hooks {
		in.RunHooks, in.Run = true, 5
	}
	if s.Presume {
		in.Unclaimed = func(id object.ID) bool { return !slices.Contains(s.Held, id.Name) }
	}
	for _, name := range s.Behind {
		key, err := app.ParseKey(name)
		if err != nil {
			t.Fatal(err)
		}
		in.Behind = append(in.Behind, key)
	}
	in.Desired = prepared(t, a, s.Desired...)
	for _, text := range s.Inventory {
		in.Inventory = in.Inventory.Record(entry(t, a, text))
	}
	for _, text := range s.Live {
		u, words := parseObject(t, text)
		in.Live[object.IDOf(u)] = u
		if slices.Contains(words, "absent") {
			in.Live[object.IDOf(u)] = nil
		}
	}
	return in
}

// entry is what the inventory holds after the object was applied.
func entry(t testing.TB, a *v1alpha1.Application, text string) inventory.Entry {
	t.Helper()
	u, words := parseObject(t, text)
	e := inventory.Entry{ID: object.IDOf(u), Version: u.GroupVersionKind().Version, UID: string(u.GetUID())}
	e.Hook = u.GetAnnotations()["plumb.dev/hook"]
	if value, _, _ := unstructured.NestedString(u.Object, "data", "value"); value == "" {
		return e
	}
	short := strings.Join(slices.DeleteFunc(strings.Fields(text), liveOnly), " ")
	set := prepared(t, a, short)
	o := set.All()[set.Len()-1] // the shared Namespace is the first
	var err error
	if e.Digest, err = o.Digest(); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(words, "nofields") {
		e.Fields = fields(o.Unstructured())
	}
	return e
}

// liveOnly says that a word is not about what the source says.
func liveOnly(word string) bool {
	key, _, _ := strings.Cut(word, ":")
	return slices.Contains([]string{"uid", "nofields", "ours"}, key)
}

// fields stands for cluster.FieldsHash: what the render sets is Plumb's.
func fields(u *unstructured.Unstructured) string {
	b, _ := json.Marshal([]any{u.Object["data"], u.GetAnnotations()[v1alpha1.OwnerAnnotation]})
	return string(b)
}

func prepared(t testing.TB, a *v1alpha1.Application, texts ...string) object.Set {
	t.Helper()
	var objects []object.Object
	for _, text := range texts {
		u, _ := parseObject(t, text)
		unstructured.RemoveNestedField(u.Object, "metadata", "namespace")
		objects = append(objects, object.New(u, "src/"+u.GetName()+".yaml", 1))
	}
	set, err := object.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	set, err = plan.Prepare(set, a, func(gvk schema.GroupVersionKind) (bool, error) { return kinds[gvk.Kind].namespaced, nil })
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var kinds = map[string]struct {
	version    string
	namespaced bool
}{
	"ConfigMap": {"v1", true}, "Secret": {"v1", true}, "Service": {"v1", true}, "ServiceAccount": {"v1", true},
	"PersistentVolumeClaim": {"v1", true}, "Deployment": {"apps/v1", true}, "OldDeployment": {"extensions/v1beta1", true},
	"Job": {"batch/v1", true}, "Pod": {"v1", true}, "APIService": {"apiregistration.k8s.io/v1", false},
	"Thing": {"example.com/v1", true}, "Application": {"plumb.dev/v1alpha1", true}, "Namespace": {"v1", false},
	"CustomResourceDefinition":       {"apiextensions.k8s.io/v1", false},
	"ValidatingWebhookConfiguration": {"admissionregistration.k8s.io/v1", false},
}

// parseObject reads "<kind> <name>[=<value>] <word>...". The words are uid:<uid>,
// rv:<resourceVersion>, ours, owner:<mark>, deleting, edited:<manager>, complete,
// failed, and <annotation>:<value> for those of Plumb; others are for the caller.
func parseObject(t testing.TB, text string) (*unstructured.Unstructured, []string) {
	t.Helper()
	words := strings.Fields(text)
	kind, ok := kinds[words[0]]
	if !ok {
		t.Fatalf("no kind %q", words[0])
	}
	name, value, _ := strings.Cut(words[1], "=")
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": kind.version, "kind": strings.TrimPrefix(words[0], "Old"), "metadata": map[string]any{"name": name},
	}}
	if kind.namespaced {
		u.SetNamespace("web")
	}
	if value != "" {
		u.Object["data"] = map[string]any{"value": value}
	}
	if words[0] == "CustomResourceDefinition" {
		u.Object["spec"] = map[string]any{"group": "example.com", "scope": "Namespaced", "names": map[string]any{"kind": "Thing"},
			"versions": []any{map[string]any{"name": "v1", "served": true}}}
	}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, ":")
		describeLive(u, key, value)
	}
	return u, words[2:]
}

func describeLive(u *unstructured.Unstructured, word, value string) {
	annotate := func(key, value string) {
		all := u.GetAnnotations()
		if all == nil {
			all = map[string]string{}
		}
		all[key] = value
		u.SetAnnotations(all)
	}
	moment := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	switch word {
	case "wave", "hook", "hook-delete", "hook-run", "apply", "replace", "claimed-by", "prune":
		annotate("plumb.dev/"+word, value)
	case "complete", "failed":
		condition := map[string]any{"type": map[string]string{"complete": "Complete", "failed": "Failed"}[word], "status": "True"}
		u.Object["status"] = map[string]any{"conditions": []any{condition}}
	case "uid":
		u.SetUID(types.UID(value))
	case "rv":
		u.SetResourceVersion(value)
	case "ours":
		annotate(v1alpha1.OwnerAnnotation, "team/web")
		u.SetLabels(map[string]string{v1alpha1.OwnerLabel: v1alpha1.OwnerHash(app.Key{Namespace: "team", Name: "web"})})
	case "owner":
		annotate(v1alpha1.OwnerAnnotation, value)
	case "deleting":
		u.SetDeletionTimestamp(&moment)
		u.SetFinalizers([]string{"example.com/hold"})
	case "edited":
		u.SetManagedFields([]metav1.ManagedFieldsEntry{
			{Manager: "plumb", Operation: "Apply", Time: &moment},
			{Manager: value, Operation: "Update", Time: &moment},
			{Manager: "controller", Operation: "Update", Subresource: "status", Time: &moment},
		})
	}
}
