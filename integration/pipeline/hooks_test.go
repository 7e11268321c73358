package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

var jobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}

// job is a hook whose pod runs an image that the test's nodes know how to run.
func job(name, image string, annotations ...string) string {
	return fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata:
  name: %s
  annotations: {%s}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: %s}]
---
`, name, strings.Join(annotations, ", "), image)
}

func annotated(name, value string, annotations ...string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, annotations: {%s}}\ndata: {value: %s}\n---\n", name, strings.Join(annotations, ", "), value)
}

const (
	preSync  = `plumb.dev/hook: pre-sync`
	postSync = `plumb.dev/hook: post-sync`
	syncFail = `plumb.dev/hook: sync-fail`
)

func list(t *testing.T, s *stack.Stack, resource schema.GroupVersionResource, ns string) []unstructured.Unstructured {
	t.Helper()
	got, err := s.Objects.Resource(resource).Namespace(ns).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.OwnerLabel})
	if err != nil {
		t.Fatal(err)
	}
	return got.Items
}

// results are what the status tells of each object, by name.
func results(a *v1alpha1.Application) map[string]string {
	out := map[string]string{}
	for _, o := range a.Status.LastAttempt.Objects {
		out[o.ID[strings.LastIndex(o.ID, "/")+1:]] = o.Result
	}
	return out
}

// Hooks stand around the waves, and what was healthy was awaited in between: each
// object was created no earlier than the ones before it.
func TestHooksAndWavesComeInTheirOrder(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"web/all.yaml": job("after", "run", postSync) + job("before", "run", preSync) +
		annotated("late", "l", `plumb.dev/wave: "2"`) + annotated("early", "e", `plumb.dev/wave: "-1"`) + annotated("middle", "m")})
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	got := s.Await(t, a.Key(), "it is ready", stack.Ready)
	want := map[string]string{"before": "ran", "early": "created", "middle": "created", "late": "created", "after": "ran"}
	if diff := cmp.Diff(want, results(got)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	versions := map[string]string{}
	for _, o := range append(list(t, s, jobs, ns), list(t, s, stack.ConfigMaps, ns)...) {
		versions[o.GetName()] = o.GetAnnotations()[v1alpha1.OwnerAnnotation]
		if o.GetKind() == "Job" && o.GetAnnotations()["plumb.dev/hook-run"] == "" {
			t.Errorf("hook %s does not tell its run", o.GetName())
		}
	}
	if len(versions) != 5 {
		t.Errorf("objects: %v", versions)
	}
	var order []string
	for _, o := range got.Status.LastAttempt.Objects {
		order = append(order, o.ID[strings.LastIndex(o.ID, "/")+1:])
	}
	if want := []string{"before", "early", "middle", "late", "after"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if total := got.Status.Resources.Total; total != 3 {
		t.Errorf("%d resources, want 3: hooks do not count", total)
	}
}

// A hook that fails ends the attempt before anything is applied, and the hooks for
// that run; the next revision runs all anew.
func TestAFailedHookKeepsTheSyncBack(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{
		"web/hooks.yaml": job("before", "crash", preSync) + job("sorry", "run", syncFail), "web/cm.yaml": stack.ConfigMap("web", "one"),
	})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Sync.Timeout = &metav1.Duration{Duration: 30e9}
	s.Create(t, a)
	failed := s.Failed(t, a.Key(), "HealthFailed")
	if message := stack.Condition(failed, "Ready").Message; !strings.Contains(message, "pre-sync hook Job "+ns+"/before failed") {
		t.Errorf("message: %s", message)
	}
	if got := results(failed); got["sorry"] != "ran" || got["web"] != "skipped" {
		t.Errorf("results: %v", got)
	}
	if live := list(t, s, stack.ConfigMaps, ns); len(live) != 0 {
		t.Errorf("%d objects were applied after all", len(live))
	}
	sha := s.Push(t, repo, map[string]string{"web/hooks.yaml": job("before", "run", preSync)})
	s.Live(t, a.Key(), sha)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
	if live := list(t, s, jobs, ns); len(live) != 1 {
		t.Errorf("%d hooks are left, want 1: one that left Git goes", len(live))
	}
}

// Drift runs no hook: nothing of the source changed.
func TestDriftRunsNoHook(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Scan(t, 3600e9)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"web/all.yaml": job("before", "run", preSync) + annotated("web", "one")})
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	s.Await(t, a.Key(), "it is ready", stack.Ready)
	before := list(t, s, jobs, ns)[0].GetUID()
	s.PatchObject(t, stack.ConfigMaps, ns, "web", `{"data":{"value":"mine"}}`)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
	s.Settled(t, a.Key())
	if after := list(t, s, jobs, ns)[0].GetUID(); after != before {
		t.Error("the hook ran again")
	}
	s.Push(t, repo, map[string]string{"web/all.yaml": job("before", "run", preSync) + annotated("web", "two")})
	s.Data(t, ns, "web", map[string]string{"value": "two"})
	s.Settled(t, a.Key())
	if after := list(t, s, jobs, ns)[0].GetUID(); after == before {
		t.Error("the hook did not run for a change of the source")
	}
}

// Hooks for the end of an Application run before its objects are deleted.
func TestHooksRunBeforeADeletion(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"web/all.yaml": job("bye", "crash", `plumb.dev/hook: pre-delete`) + annotated("web", "one")})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Sync.Timeout = &metav1.Duration{Duration: 20e9}
	s.Create(t, a)
	s.Await(t, a.Key(), "it is ready", stack.Ready)
	if live := list(t, s, jobs, ns); len(live) != 0 {
		t.Fatal("the hook ran in the sync")
	}
	applications := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns)
	if err := applications.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Eventually(t, "the hook runs and fails", func() error {
		for _, j := range list(t, s, jobs, ns) {
			if failed, _, _ := unstructured.NestedInt64(j.Object, "status", "failed"); failed > 0 {
				return nil
			}
		}
		return fmt.Errorf("jobs %d", len(list(t, s, jobs, ns)))
	})
	s.Data(t, ns, "web", map[string]string{"value": "one"}) // held back by the hook
	s.Push(t, repo, map[string]string{"web/all.yaml": job("bye", "run", `plumb.dev/hook: pre-delete`) + annotated("web", "one")})
	if err := s.Objects.Resource(jobs).Namespace(ns).Delete(t.Context(), "bye", metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}); err != nil {
		t.Fatal(err)
	}
	s.Eventually(t, "all of it is gone", func() error {
		if n := len(list(t, s, jobs, ns)) + len(list(t, s, stack.ConfigMaps, ns)); n > 0 {
			return fmt.Errorf("%d objects are left: %v", n, append(list(t, s, jobs, ns), list(t, s, stack.ConfigMaps, ns)...))
		}
		return nil
	})
}

// What holds a deletion up is named, and it goes on when that lets go.
func TestAFinalizerThatHoldsADeletionIsNamed(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	held := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/hold]}\ndata: {value: h}\n"
	repo := s.Repo(t, "acme/config", map[string]string{"web/held.yaml": held, "web/cm.yaml": stack.ConfigMap("web", "one")})
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	s.Await(t, a.Key(), "it is ready", stack.Ready)
	applications := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns)
	if err := applications.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Await(t, a.Key(), "its condition names the finalizer", func(a *v1alpha1.Application) error {
		if ready := stack.Condition(a, "Ready"); ready.Reason != "PruneBlocked" || !strings.Contains(ready.Message, "example.com/hold") {
			return fmt.Errorf("condition %+v", ready)
		}
		return nil
	})
	s.PatchObject(t, stack.ConfigMaps, ns, "held", `{"metadata":{"finalizers":null}}`)
	s.Eventually(t, "all of it is gone", func() error {
		if live := list(t, s, stack.ConfigMaps, ns); len(live) > 0 {
			return fmt.Errorf("left: %d", len(live))
		}
		_, err := applications.Get(t.Context(), "web", metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("the Application is there")
		}
		return nil
	})
}

// Each policy of an object, by what becomes of it.
func TestPoliciesOfObjects(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{
		"web/once.yaml": annotated("once", "one", `plumb.dev/apply: if-absent`), "web/ignored.yaml": annotated("ignored", "one", `plumb.dev/apply: ignore`),
		"web/cm.yaml": annotated("web", "one"),
		"web/d.yaml":  selecting("one", "plumb.dev/replace: allowed"),
	})
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	s.Await(t, a.Key(), "it is ready", stack.Ready)
	s.Data(t, ns, "once", map[string]string{"value": "one"})
	if got := s.Owned(t, a.Key(), ns); got["ignored"] != nil {
		t.Error("what is to be ignored was applied")
	}
	sha := s.Push(t, repo, map[string]string{
		"web/once.yaml": annotated("once", "two", `plumb.dev/apply: if-absent`), "web/cm.yaml": annotated("web", "two"),
		"web/d.yaml": selecting("two", "plumb.dev/replace: allowed"),
	})
	live := s.Live(t, a.Key(), sha)
	s.Data(t, ns, "web", map[string]string{"value": "two"})
	s.Data(t, ns, "once", map[string]string{"value": "one"})
	if got := results(live); got["d"] != "replaced" {
		t.Errorf("results: %v of %+v", got, live.Status.LastAttempt)
	}
}

// selecting is a Deployment whose selector, which cannot change, has the label.
func selecting(label string, annotations ...string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: d, annotations: {%s}}
spec:
  replicas: 0
  selector: {matchLabels: {is: %s}}
  template: {metadata: {labels: {is: %s}}, spec: {containers: [{name: c, image: run}]}}
`, strings.Join(annotations, ", "), label, label)
}

