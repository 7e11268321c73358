package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// setOf is a set of the directories below apps/, with more lines of spec.
func setOf(ns, name string, repo *gitserver.Repo, more string) string {
	return fmt.Sprintf(`apiVersion: plumb.dev/v1alpha1
kind: ApplicationSet
metadata: {name: %s, namespace: %s}
spec:
  generators:
  - gitDirectories: {repo: "%[3]s", ref: main, include: ["apps/*"]}
  template:
    metadata: {name: "{{ .path.basename }}", labels: {app: "{{ .path.basename }}"}}
    spec: {source: {repo: "%[3]s", ref: main, path: "{{ .path.path }}"}}
%s`, name, ns, repo.URL(), more)
}

// apps are files of Applications with one ConfigMap each.
func apps(names ...string) map[string]string {
	files := map[string]string{}
	for _, name := range names {
		files["apps/"+name+"/cm.yaml"] = stack.ConfigMap(name, "one")
	}
	return files
}

func makeSet(t *testing.T, s *stack.Stack, ns, name, manifest string) app.Key {
	t.Helper()
	apply(t, s, ns, manifest)
	key := app.Key{Namespace: ns, Name: name}
	t.Cleanup(func() { forgetSet(s, key) })
	return key
}

// forgetSet removes a set and all Applications of its namespace without a worker.
func forgetSet(s *stack.Stack, key app.Key) {
	ctx, free := context.Background(), []byte(`{"metadata":{"finalizers":null}}`)
	target := s.Objects.Resource(v1alpha1.SetResource).Namespace(key.Namespace)
	_, _ = target.Patch(ctx, key.Name, types.MergePatchType, free, metav1.PatchOptions{})
	_ = target.Delete(ctx, key.Name, metav1.DeleteOptions{})
	list, err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(key.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, a := range list.Items {
		s.Forget(app.Key{Namespace: key.Namespace, Name: a.GetName()})
	}
}

func getSet(t *testing.T, s *stack.Stack, key app.Key) *v1alpha1.ApplicationSet {
	t.Helper()
	u, err := s.Objects.Resource(v1alpha1.SetResource).Namespace(key.Namespace).Get(t.Context(), key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	set := &v1alpha1.ApplicationSet{}
	if err := json.Unmarshal(raw, set); err != nil {
		t.Fatal(err)
	}
	return set
}

// awaitSet waits until the set is ready, or not with the reason, and has read the
// revision; either may be empty.
func awaitSet(t *testing.T, s *stack.Stack, key app.Key, reason, revision string) *v1alpha1.ApplicationSet {
	t.Helper()
	var set *v1alpha1.ApplicationSet
	s.Eventually(t, fmt.Sprintf("ApplicationSet %s is %s at %s", key, reason, revision), func() error {
		if set = getSet(t, s, key); set == nil {
			return fmt.Errorf("it is gone")
		}
		ready := meta.FindStatusCondition(set.Status.Conditions, v1alpha1.ConditionReady)
		status, _ := json.Marshal(set.Status)
		switch {
		case ready == nil || set.Status.ObservedGeneration != set.Generation || ready.Reason != reason:
			return fmt.Errorf("status is %s", status)
		case revision != "" && !slices.ContainsFunc(set.Status.Sources, func(s v1alpha1.SetSource) bool { return s.Revision == revision }):
			return fmt.Errorf("another commit was read: %s", status)
		}
		return nil
	})
	return set
}

// namesOf are the Applications of a namespace that are not being deleted.
func namesOf(t *testing.T, s *stack.Stack, ns string) []string {
	t.Helper()
	list, err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, a := range list.Items {
		if a.GetDeletionTimestamp() == nil {
			names = append(names, a.GetName())
		}
	}
	slices.Sort(names)
	return names
}

func wantNames(t *testing.T, s *stack.Stack, ns string, want ...string) {
	t.Helper()
	s.Eventually(t, fmt.Sprintf("the Applications are %v", want), func() error {
		if diff := cmp.Diff(append([]string{}, want...), namesOf(t, s, ns)); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
}

func patchSet(t *testing.T, s *stack.Stack, key app.Key, patch string) {
	t.Helper()
	s.PatchObject(t, v1alpha1.SetResource, key.Namespace, key.Name, patch)
}

func TestASetFollowsDirectories(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", apps("api", "web"))
	set := makeSet(t, s, ns, "all", setOf(ns, "all", repo, ""))
	wantNames(t, s, ns, "api", "web")
	s.Data(t, ns, "web", map[string]string{"value": "one"})

	added := s.Push(t, repo, apps("new"))
	wantNames(t, s, ns, "api", "new", "web")
	s.Live(t, app.Key{Namespace: ns, Name: "new"}, added)
	s.Data(t, ns, "new", map[string]string{"value": "one"})

	removed := s.Push(t, repo, map[string]string{"apps/api/cm.yaml": ""})
	wantNames(t, s, ns, "new", "web")
	s.Eventually(t, "what the removed Application owned is pruned", func() error {
		_, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), "api", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
	got := awaitSet(t, s, set, "Succeeded", removed)
	if got.Status.Count != 2 || got.Status.Plan != "" {
		t.Errorf("status: %+v", got.Status)
	}
	a := s.Get(t, app.Key{Namespace: ns, Name: "web"})
	ref := metav1.GetControllerOf(a)
	if ref == nil || ref.Name != "all" || ref.UID != got.UID || a.Labels["app"] != "web" {
		t.Errorf("metadata: %+v", a.ObjectMeta)
	}
}

// What people changed in what the set says is set back; what it does not say is theirs.
func TestASetKeepsWhatItSays(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", apps("web"))
	set := makeSet(t, s, ns, "all", setOf(ns, "all", repo, ""))
	web := app.Key{Namespace: ns, Name: "web"}
	wantNames(t, s, ns, "web")
	awaitSet(t, s, set, "Succeeded", "")
	s.Patch(t, web, `{"metadata":{"annotations":{"somebody":"was here"},"labels":{"app":"other"}},"spec":{"suspend":true,"source":{"path":"apps/other"}}}`)
	s.Await(t, web, "set back", func(a *v1alpha1.Application) error {
		if a.Spec.Source.Path != "apps/web" || a.Labels["app"] != "web" {
			return fmt.Errorf("path %s, labels %v", a.Spec.Source.Path, a.Labels)
		}
		return nil
	})
	if a := s.Get(t, web); a.Annotations["somebody"] != "was here" || !a.Spec.Suspend {
		t.Errorf("what the set does not say was taken: %v, suspend %t", a.Annotations, a.Spec.Suspend)
	}
	// A field that the set says and then says no more is gone.
	patchSet(t, s, set, `{"spec":{"template":{"spec":{"destination":{"createNamespace":true}}}}}`)
	s.Await(t, web, "changed", func(a *v1alpha1.Application) error {
		if !a.Spec.Destination.CreateNamespace {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	patchSet(t, s, set, `{"spec":{"template":{"spec":{"destination":null}}}}`)
	s.Await(t, web, "without the field", func(a *v1alpha1.Application) error {
		if a.Spec.Destination.CreateNamespace {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	uid := s.Get(t, web).GetUID()
	if err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Eventually(t, "a deleted Application is made again", func() error {
		if a := s.Get(t, web); a == nil || a.UID == uid {
			return fmt.Errorf("it is not")
		}
		return nil
	})
}

func TestManyDeletionsOfASetWaitForConfirmation(t *testing.T) {
	cases := map[string]struct {
		remove []string
		left   []string
		says   string
	}{
		"more than half":       {[]string{"a", "b", "c"}, []string{"d"}, "3 of 4 Applications would be deleted, more than spec.sync.pruneLimit (50%)"},
		"everything, also few": {[]string{"a", "b", "c", "d"}, nil, "nothing is generated any more"},
	}
	s := stack.New(t)
	s.Work(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "guard/"+ns, apps("a", "b", "c", "d"))
			set := makeSet(t, s, ns, "all", setOf(ns, "all", repo, ""))
			wantNames(t, s, ns, "a", "b", "c", "d")
			gone := map[string]string{}
			for _, n := range c.remove {
				gone["apps/"+n+"/cm.yaml"] = ""
			}
			sha := s.Push(t, repo, gone)
			got := awaitSet(t, s, set, "PruneBlocked", sha)
			wantNames(t, s, ns, "a", "b", "c", "d")
			message := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady).Message
			if !strings.Contains(message, c.says) || !strings.Contains(message, got.Status.Plan) || got.Status.Plan == "" {
				t.Errorf("message %q, plan %q", message, got.Status.Plan)
			}
			patchSet(t, s, set, `{"metadata":{"annotations":{"plumb.dev/confirm-prune":"another"}}}`)
			s.Eventually(t, "the wrong digest is seen", func() error {
				if now := getSet(t, s, set); now.Status.Confirmed != "another" || now.Status.Plan == "" {
					return fmt.Errorf("status %+v", now.Status)
				}
				return nil
			})
			wantNames(t, s, ns, "a", "b", "c", "d")
			patchSet(t, s, set, `{"metadata":{"annotations":{"plumb.dev/confirm-prune":"`+got.Status.Plan+`"}}}`)
			wantNames(t, s, ns, c.left...)
			awaitSet(t, s, set, "Succeeded", "")
		})
	}
}

func TestASetTakesNoApplicationOver(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", apps("a", "web"))
	other := s.Repo(t, "acme/other", map[string]string{"x/cm.yaml": stack.ConfigMap("x", "theirs")})
	foreign := stack.Application(ns, "web", other, "x")
	s.Create(t, foreign)
	before := s.Get(t, foreign.Key())
	set := makeSet(t, s, ns, "all", setOf(ns, "all", repo, ""))
	got := awaitSet(t, s, set, "OwnershipConflict", "")
	if diff := cmp.Diff([]string{"a synced", "web failed"}, told(got)); diff != "" {
		t.Errorf("Applications (-want +got):\n%s", diff)
	}
	wantNames(t, s, ns, "a", "web")
	after := s.Get(t, foreign.Key())
	if diff := cmp.Diff(before.Spec, after.Spec); diff != "" || len(after.OwnerReferences) > 0 || len(after.Labels) > 0 {
		t.Errorf("the foreign Application was touched: %v %s", after.ObjectMeta, diff)
	}
	// What it does not own it does not delete either.
	s.Push(t, repo, map[string]string{"apps/web/cm.yaml": ""})
	awaitSet(t, s, set, "Succeeded", "")
	wantNames(t, s, ns, "a", "web")
	// And once the name is free, it is used.
	s.Push(t, repo, apps("web"))
	awaitSet(t, s, set, "OwnershipConflict", "")
	if err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitSet(t, s, set, "Succeeded", "")
	if a := s.Get(t, foreign.Key()); a == nil || metav1.GetControllerOf(a) == nil {
		t.Errorf("the free name was not used: %v", a)
	}
}

// told is "<name> <result>" of each Application.
func told(set *v1alpha1.ApplicationSet) []string {
	var all []string
	for _, a := range set.Status.Applications {
		all = append(all, a.Name+" "+a.Result)
	}
	return all
}

func TestDeletingASet(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	cases := map[string]struct {
		policy string
		left   []string
	}{
		"deletes its Applications":             {"delete", nil},
		"leaves them when they are to be left": {"orphan", []string{"a", "b", "c"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "deletion/"+ns, apps("a", "b", "c"))
			set := makeSet(t, s, ns, "all", setOf(ns, "all", repo, "  deletionPolicy: "+c.policy+"\n"))
			wantNames(t, s, ns, "a", "b", "c")
			awaitSet(t, s, set, "Succeeded", "")
			s.Data(t, ns, "a", map[string]string{"value": "one"})
			background := metav1.DeletePropagationBackground
			err := s.Objects.Resource(v1alpha1.SetResource).Namespace(ns).
				Delete(t.Context(), "all", metav1.DeleteOptions{PropagationPolicy: &background})
			if err != nil {
				t.Fatal(err)
			}
			s.Eventually(t, "the set is gone", func() error {
				if getSet(t, s, set) != nil {
					return fmt.Errorf("it is there")
				}
				return nil
			})
			wantNames(t, s, ns, c.left...)
			for _, n := range c.left {
				if a := s.Get(t, app.Key{Namespace: ns, Name: n}); len(a.OwnerReferences) > 0 {
					t.Errorf("%s is still owned by %v", n, a.OwnerReferences)
				}
			}
			if len(c.left) > 0 {
				s.Data(t, ns, "a", map[string]string{"value": "one"})
			}
		})
	}
}

// Nothing is known of what an expansion that failed would generate.
func TestAFailedExpansionDeletesNothing(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", apps("a", "b", "c"))
	set := makeSet(t, s, ns, "all", setOf(ns, "all", repo, ""))
	wantNames(t, s, ns, "a", "b", "c")
	awaitSet(t, s, set, "Succeeded", "")
	spec := func(generators, name string) string {
		return fmt.Sprintf(`{"spec":{"generators":%s,"template":{"metadata":{"name":%q}}}}`, generators, name)
	}
	good := fmt.Sprintf(`[{"gitDirectories":{"repo":%q,"ref":"main","include":["apps/*"]}}]`, repo.URL())
	steps := []struct{ says, patch, reason string }{
		{"a repository that is not there", spec(strings.ReplaceAll(good, "acme/config", "acme/gone"), "{{ .path.basename }}"), "FetchFailed"},
		{"a ref that is not there", spec(strings.ReplaceAll(good, `"main"`, `"none"`), "{{ .path.basename }}"), "FetchFailed"},
		{"a repository that is not allowed", spec(strings.ReplaceAll(good, "127.0.0.1", "127.0.0.2"), "{{ .path.basename }}"), "SourceRefused"},
		{"a template that fails", spec(good, "{{ .nothing }}"), "GenerateFailed"},
		{"two Applications of one name", spec(good, "one"), "GenerateFailed"},
		{"an account that is not there", spec(good, "{{ .path.basename }}")[:len(spec(good, "{{ .path.basename }}"))-2] + `,"serviceAccountName":"nobody"}}`, "AccountMissing"},
	}
	for _, step := range steps {
		patchSet(t, s, set, step.patch)
		got := awaitSet(t, s, set, step.reason, "")
		if names := namesOf(t, s, ns); len(names) != 3 || got.Status.Count != 3 {
			t.Errorf("%s: Applications %v, count %d", step.says, names, got.Status.Count)
		}
		if message := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady).Message; strings.Contains(message, "spec.source") {
			t.Errorf("%s: message %q names a field that a set does not have", step.says, message)
		}
	}
	patchSet(t, s, set, `{"spec":{"serviceAccountName":""}}`)
	awaitSet(t, s, set, "Succeeded", "")
}

// A lost webhook is caught by the sweep, and what a dead worker left undone by the
// next one's start.
func TestASetNeedsNoWebhook(t *testing.T) {
	s := stack.New(t)
	stop := s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", apps("a"))
	set := makeSet(t, s, ns, "all", setOf(ns, "all", repo, ""))
	wantNames(t, s, ns, "a")
	awaitSet(t, s, set, "Succeeded", "")
	stop()
	s.PushSilently(t, repo, apps("b"))
	s.Work(t)
	wantNames(t, s, ns, "a", "b")
	s.PushSilently(t, repo, apps("c"))
	s.Scan(t, time.Second)
	wantNames(t, s, ns, "a", "b", "c")
}
