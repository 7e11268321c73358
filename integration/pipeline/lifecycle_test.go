package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// deployment is the manifest of a Deployment; an image with "crash" in its name
// makes its pods crash.
func deployment(name, image string, replicas int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[3]d
  progressDeadlineSeconds: 5
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers: [{name: main, image: "%[2]s"}]
`, name, image, replicas)
}

func TestHealthIsAwaitedWithoutALease(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "health/"+ns, map[string]string{"app/d.yaml": deployment("web", "example.com/web:1", 3)})
	a := stack.Application(ns, "web", repo, "app")
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	got := s.Live(t, a.Key(), head(t, s, a.Key()))
	want := &v1alpha1.Resources{Total: 1, Healthy: 1}
	if diff := cmp.Diff(want, got.Status.Resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	s.Push(t, repo, map[string]string{"app/d.yaml": deployment("web", "example.com/crash:1", 3)})
	failed := s.Failed(t, a.Key(), "HealthFailed")
	if m := failed.Status.LastAttempt.Message; !strings.Contains(m, "Deployment "+ns+"/web") {
		t.Errorf("the message does not name the Deployment: %s", m)
	}
	mended := s.Push(t, repo, map[string]string{"app/d.yaml": deployment("web", "example.com/web:2", 3)})
	s.Live(t, a.Key(), mended)
}

func TestAnotherWorkerEndsTheWaitForHealth(t *testing.T) {
	s := stack.New(t)
	ns := s.Kube.Namespace(t)
	// A scheduling gate keeps the pod from running until the test removes it.
	late := strings.Replace(deployment("web", "example.com/web:1", 1), "    spec:\n", "    spec:\n      schedulingGates: [{name: example.com/wait}]\n", 1)
	late = strings.Replace(late, "  progressDeadlineSeconds: 5\n", "", 1)
	repo := s.Repo(t, "wait/"+ns, map[string]string{"app/d.yaml": late})
	a := stack.Application(ns, "web", repo, "app")
	t.Cleanup(func() { s.Forget(a.Key()) })
	first := s.Start(t, stack.Options{})
	s.Create(t, a)
	s.Await(t, a.Key(), "waiting", func(a *v1alpha1.Application) error {
		if a.Status.LastAttempt == nil || a.Status.LastAttempt.Result != v1alpha1.ResultWaiting {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	s.Eventually(t, "the lease is free while health is awaited", func() error {
		held, err := s.Bus.Held(t.Context(), "sync."+s.Cluster+"."+ns+".web")
		if held {
			return fmt.Errorf("it is held")
		}
		return err
	})
	first.Kill()
	s.Start(t, stack.Options{})
	ungate(t, s, ns)
	s.Live(t, a.Key(), head(t, s, a.Key()))
}

// ungate lets the pods of a namespace be scheduled.
func ungate(t *testing.T, s *stack.Stack, ns string) {
	t.Helper()
	pods, err := s.Objects.Resource(stack.Pods).Namespace(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) == 0 {
		t.Fatalf("pods: %v, %v", pods, err)
	}
	for _, pod := range pods.Items {
		s.PatchObject(t, stack.Pods, ns, pod.GetName(), `{"spec":{"schedulingGates":[]}}`)
	}
}

// What only the API server can refuse fails that object: independent ones of its
// stage go on, later stages and the prune do not.
func TestWhatOnlyTheServerRefuses(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: None, ports: [{port: 80}]}\n"
	repo := s.Repo(t, "refused/"+ns, map[string]string{"app/s.yaml": service, "app/old.yaml": stack.ConfigMap("old", "one"), "app/cm.yaml": stack.ConfigMap("web", "one")})
	a := stack.Application(ns, "web", repo, "app")
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	before := s.Live(t, a.Key(), head(t, s, a.Key()))
	policy := strings.Split(tree(ns, nil, "later")["app/policy.yaml"], "\n---")[0]
	s.Push(t, repo, map[string]string{
		"app/s.yaml":   strings.Replace(service, "None", "999.1.1.1", 1), // fits the schema, and no validation
		"app/cm.yaml":  stack.ConfigMap("web", "two"),
		"app/old.yaml": "", "app/later.yaml": policy,
	})
	got := s.Failed(t, a.Key(), "ApplyFailed")
	if m := got.Status.LastAttempt.Message; !strings.Contains(m, "Service "+ns+"/web") || !strings.Contains(m, "clusterIP") {
		t.Errorf("the message does not name object and field: %s", m)
	}
	s.Data(t, ns, "web", map[string]string{"value": "two"})
	s.Data(t, ns, "old", map[string]string{"value": "one"})
	if got.Status.Revision != before.Status.Revision {
		t.Errorf("revision %s counts as applied", got.Status.Revision)
	}
	policies := s.Objects.Resource(stack.Policies)
	if _, err := policies.Get(t.Context(), "policy-"+ns, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the later stage was written: %v", err)
	}
	mended := s.Push(t, repo, map[string]string{"app/s.yaml": service, "app/later.yaml": ""})
	s.Live(t, a.Key(), mended)
	if owned := s.Owned(t, a.Key(), ns); len(owned) != 1 {
		t.Errorf("after the fix %v is owned", owned)
	}
}

func TestDeletingAnApplicationPrunes(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	cases := map[string]struct {
		policy v1alpha1.DeletionPolicy
		stays  bool
	}{
		"delete prunes what it owns":   {policy: v1alpha1.DeletionDelete},
		"orphan leaves it as it is":    {policy: v1alpha1.DeletionOrphan, stays: true},
		"without a policy it is prune": {},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a, _ := deployed(t, s, "gone")
			foreign := plant(t, s, a.Namespace)
			if c.policy != "" {
				s.Patch(t, a.Key(), fmt.Sprintf(`{"spec":{"deletionPolicy":%q}}`, c.policy))
			}
			err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(a.Namespace).Delete(t.Context(), a.Name, metav1.DeleteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			s.Eventually(t, "the Application is gone", func() error {
				if s.Get(t, a.Key()) != nil {
					return fmt.Errorf("it is there")
				}
				return nil
			})
			if owned := s.Owned(t, a.Key(), a.Namespace); (len(owned) > 0) != c.stays {
				t.Errorf("left in the cluster: %v", owned)
			}
			untouched(t, s, foreign)
		})
	}
}

func TestDriftIsSeenAndHealed(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Scan(t, time.Hour)
	a, _ := deployed(t, s, "drift")
	s.PatchObject(t, stack.ConfigMaps, a.Namespace, "web", `{"data":{"value":"by hand"}}`)
	s.Data(t, a.Namespace, "web", map[string]string{"value": "one"})
	s.Eventually(t, "the healing is told field by field", func() error {
		for _, e := range s.Facts(t, a.Key(), event.DriftHealed) {
			for _, o := range e.Data.(*eventsv1.DriftHealed).GetObjects() {
				for _, f := range o.GetFields() {
					if strings.Contains(f.GetPath(), "value") && strings.Contains(f.GetAfter(), "by hand") {
						return nil
					}
				}
			}
		}
		return fmt.Errorf("no such fact")
	})
	if err := s.Objects.Resource(stack.ConfigMaps).Namespace(a.Namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Data(t, a.Namespace, "web", map[string]string{"value": "one"})
	// What Git does not own is nobody's drift.
	s.PatchObject(t, stack.ConfigMaps, a.Namespace, "web", `{"metadata":{"annotations":{"somebody":"else"}}}`)
	s.Settled(t, a.Key())
	s.Eventually(t, "drift is told twice", func() error {
		if found := s.Facts(t, a.Key(), event.DriftFound); len(found) != 2 {
			return fmt.Errorf("it was told %d times", len(found))
		}
		return nil
	})
}

func TestDriftIsOnlyToldWhereThePolicyIsWarn(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Scan(t, time.Hour)
	a, repo := deployed(t, s, "warn")
	s.Patch(t, a.Key(), `{"spec":{"sync":{"drift":"warn"}}}`)
	s.Live(t, a.Key(), head(t, s, a.Key()))
	s.PatchObject(t, stack.ConfigMaps, a.Namespace, "web", `{"data":{"value":"by hand"}}`)
	s.Await(t, a.Key(), "drifted", func(a *v1alpha1.Application) error {
		if c := stack.Condition(a, v1alpha1.ConditionDrifted); c.Status != metav1.ConditionTrue {
			return fmt.Errorf("drifted is %+v", c)
		}
		return nil
	})
	s.Data(t, a.Namespace, "web", map[string]string{"value": "by hand"})
	next := s.Push(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "two")})
	s.Live(t, a.Key(), next)
	s.Data(t, a.Namespace, "web", map[string]string{"value": "two"})
}

func TestAPushThatNobodyAnnouncedIsSwept(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	a, repo := deployed(t, s, "sweep")
	s.Scan(t, 2*time.Second)
	sha := s.PushSilently(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "two")})
	got := s.Live(t, a.Key(), sha)
	if got.Status.LastAttempt.Reason != event.ReasonPush {
		t.Errorf("the attempt's reason is %s", got.Status.LastAttempt.Reason)
	}
	pushes := s.PushEvents(t)
	if len(pushes) != 1 {
		t.Fatalf("the stream holds %d pushes, want the one that the scanner found", len(pushes))
	}
	if push := pushes[0].Data.(*eventsv1.GitPush); push.GetProvider() != "sweep" || push.GetAfter() != sha {
		t.Errorf("the push is told as %v", push)
	}
}

func TestPolicyHoldsBack(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	a, repo := deployed(t, s, "held")
	s.Patch(t, a.Key(), `{"spec":{"suspend":true}}`)
	s.Failed(t, a.Key(), "Suspended")
	s.Push(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "two")})
	s.Patch(t, a.Key(), `{"spec":{"suspend":false,"sync":{"mode":"manual"}}}`)
	s.Await(t, a.Key(), "manual", func(a *v1alpha1.Application) error {
		if c := stack.Condition(a, v1alpha1.ConditionSynced); a.Status.ObservedGeneration != a.Generation || !strings.Contains(c.Message, "manual") {
			return fmt.Errorf("synced is %+v", c)
		}
		return nil
	})
	s.Data(t, a.Namespace, "web", map[string]string{"value": "one"})
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"please"}}}`)
	s.Data(t, a.Namespace, "web", map[string]string{"value": "two"})
	s.Await(t, a.Key(), "answered", func(a *v1alpha1.Application) error {
		if a.Status.Requested != "please" {
			return fmt.Errorf("requested is %q", a.Status.Requested)
		}
		return stack.Ready(a)
	})
}