// A field that cannot change is told, with what allows its object to be replaced.
func TestAnImmutableFieldIsNamed(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"web/d.yaml": selecting("one")})
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	s.Await(t, a.Key(), "it is ready", stack.Ready)
	s.Push(t, repo, map[string]string{"web/d.yaml": selecting("two"), "web/cm.yaml": stack.ConfigMap("web", "independent")})
	failed := s.Failed(t, a.Key(), "ApplyFailed")
	message := stack.Condition(failed, "Ready").Message
	for _, want := range []string{"spec.selector", "plumb.dev/replace"} {
		if !strings.Contains(message, want) {
			t.Errorf("message %q does not name %s", message, want)
		}
	}
	s.Data(t, ns, "web", map[string]string{"value": "independent"})
}

// An object moves from one Application to another without being deleted, whichever
// is synced first.
func TestAnObjectMovesBetweenApplications(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{
		"one/cm.yaml": stack.ConfigMap("one", "o"), "one/moved.yaml": stack.ConfigMap("moved", "m"), "two/cm.yaml": stack.ConfigMap("two", "t"),
	})
	one, two := stack.Application(ns, "one", repo, "one"), stack.Application(ns, "two", repo, "two")
	s.Create(t, one)
	s.Create(t, two)
	s.Await(t, one.Key(), "it is ready", stack.Ready)
	s.Await(t, two.Key(), "it is ready", stack.Ready)
	uid := func() string {
		live, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), "moved", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return string(live.GetUID())
	}
	before := uid()
	for _, to := range []struct{ from, into string }{{"one", "two"}, {"two", "one"}} {
		sha := s.Push(t, repo, map[string]string{to.from + "/moved.yaml": "", to.into + "/moved.yaml": stack.ConfigMap("moved", to.into)})
		s.Live(t, one.Key(), sha)
		s.Live(t, two.Key(), sha)
		s.Data(t, ns, "moved", map[string]string{"value": to.into})
		owner := one
		if to.into == "two" {
			owner = two
		}
		s.Eventually(t, "the new owner has it", func() error {
			if s.Owned(t, owner.Key(), ns)["moved"] == nil {
				return fmt.Errorf("it has not")
			}
			return nil
		})
	}
	if after := uid(); after != before {
		t.Error("it was deleted on the way")
	}
}

// What Git does not own is left to who does: a sync, drift and a difference pass it over.
func TestIgnoredFieldsAreLeftAlone(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Scan(t, 3600e9)
	ns := s.Kube.Namespace(t)
	deployment := func(image string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: " + image + "}]}}\n"
	}
	repo := s.Repo(t, "acme/config", map[string]string{"web/d.yaml": deployment("one")})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Ignore = []v1alpha1.IgnoreRule{{Group: "apps", Kind: "Deployment", Paths: []string{"/spec/replicas"}}}
	s.Create(t, a)
	s.Await(t, a.Key(), "it is ready", stack.Ready)
	s.PatchObject(t, stack.Deployments, ns, "web", `{"spec":{"replicas":3}}`)
	sha := s.Push(t, repo, map[string]string{"web/d.yaml": deployment("two")})
	s.Live(t, a.Key(), sha)
	s.Settled(t, a.Key())
	live, err := s.Objects.Resource(stack.Deployments).Namespace(ns).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); n != 3 {
		t.Errorf("%d replicas, want the 3 that somebody else set", n)
	}
}

// A worker that ends amid a hook leaves it running; whoever takes the attempt over
// waits for this very hook.
func TestAHookOutlivesItsWorker(t *testing.T) {
	s := stack.New(t)
	ns := s.Kube.Namespace(t)
	gated := strings.Replace(job("before", "run", preSync), "      restartPolicy", "      schedulingGates: [{name: example.com/wait}]\n      restartPolicy", 1)
	repo := s.Repo(t, "hook/"+ns, map[string]string{"web/all.yaml": gated + annotated("web", "one")})
	a := stack.Application(ns, "web", repo, "web")
	t.Cleanup(func() { s.Forget(a.Key()) })
	first := s.Start(t, stack.Options{})
	s.Create(t, a)
	var uid string
	s.Eventually(t, "the hook runs", func() error {
		for _, j := range list(t, s, jobs, ns) {
			uid = string(j.GetUID())
			return nil
		}
		return fmt.Errorf("there is none")
	})
	first.Kill()
	s.Start(t, stack.Options{})
	s.Await(t, a.Key(), "another attempt goes on with it", func(a *v1alpha1.Application) error {
		if last := a.Status.LastAttempt; last == nil || last.Number < 2 || last.Run != 1 {
			return fmt.Errorf("last attempt %+v", last)
		}
		return nil
	})
	ungate(t, s, ns)
	s.Await(t, a.Key(), "it is ready", stack.Ready)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
	if after := list(t, s, jobs, ns); len(after) != 1 || string(after[0].GetUID()) != uid {
		t.Error("the hook ran twice")
	}
}

// Who had a field otherwise than Git is named.
func TestWhoLosesAFieldIsNamed(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	theirs := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "web", "namespace": ns}, "data": map[string]any{"value": "theirs"}}}
	_, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Apply(t.Context(), "web", theirs, metav1.ApplyOptions{FieldManager: "team-tool"})
	if err != nil {
		t.Fatal(err)
	}
	repo := s.Repo(t, "acme/config", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "ours")})
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	got := s.Await(t, a.Key(), "it is ready", stack.Ready)
	s.Data(t, ns, "web", map[string]string{"value": "ours"})
	message := got.Status.LastAttempt.Objects[0].Message
	if !strings.Contains(message, "team-tool") || !strings.Contains(message, "data.value") {
		t.Errorf("the status says %q", message)
	}
	s.Eventually(t, "an Event names who lost what", func() error {
		events, err := s.Objects.Resource(schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}).Namespace(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if note, _ := e.Object["note"].(string); e.Object["reason"] == "FieldsTaken" && strings.Contains(note, "team-tool") {
				return nil
			}
		}
		return fmt.Errorf("%d events, none of them", len(events.Items))
	})
}