func TestTooManyDeletionsWaitForAConfirmation(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	files, fewer := map[string]string{}, map[string]string{}
	for i := range 6 {
		name := fmt.Sprintf("cm%d", i)
		files["app/"+name+".yaml"] = stack.ConfigMap(name, "one")
		if i > 0 {
			fewer["app/"+name+".yaml"] = ""
		}
	}
	repo := s.Repo(t, "prune/"+ns, files)
	a := stack.Application(ns, "web", repo, "app")
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	s.Live(t, a.Key(), head(t, s, a.Key()))
	sha := s.Push(t, repo, fewer)
	got := s.Failed(t, a.Key(), "PruneBlocked")
	if owned := s.Owned(t, a.Key(), ns); len(owned) != 6 {
		t.Errorf("before the confirmation %d are left", len(owned))
	}
	_, digest, found := strings.Cut(got.Status.LastAttempt.Message, v1alpha1.ConfirmPruneAnnotation+"=")
	if !found {
		t.Fatalf("the message does not say how to confirm: %s", got.Status.LastAttempt.Message)
	}
	s.Patch(t, a.Key(), fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ConfirmPruneAnnotation, digest))
	s.Live(t, a.Key(), sha)
	if owned := s.Owned(t, a.Key(), ns); len(owned) != 1 {
		t.Errorf("after the confirmation %d are left", len(owned))
	}
}

// One trace leads from the webhook to the end of the attempt.
func TestOneTraceFromPushToHealthy(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	a, repo := deployed(t, s, "trace")
	sha := s.Push(t, repo, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "two")})
	got := s.Live(t, a.Key(), sha)
	trace := got.Status.LastAttempt.Trace
	s.Eventually(t, "push, start and end bear the trace "+trace, func() error {
		push := s.PushEvents(t)
		started, finished := s.Facts(t, a.Key(), event.SyncStarted), s.Facts(t, a.Key(), event.SyncFinished)
		if len(push) == 0 || len(started) < 2 || len(finished) < 2 {
			return fmt.Errorf("%d, %d, %d facts", len(push), len(started), len(finished))
		}
		for _, e := range []event.Event{push[0], started[len(started)-1], finished[len(finished)-1]} {
			if !strings.Contains(e.Trace, trace) {
				return fmt.Errorf("%s has trace %s", e.Describe(), e.Trace)
			}
		}
		if stages := finished[len(finished)-1].Data.(*eventsv1.SyncFinished).GetStages(); len(stages) < 4 {
			return fmt.Errorf("stages: %v", stages)
		}
		return nil
	})
}
